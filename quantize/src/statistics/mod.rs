//! What the values of a model are like for each adapter: the result of calibration, and all that encodings are made of.
//!
//! For each adapter and each float value that depends on the inputs of a run: the extremes of each sample and exact counts
//! in fixed bins. For each weight, and each slot of each adapter: the extremes along every axis and such counts. Nothing
//! is ever rounded, averaged or decayed, so statistics of parts [merge](Statistics::merge) into those of the whole, bit
//! for bit, in any order and grouping; percentiles and moving averages are made of them afterwards.

mod collect;
mod file;
mod given;
pub mod histogram;
mod merge;

use std::collections::{BTreeMap, BTreeSet};

use crate::encoding::Range;
use histogram::Histogram;

pub use collect::{CollectError, Observation, digest, observed, weights};
pub use file::FormatError;
pub use given::{GivenError, Ranges};
pub use merge::MergeError;

/// Statistics of a model, and perhaps of some of its adapters on some of their samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// What they were taken of.
    pub model: Model,
    /// The float constants of the model, by name.
    pub weights: BTreeMap<String, TensorStatistics>,
    /// The adapters, by name; the model without an adapter is called [`BASE`].
    pub adapters: BTreeMap<String, AdapterStatistics>,
}

/// What the model without an adapter is called among adapters.
pub const BASE: &str = "base";

/// The graph that statistics were taken of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// A digest of its text, which names it wherever it is quantized.
    pub digest: String,
    /// The pipeline that it came out of.
    pub pipeline: String,
    /// Its text, without the elements of weights.
    pub text: String,
}

/// Statistics of one adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterStatistics {
    /// A digest of its slots.
    pub digest: String,
    /// A digest of all its samples.
    pub data: String,
    /// How many samples there are, of which perhaps only some were run.
    pub available: u64,
    /// The numbers of those that were run.
    pub samples: BTreeSet<u64>,
    /// Its slots, by the name of the input.
    pub slots: BTreeMap<String, TensorStatistics>,
    /// The float values that depend on the inputs of a run, by name; run inputs that are floats are among them. All of
    /// them were seen on the same samples.
    pub values: BTreeMap<String, ValueStatistics>,
}

/// A value, over the samples that were run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueStatistics {
    /// Its extremes on each sample, by the number of the sample. A value without elements has none.
    pub extremes: BTreeMap<u64, Range>,
    /// Its elements on all samples.
    pub histogram: Histogram,
}

/// A tensor that does not change from run to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorStatistics {
    /// For each axis, the extremes of each slice along it.
    pub axes: Vec<Vec<Range>>,
    /// Its elements.
    pub histogram: Histogram,
    /// The extremes of all; `None` without elements.
    pub range: Option<Range>,
}

impl ValueStatistics {
    /// The extremes over all samples; `None` where there are none.
    pub fn range(&self) -> Option<Range> {
        self.extremes.values().copied().reduce(Range::union)
    }
}

#[cfg(test)]
mod tests;
