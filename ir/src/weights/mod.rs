//! Constants of a graph: read-only views of mapped files or memory, and recipes over other constants.
//!
//! Cloning a graph copies no weight, and opening a model reads none. Bytes are made when somebody asks, one tensor at a
//! time: [`Weights::tensor`] for computing, [`Weights::stream`] for writing files without mapping pages in.

mod digest;
mod entries;
mod mapped;
mod recipe;

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

pub use digest::Digest;
use entries::Entries;
pub use mapped::MappedFile;

use crate::entity::entity;
use crate::ops::{EvalError, Op};
use crate::tensor::{Sizes, Tensor, TensorError};
use crate::types::{Quant, TensorType};

entity! {
    /// An entry of [`Weights`].
    pub struct WeightId("w");
}

/// The constants of a graph. Entries are only ever added.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    entries: Entries,
}

#[derive(Clone, Debug)]
struct Entry {
    ty: TensorType,
    source: Source,
}

/// Where the bytes of a weight come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Bytes in memory, possibly a view of something larger.
    Memory(Bytes),
    /// A range of a mapped file.
    File {
        /// The file.
        file: Arc<MappedFile>,
        /// The bytes.
        range: Range<u64>,
    },
    /// The result of a pure operation on other weights.
    Recipe {
        /// The operation; it has one result.
        op: Op,
        /// Its operands, which were there before; `None` where an optional one is left out.
        from: SmallVec<[Option<WeightId>; 2]>,
    },
}

/// The bytes of a weight could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WeightError {
    /// The type has symbolic sizes or more elements than a machine holds.
    #[error("a weight of type {ty} is not possible: its sizes must be known and small enough to hold")]
    Type {
        /// The type.
        ty: String,
    },
    /// The bytes are not as many as the type says.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The file ends before the range does.
    #[error("{}: bytes {}..{} are beyond its end at {length}", path.display(), range.start, range.end)]
    Range {
        /// The file.
        path: PathBuf,
        /// The bytes asked for.
        range: Range<u64>,
        /// Length of the file.
        length: u64,
    },
    /// The file could not be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// There is no such weight.
    #[error("weight {weight} is not in the graph")]
    Missing {
        /// What was asked for.
        weight: WeightId,
    },
    /// A recipe could not be evaluated.
    #[error("recipe `{op}`: {error}")]
    Recipe {
        /// The operation.
        op: &'static str,
        /// What went wrong.
        error: EvalError,
    },
}

/// Bytes read at a time when streaming from a file.
const CHUNK: usize = 1 << 20;

impl Weights {
    /// Adds a weight whose packed little-endian elements are `bytes`.
    pub fn add_memory(&mut self, ty: TensorType, bytes: Bytes) -> Result<WeightId, WeightError> {
        Tensor::new(ty.dtype, &sizes(&ty)?, bytes.clone())?;
        Ok(self.entries.push(Entry { ty, source: Source::Memory(bytes) }))
    }

    /// Adds a weight that holds `tensor`.
    pub fn add_tensor(&mut self, tensor: &Tensor) -> Result<WeightId, WeightError> {
        self.add_memory(tensor.ty(), tensor.bytes().clone())
    }

    /// Adds a weight that is `range` of `file`.
    pub fn add_file(
        &mut self,
        ty: TensorType,
        file: Arc<MappedFile>,
        range: Range<u64>,
    ) -> Result<WeightId, WeightError> {
        let length = range.end.checked_sub(range.start);
        if range.end > file.len() || length.is_none() {
            return Err(WeightError::Range { path: file.path().to_owned(), range, length: file.len() });
        }
        sizes(&ty)?;
        if ty.byte_len() != length {
            let expected =
                ty.byte_len().map_or_else(|| "more than 2^64".to_owned(), |bytes| bytes.to_string());
            let found = usize::try_from(length.unwrap_or_default()).unwrap_or(usize::MAX);
            return Err(TensorError::Length {
                dtype: ty.dtype,
                sizes: sizes(&ty)?.to_vec(),
                expected,
                found,
            }
            .into());
        }
        Ok(self.entries.push(Entry { ty, source: Source::File { file, range } }))
    }

