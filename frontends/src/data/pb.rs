//! Single tensors as ONNX's test data holds them: one `TensorProto` to a file, `input_0.pb`, `input_1.pb`, ..

use std::path::Path;

use prost::Message;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_ir::weights::MappedFile;

use super::DataError;
use crate::onnx::{TensorProto, code_of_dtype, tensor_from_proto};

/// The tensor in the file at `path` and the name it has there, which may be empty.
pub fn read(path: &Path) -> Result<(String, Tensor), DataError> {
    let unreadable = |error| DataError::Unreadable { path: path.to_owned(), error };
    let file = MappedFile::open(path).map_err(unreadable)?;
    let proto = TensorProto::decode(file.all())
        .map_err(|error| DataError::Malformed { path: path.to_owned(), error })?;
    let tensor = tensor_from_proto(&proto).map_err(|error| DataError::Contents {
        path: path.to_owned(),
        name: proto.name.clone(),
        error: Box::new(error),
    })?;
    Ok((proto.name, tensor))
}

/// What a file that holds `tensor` under `name` contains.
pub fn encode(name: &str, tensor: &Tensor) -> Vec<u8> {
    let proto = TensorProto {
        name: name.to_owned(),
        dims: tensor.sizes().iter().map(|size| *size as i64).collect(),
        data_type: code_of_dtype(tensor.dtype()),
        raw_data: Some(tensor.bytes().clone()),
        ..TensorProto::default()
    };
    proto.encode_to_vec()
}

/// The tensors in the files `<prefix>_0.pb`, `<prefix>_1.pb`, .. of `folder`, in order.
pub fn read_series(folder: &Path, prefix: &str) -> Result<Vec<(String, Tensor)>, DataError> {
    let count = count(folder, prefix)?;
    let file = |number| folder.join(format!("{prefix}_{number}.pb"));
    if let Some(gap) = (0..count).map(file).find(|path| !path.exists()) {
        return Err(DataError::Gap { path: gap });
    }
    (0..count).map(|number| read(&file(number))).collect()
}

/// Gives tensors the names of the values they are for: their own where all of those are among `names`, else `names` in
/// order. `None` when there are more tensors than names.
pub fn by_name(tensors: Vec<(String, Tensor)>, names: &[String]) -> Option<NamedTensors> {
    if tensors.len() > names.len() {
        return None;
    }
    if tensors.iter().all(|(name, _)| names.contains(name)) {
        return Some(tensors.into_iter().collect());
    }
    Some(names.iter().cloned().zip(tensors.into_iter().map(|(_, tensor)| tensor)).collect())
}

/// One more than the highest number of a file of the series, at most the number of files of the folder.
fn count(folder: &Path, prefix: &str) -> Result<usize, DataError> {
    let unreadable = |error| DataError::Unreadable { path: folder.to_owned(), error };
    let mut highest = 0;
    for entry in folder.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_prefix('_')?.strip_suffix(".pb"));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        highest = highest.max(number.map_or(0, |number| number.saturating_add(1)));
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::*;

    #[test]
    fn what_is_encoded_is_read_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("input_0.pb");
        let halves = Tensor::from_f32(DType::BF16, &[2, 1], &[0.5, -2.0]).expect("two elements");
        let nibbles = Tensor::from_i64(DType::I4, &[3], vec![-8, 7, 1]).expect("three elements");
        for tensor in [halves, nibbles, Tensor::scalar(3i64)] {
            std::fs::write(&path, encode("x", &tensor)).expect("writing the tensor");
            assert_eq!(read(&path).expect("a sound tensor"), ("x".to_owned(), tensor));
        }
    }
}
