//! Files of named tensors in the safetensors format, mapped and never copied.
//!
//! Such files come from strangers, so the header is read with more care than the format asks for: a tensor that is
//! listed twice, a range that overlaps another, a size that does not fit its range is an error that names the tensor.
//! Memory is bounded by the length of the header, which is bounded itself; tensors are views of the mapped file.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quad_ir::dtype::DType;
use quad_ir::tensor::Tensor;
use quad_ir::weights::MappedFile;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::ordered::Ordered;
use super::shown;

mod packed;
mod write;

pub use write::{WriteError, write};

/// Bytes of a header beyond which a file is refused. Trainers store statistics of their data in it, some megabytes.
const MAX_HEADER: u64 = 32 << 20;

/// Bytes before the header, which are its length.
const LENGTH_BYTES: u64 = 8;

/// The key of the header that is no tensor.
const METADATA: &str = "__metadata__";

/// A mapped safetensors file.
#[derive(Clone, Debug)]
pub struct SafeTensorsFile {
    path: PathBuf,
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Tensor)>,
}

/// A safetensors file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafeTensorsError {
    /// The system did not let the file be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is no safetensors file, or is damaged.
    #[error("`{}` is no sound safetensors file: {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        found: String,
    },
    /// The header says of a tensor what cannot be.
    #[error("`{}`, tensor `{}`: {found}", path.display(), shown(tensor))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What was found and what was expected.
        found: String,
    },
}

/// What the header says of a tensor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    /// Where its bytes begin and end, counted from the end of the header.
    data_offsets: [u64; 2],
}

/// The header, in the order of the file.
#[derive(Default)]
struct Header {
    metadata: Vec<(String, String)>,
    entries: Vec<(String, Entry)>,
}

impl SafeTensorsFile {
    /// Maps the file at `path` and checks its header. Elements are not looked at.
    pub fn open(path: &Path) -> Result<Self, SafeTensorsError> {
        let file = MappedFile::open(path)
            .map_err(|error| SafeTensorsError::Unreadable { path: path.to_owned(), error })?;
        let malformed = |found: String| SafeTensorsError::Malformed { path: path.to_owned(), found };
        let (header, start) = header(&file).map_err(malformed)?;
        let wrong = |(tensor, found): (String, String)| SafeTensorsError::Tensor {
            path: path.to_owned(),
            tensor,
            found,
        };
        check_once(&header.entries).map_err(wrong)?;
        check_ranges(&header.entries, file.len() - start).map_err(wrong)?;
        let mut tensors = Vec::with_capacity(header.entries.len());
        for (name, entry) in header.entries {
            let tensor = tensor(&file, start, &entry).map_err(|found| wrong((name.clone(), found)))?;
            tensors.push((name, tensor));
        }
        let metadata: BTreeMap<String, String> = header.metadata.into_iter().collect();
        if let Some(said) = metadata.get(packed::PACKED_TYPES) {
            packed::unpack(said, &mut tensors).map_err(wrong)?;
        }
        Ok(Self { path: path.to_owned(), metadata, tensors })
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says of itself, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The tensors in the order in which the header lists them. Names are unique.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }
}

/// The header of `file`, and where the bytes of tensors begin.
fn header(file: &MappedFile) -> Result<(Header, u64), String> {
    let length = file.bytes(0..LENGTH_BYTES).ok_or("it has less than 8 bytes")?;
    let length = length.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    if length > MAX_HEADER {
        return Err(format!("it begins with a header of {length} bytes; more than {MAX_HEADER} are refused"));
    }
    let start = LENGTH_BYTES + length;
    let text = file.bytes(LENGTH_BYTES..start).ok_or_else(|| {
        format!("it begins with a header of {length} bytes and has only {} after that length", file.len() - 8)
    })?;
    let header = serde_json::from_slice(&text).map_err(|error| format!("its header: {error}"))?;
    Ok((header, start))
}

/// No name may be there twice: readers would disagree about which tensor it is.
fn check_once(entries: &[(String, Entry)]) -> Result<(), (String, String)> {
    let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err((pair[0].to_owned(), "it is listed twice in the header".to_owned())),
        None => Ok(()),
    }
}

/// The ranges lie one after the other, without a gap and without overlap, and fill the `length` bytes of data.
fn check_ranges(entries: &[(String, Entry)], length: u64) -> Result<(), (String, String)> {
    let mut order: Vec<&(String, Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end = 0;
    let mut before = "";
    for (name, Entry { data_offsets: [from, to], .. }) in order {
        let wrong = |found: String| Err((name.clone(), found));
        if from > to {
            return wrong(format!("its bytes begin at {from} and end at {to}, before that"));
        }
        if *to > length {
            return wrong(format!("its bytes end at {to}, and the file has only {length} bytes of data"));
        }
        if *from < end {
            return wrong(format!(
                "its bytes begin at {from}, within those of tensor `{}`, which end at {end}",
                shown(before)
            ));
        }
        if *from > end {
            return wrong(format!(
                "its bytes begin at {from}, {} bytes that belong to none before it",
                from - end
            ));
        }
        (end, before) = (*to, name);
    }
    if end < length {
        let found =
            format!("its bytes end at {end}, as the last ones, and the file has {length} bytes of data");
        return Err((before.to_owned(), found));
    }
    Ok(())
}

/// The view of `file` that `entry` describes; data begin at `start`.
fn tensor(file: &Arc<MappedFile>, start: u64, entry: &Entry) -> Result<Tensor, String> {
    let dtype = dtype(&entry.dtype)
        .ok_or_else(|| format!("elements of type `{}` are not known", shown(&entry.dtype)))?;
    let sizes: Result<Vec<usize>, _> = entry.shape.iter().map(|size| usize::try_from(*size)).collect();
    let sizes = sizes.map_err(|_| format!("its shape {:?} is too large", entry.shape))?;
    let [from, to] = entry.data_offsets;
    let range: Range<u64> = start + from..start + to;
    let bytes = file.bytes(range).ok_or("its bytes are not in the file")?;
    Tensor::new(dtype, &sizes, bytes).map_err(|error| error.to_string())
}

/// Element types by the names of the format.
const DTYPES: &[(&str, DType)] = &[
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::BF16),
    ("F8_E4M3", DType::F8E4M3FN),
    ("F8_E5M2", DType::F8E5M2),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
];

/// The element type that the format calls `name`.
fn dtype(name: &str) -> Option<DType> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(key) = map.next_key::<String>()? {
                    let within = |error: A::Error| A::Error::custom(format!("`{}`: {error}", shown(&key)));
                    if key == METADATA && !header.metadata.is_empty() {
                        return Err(A::Error::custom(format!("`{METADATA}` is there twice")));
                    }
                    if key == METADATA {
                        header.metadata = map.next_value::<Ordered<String>>().map_err(within)?.0;
                    } else {
                        let entry = map.next_value().map_err(within)?;
                        header.entries.push((key, entry));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests;