    /// Adds the weight that `op` makes of `from`. `ty` is the type rule's; it is checked when the bytes are made.
    /// [`derive`](Self::derive) finds it by itself.
    pub fn add_recipe(
        &mut self,
        ty: TensorType,
        op: Op,
        from: &[Option<WeightId>],
    ) -> Result<WeightId, WeightError> {
        sizes(&ty)?;
        for weight in from.iter().flatten() {
            let ty = self.ty(*weight).ok_or(WeightError::Missing { weight: *weight })?;
            if ty.quant.is_some() {
                let why = format!("a recipe over {ty}, as recipes compute with stored elements");
                return Err(WeightError::Recipe { op: op.def().name(), error: EvalError::Unsupported(why) });
            }
        }
        Ok(self.entries.push(Entry { ty, source: Source::Recipe { op, from: from.into() } }))
    }

    /// Adds a weight of the same stored elements as `weight`, which stand for other real numbers: those that `quant` says,
    /// or none. Bytes are shared.
    pub fn reinterpret(
        &mut self,
        weight: WeightId,
        quant: Option<Arc<Quant>>,
    ) -> Result<WeightId, WeightError> {
        let Entry { ty, source } = self.entries.get(weight).ok_or(WeightError::Missing { weight })?.clone();
        let ty = TensorType { quant, ..ty };
        Ok(self.entries.push(Entry { ty, source }))
    }

    /// The type of `weight`, or `None` when it is of another graph.
    pub fn ty(&self, weight: WeightId) -> Option<&TensorType> {
        self.entries.get(weight).map(|entry| &entry.ty)
    }

    /// Where the bytes of `weight` come from.
    ///
    /// # Panics
    /// When `weight` is of another graph.
    pub fn source(&self, weight: WeightId) -> &Source {
        &self.entries[weight].source
    }

    /// All weights in the order in which they were added.
    pub fn ids(&self) -> impl Iterator<Item = WeightId> + '_ {
        self.entries.ids()
    }

    /// The elements of `weight`: a view where the bytes exist, computed where it is a recipe.
    pub fn tensor(&self, weight: WeightId) -> Result<Tensor, WeightError> {
        let Entry { ty, source } = &self.entries[weight];
        let bytes = match source {
            Source::Memory(bytes) => bytes.clone(),
            Source::File { file, range } => file.bytes(range.clone()).ok_or_else(|| WeightError::Range {
                path: file.path().to_owned(),
                range: range.clone(),
                length: file.len(),
            })?,
            Source::Recipe { .. } => return recipe::evaluate(self, weight),
        };
        Ok(Tensor::new(ty.dtype, &sizes(ty)?, bytes)?)
    }

    /// Hands the packed bytes of `weight` to `sink`, a piece at a time. Files are read, not mapped in: resident
    /// memory stays at one piece however large the weight is.
    pub fn stream(&self, weight: WeightId, sink: &mut dyn Write) -> Result<(), WeightError> {
        let Source::File { file, range } = self.source(weight) else {
            let tensor = self.tensor(weight)?;
            let io = |error| WeightError::Io { path: PathBuf::from("(output)"), error };
            return sink.write_all(tensor.bytes()).map_err(io);
        };
        let io = |error| WeightError::Io { path: file.path().to_owned(), error };
        let mut piece = vec![0; CHUNK];
        let mut at = range.start;
        while at < range.end {
            let wanted = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
            file.read_at(at, &mut piece[..wanted]).map_err(io)?;
            sink.write_all(&piece[..wanted]).map_err(io)?;
            at += wanted as u64;
        }
        Ok(())
    }

    /// A digest of the type and the bytes of `weight`; equal for equal weights, whatever file they are in.
    pub fn digest(&self, weight: WeightId) -> Result<Digest, WeightError> {
        let mut hasher = digest::Hasher::new(&self.entries[weight].ty);
        self.stream(weight, &mut hasher)?;
        Ok(hasher.finish())
    }
}

/// The sizes of a weight's type, all known and small enough to hold.
fn sizes(ty: &TensorType) -> Result<Sizes, WeightError> {
    let impossible = || WeightError::Type { ty: ty.to_string() };
    if !ty.is_representable() {
        return Err(impossible());
    }
    let known = ty.shape.as_known().ok_or_else(impossible)?;
    known.iter().map(|size| usize::try_from(*size).map_err(|_| impossible())).collect()
}
