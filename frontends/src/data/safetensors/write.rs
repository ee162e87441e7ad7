//! Writing.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::whole_file::WholeFile;
use serde_json::{Map, Value, json};

use super::packed::{self, PACKED_TYPES};
use super::{DTYPES, LENGTH_BYTES, METADATA};

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system did not let it be written.
    #[error("`{}` cannot be written: {error}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The format has no name for the element type.
    #[error("`{}`, tensor `{tensor}`: the format has no elements of type {dtype}", path.display())]
    DType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        dtype: DType,
    },
}

/// Bytes that the header is padded to, so that tensors begin where every element type may.
const ALIGNMENT: usize = 8;

/// Writes `tensors` and `metadata` to the file `path`, which appears whole or not at all. Wide elements come first, so
/// that each tensor begins at a multiple of its elements' size; tensors of one size of elements are in order of their
/// names. Elements of less than a byte, which the format lacks, are written as the bytes that hold them, a vector of `U8`, and
/// the metadata says what they are.
pub fn write(
    path: &Path,
    tensors: &NamedTensors,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WriteError> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().bits()));
    let mut header = Map::new();
    let mut metadata = metadata.clone();
    let types = packed::types(tensors);
    if !types.is_empty() {
        metadata.insert(PACKED_TYPES.to_owned(), json!(types).to_string());
    }
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), json!(metadata));
    }
    let mut end = 0;
    for (name, tensor) in &order {
        let is_packed = types.contains_key(*name);
        let (dtype, sizes) = if is_packed {
            (DType::U8, vec![tensor.bytes().len()])
        } else {
            (tensor.dtype(), tensor.sizes().to_vec())
        };
        let named = DTYPES.iter().find(|(_, known)| *known == dtype);
        let (dtype, _) = named.ok_or_else(|| WriteError::DType {
            path: path.to_owned(),
            tensor: (*name).clone(),
            dtype: tensor.dtype(),
        })?;
        let start = end;
        end += tensor.bytes().len();
        let entry = json!({"dtype": dtype, "shape": sizes, "data_offsets": [start, end]});
        header.insert((*name).clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    let length = LENGTH_BYTES as usize + header.len();
    header.extend(std::iter::repeat_n(' ', length.next_multiple_of(ALIGNMENT) - length));
    let unwritable = |error| WriteError::Unwritable { path: path.to_owned(), error };
    let mut file = BufWriter::new(WholeFile::create(path).map_err(unwritable)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(unwritable)?;
    file.write_all(header.as_bytes()).map_err(unwritable)?;
    for (_, tensor) in order {
        file.write_all(tensor.bytes()).map_err(unwritable)?;
    }
    let file = file.into_inner().map_err(|error| unwritable(error.into_error()))?;
    file.publish().map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use quad_ir::tensor::Tensor;

    use super::*;
    use crate::data::safetensors::SafeTensorsFile;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.safetensors");
        let tensors = NamedTensors::from([
            ("bytes".to_owned(), Tensor::from_vec(&[3], vec![1u8, 2, 3]).expect("as many")),
            ("floats".to_owned(), Tensor::from_vec(&[1, 2], vec![0.5f32, -1.0]).expect("as many")),
            ("nothing".to_owned(), Tensor::from_vec(&[0], Vec::<f32>::new()).expect("as many")),
        ]);
        let metadata = BTreeMap::from([("key".to_owned(), "a \"value\"".to_owned())]);
        write(&path, &tensors, &metadata).expect("written");
        let file = SafeTensorsFile::open(&path).expect("a sound file");
        assert_eq!(file.metadata(), &metadata);
        assert_eq!(file.tensors().iter().cloned().collect::<NamedTensors>(), tensors);
    }
}
