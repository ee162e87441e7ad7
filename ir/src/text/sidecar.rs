//! The safetensors file beside a text, which has the bytes of its large weights by digest.
//!
//! Element types that the format lacks are stored as their packed bytes, a vector of `U8`; the text says what they are.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::digests::Digests;
use super::source::{Stored, WeightSource};
use crate::dtype::DType;
use crate::module::Module;
use crate::types::TensorType;
use crate::weights::{Digest, MappedFile, WeightError, WeightId};

/// A mapped file of weights, indexed by digest.
#[derive(Clone, Debug)]
pub struct Sidecar {
    file: Arc<MappedFile>,
    ranges: BTreeMap<Digest, Range<u64>>,
}

/// A file of weights could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// It could not be opened.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It is not a safetensors file.
    #[error("{}: not a safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Bytes of a header beyond which a file is refused. A weight takes about 120.
const MAX_HEADER: u64 = 16 << 20;

/// Bytes before the header, which are its length.
const LENGTH_BYTES: u64 = 8;

impl Sidecar {
    /// Maps the file at `path` and reads its header, but no weight. Tensors whose names are not digests are left out.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SidecarError> {
        let path = path.into();
        let file = MappedFile::open(&path).map_err(|error| SidecarError::Io { path: path.clone(), error })?;
        let format = |reason: String| SidecarError::Format { path: path.clone(), reason };
        let length =
            file.bytes(0..LENGTH_BYTES).ok_or_else(|| format("it has less than 8 bytes".to_owned()))?;
        let header = length.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if header > MAX_HEADER {
            return Err(format(format!("a header of {header} bytes is larger than {MAX_HEADER}")));
        }
        let (header, metadata) =
            SafeTensors::read_metadata(&file.all()).map_err(|error| format(error.to_string()))?;
        let start = LENGTH_BYTES + header as u64;
        let range =
            |info: &TensorInfo| start + info.data_offsets.0 as u64..start + info.data_offsets.1 as u64;
        let tensors = metadata.tensors().into_iter();
        let ranges = tensors.filter_map(|(name, info)| Some((name.parse().ok()?, range(info)))).collect();
        Ok(Self { file, ranges })
    }

    /// How many weights it has.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether it has no weight.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl WeightSource for Sidecar {
    fn find(&self, digest: Digest, _ty: &TensorType) -> Option<Stored> {
        let range = self.ranges.get(&digest)?.clone();
        Some(Stored::File { file: self.file.clone(), range })
    }

    fn hint(&self) -> String {
        format!("`{}` has {} others", self.file.path().display(), self.ranges.len())
    }
}

/// A weight of a module, by the index of its graph.
type Place = (usize, WeightId);

/// Writes the weights of `module` that `digests` names, one after the other; no more than a piece of one is in memory.
pub(super) fn write(module: &Module, digests: &Digests, out: &mut dyn Write) -> Result<(), WeightError> {
    let mut weights: Vec<(Digest, Place, &TensorType)> = Vec::new();
    for (digest, (graph, weight)) in digests.distinct() {
        let ty = module.graphs.get(graph).and_then(|graph| graph.weights().ty(weight));
        weights.extend(ty.map(|ty| (digest, (graph, weight), ty)));
    }
    // Wide elements first keeps all of them aligned.
    weights.sort_by_key(|(digest, _, ty)| (std::cmp::Reverse(ty.dtype.bits()), *digest));
    let header = header(&weights)?;
    let io = |error| WeightError::Io { path: PathBuf::from("(output)"), error };
    out.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| out.write_all(&header)).map_err(io)?;
    weights
        .iter()
        .try_for_each(|(_, (graph, weight), _)| module.graphs[*graph].weights().stream(*weight, out))
}

/// The header, padded so that the data after it is aligned.
fn header(weights: &[(Digest, Place, &TensorType)]) -> Result<Vec<u8>, WeightError> {
    let mut tensors = Vec::with_capacity(weights.len());
    let mut at = 0usize;
    for (digest, _, ty) in weights {
        let impossible = || WeightError::Type { ty: ty.to_string() };
        let length = ty.byte_len().and_then(|length| usize::try_from(length).ok()).ok_or_else(impossible)?;
        let end = at.checked_add(length).ok_or_else(impossible)?;
        let sizes = ty.shape.as_known().ok_or_else(impossible)?;
        let (dtype, shape) = match stored_dtype(ty.dtype) {
            Some(dtype) => (dtype, sizes.iter().map(|size| *size as usize).collect()),
            None => (Dtype::U8, vec![length]),
        };
        tensors.push((digest.to_string(), TensorInfo { dtype, shape, data_offsets: (at, end) }));
        at = end;
    }
    let about = HashMap::from([("format".to_owned(), "quad".to_owned())]);
    let other =
        |error: String| WeightError::Io { path: PathBuf::from("(output)"), error: io::Error::other(error) };
    let metadata = Metadata::new(Some(about), tensors).map_err(|error| other(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| other(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The format's name of an element type, where every reader knows it.
fn stored_dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F8E4M3FN => Dtype::F8_E4M3,
        DType::F8E5M2 => Dtype::F8_E5M2,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
        _ => return None,
    })
}
