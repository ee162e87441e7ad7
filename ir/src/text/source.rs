//! Where a parser finds the bytes of weights that a text names by digest.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::TensorType;
use crate::weights::{Digest, MappedFile, WeightError, WeightId, Weights};

/// Bytes of a weight that a source has.
#[derive(Clone, Debug)]
pub enum Stored {
    /// Bytes in memory.
    Memory(Bytes),
    /// A range of a mapped file.
    File {
        /// The file.
        file: Arc<MappedFile>,
        /// The bytes.
        range: Range<u64>,
    },
}

/// Finds the bytes of a weight by its digest.
///
/// A source answers from its index. That the bytes really have the digest is not checked, as it would mean to read them
/// all; that they are as many as the type says is.
pub trait WeightSource {
    /// The packed elements of the weight with `digest`, which the text says is a `ty`.
    fn find(&self, digest: Digest, ty: &TensorType) -> Option<Stored>;

    /// Where this source looks, to complete "the bytes of weight .. are not there; ..".
    fn hint(&self) -> String;
}

/// No weights: enough for texts whose weights are written out.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWeights;

impl WeightSource for NoWeights {
    fn find(&self, _digest: Digest, _ty: &TensorType) -> Option<Stored> {
        None
    }

    fn hint(&self) -> String {
        "the text was read without a file of weights".to_owned()
    }
}

/// Weights in memory, by digest.
#[derive(Clone, Debug, Default)]
pub struct MemoryWeights {
    by_digest: BTreeMap<Digest, Stored>,
}

impl MemoryWeights {
    /// The weights of a graph, without copying them where they are stored as they are.
    pub fn of(weights: &Weights) -> Result<Self, WeightError> {
        let mut all = Self::default();
        all.extend(weights)?;
        Ok(all)
    }

    /// Adds the weights of another graph.
    pub fn extend(&mut self, weights: &Weights) -> Result<(), WeightError> {
        weights.ids().try_for_each(|weight| self.add(weights, weight))
    }

    fn add(&mut self, weights: &Weights, weight: WeightId) -> Result<(), WeightError> {
        let stored = Stored::Memory(weights.tensor(weight)?.bytes().clone());
        self.by_digest.insert(weights.digest(weight)?, stored);
        Ok(())
    }
}

impl WeightSource for MemoryWeights {
    fn find(&self, digest: Digest, _ty: &TensorType) -> Option<Stored> {
        self.by_digest.get(&digest).cloned()
    }

    fn hint(&self) -> String {
        format!("{} weights were given", self.by_digest.len())
    }
}
