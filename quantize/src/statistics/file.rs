//! Statistics as named tensors and metadata, for a safetensors file.
//!
//! Metadata: `quad.statistics` is the version of the format, `quad.model` and `quad.pipeline` name the graph, `quad.index`
//! is a JSON object with the names of everything, which lie in the order of the index. Tensors: `graph` is its text.
//! `weights.extremes` has two numbers for each slice along each axis of each weight; `weights.bins` and `weights.counts` are
//! all histograms one behind the other, `weights.ends` where each ends. So do `NAME/slots.*` for an adapter, and
//! `NAME/values.*`, where the extremes have a pair for each sample; `NAME/samples` are the numbers of the samples. Pairs of
//! NaN stand for tensors without elements. The same statistics are the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::{Tensor, TensorError};
use serde::{Deserialize, Serialize};

use super::histogram::{Bin, Histogram};
use super::{AdapterStatistics, Model, Statistics, TensorStatistics, ValueStatistics};
use crate::encoding::Range;

/// The version of the format that is written, and read.
const VERSION: &str = "1";
const FORMAT: &str = "quad.statistics";
const DIGEST: &str = "quad.model";
const PIPELINE: &str = "quad.pipeline";
const INDEX: &str = "quad.index";
const GRAPH: &str = "graph";
const WEIGHTS: &str = "weights";

/// A file does not hold statistics.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It is another kind of file.
    #[error("it holds no statistics: `{FORMAT}` is not in its metadata")]
    Other,
    /// It is of another version.
    #[error("its format has version {found}, this program reads version {VERSION}: calibrate again")]
    Version {
        /// The version.
        found: String,
    },
    /// Something is missing or does not fit.
    #[error("its statistics are damaged: {0}")]
    Damaged(String),
}

/// The names of everything, in order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    weights: Vec<(String, Vec<u64>)>,
    adapters: Vec<AdapterIndex>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterIndex {
    name: String,
    digest: String,
    data: String,
    available: u64,
    slots: Vec<(String, Vec<u64>)>,
    values: Vec<String>,
}

impl Statistics {
    /// Everything, as tensors and metadata by name.
    pub fn to_tensors(&self) -> Result<(NamedTensors, BTreeMap<String, String>), TensorError> {
        let mut tensors = NamedTensors::new();
        let text = Bytes::copy_from_slice(self.model.text.as_bytes());
        tensors.insert(GRAPH.to_owned(), Tensor::new(quad_ir::dtype::DType::U8, &[text.len()], text)?);
        write_fixed(&mut tensors, WEIGHTS, &self.weights)?;
        let mut index = Index { weights: sizes(&self.weights), adapters: Vec::new() };
        for (name, adapter) in &self.adapters {
            index.adapters.push(AdapterIndex {
                name: name.clone(),
                digest: adapter.digest.clone(),
                data: adapter.data.clone(),
                available: adapter.available,
                slots: sizes(&adapter.slots),
                values: adapter.values.keys().cloned().collect(),
            });
            write_fixed(&mut tensors, &format!("{name}/slots"), &adapter.slots)?;
            write_values(&mut tensors, name, adapter)?;
        }
        let metadata = [
            (FORMAT, VERSION.to_owned()),
            (DIGEST, self.model.digest.clone()),
            (PIPELINE, self.model.pipeline.clone()),
            // Names and numbers only, which are never refused.
            (INDEX, serde_json::to_string(&index).unwrap_or_default()),
        ];
        Ok((tensors, metadata.map(|(key, value)| (key.to_owned(), value)).into()))
    }

    /// Reads what [`to_tensors`](Self::to_tensors) made.
    pub fn from_tensors(
        mut tensors: NamedTensors,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, FormatError> {
        let version = metadata.get(FORMAT).ok_or(FormatError::Other)?;
        if version != VERSION {
            return Err(FormatError::Version { found: version.clone() });
        }
        let said = |key: &str| {
            metadata.get(key).cloned().ok_or_else(|| FormatError::Damaged(format!("`{key}` is missing")))
        };
        let index: Index =
            serde_json::from_str(&said(INDEX)?).map_err(|error| damaged(INDEX, &error.to_string()))?;
        let text = take::<u8>(&mut tensors, GRAPH)?;
        let text = String::from_utf8(text).map_err(|_| damaged(GRAPH, "it is no text"))?;
        let model = Model { digest: said(DIGEST)?, pipeline: said(PIPELINE)?, text };
        let weights = read_fixed(&mut tensors, WEIGHTS, index.weights)?;
        let mut adapters = BTreeMap::new();
        for entry in index.adapters {
            let name = entry.name.clone();
            if adapters.insert(name.clone(), read_adapter(&mut tensors, entry)?).is_some() {
                return Err(damaged(INDEX, &format!("adapter `{name}` is there twice")));
            }
        }
        match tensors.pop_first() {
            Some((name, _)) => Err(damaged(&name, "it belongs to nothing")),
            None => Ok(Self { model, weights, adapters }),
        }
    }
}

fn damaged(what: &str, why: &str) -> FormatError {
    FormatError::Damaged(format!("`{what}`: {why}"))
}

/// The names of tensors, with the lengths of their axes.
fn sizes(all: &BTreeMap<String, TensorStatistics>) -> Vec<(String, Vec<u64>)> {
    let lengths = |one: &TensorStatistics| one.axes.iter().map(|axis| axis.len() as u64).collect();
    all.iter().map(|(name, one)| (name.clone(), lengths(one))).collect()
}

/// Writes `all` as `prefix.*`. The range of a tensor comes before those of its slices.
fn write_fixed(
    tensors: &mut NamedTensors,
    prefix: &str,
    all: &BTreeMap<String, TensorStatistics>,
) -> Result<(), TensorError> {
    let ranges = all.values().flat_map(|one| std::iter::once(one.range).chain(slices(one)));
    write_ranges(tensors, prefix, ranges)?;
    write_histograms(tensors, prefix, all.values().map(|one| &one.histogram))
}

/// The ranges of all slices of a tensor.
fn slices(one: &TensorStatistics) -> impl Iterator<Item = Option<Range>> + '_ {
    one.axes.iter().flatten().copied().map(Some)
}

fn write_values(
    tensors: &mut NamedTensors,
    name: &str,
    adapter: &AdapterStatistics,
) -> Result<(), TensorError> {
    let samples: Vec<u64> = adapter.samples.iter().copied().collect();
    let ranges = adapter
        .values
        .values()
        .flat_map(|value| samples.iter().map(|sample| value.extremes.get(sample).copied()));
    let prefix = format!("{name}/values");
    write_ranges(tensors, &prefix, ranges)?;
    write_histograms(tensors, &prefix, adapter.values.values().map(|value| &value.histogram))?;
    tensors.insert(format!("{name}/samples"), Tensor::from_vec(&[samples.len()], samples)?);
    Ok(())
}

fn write_ranges(
    tensors: &mut NamedTensors,
    prefix: &str,
    ranges: impl Iterator<Item = Option<Range>>,
) -> Result<(), TensorError> {
    let pair = |range: Option<Range>| range.map_or([f32::NAN; 2], |Range { min, max }| [min, max]);
    let pairs: Vec<f32> = ranges.flat_map(pair).collect();
    tensors.insert(format!("{prefix}.extremes"), Tensor::from_vec(&[pairs.len() / 2, 2], pairs)?);
    Ok(())
}

fn write_histograms<'h>(
    tensors: &mut NamedTensors,
    prefix: &str,
    histograms: impl Iterator<Item = &'h Histogram>,
) -> Result<(), TensorError> {
    let (mut bins, mut counts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for histogram in histograms {
        bins.extend(histogram.bins().iter().map(|(bin, _)| bin.code()));
        counts.extend(histogram.bins().iter().map(|(_, count)| *count));
        ends.push(bins.len() as u64);
    }
    // Counts of most files fit half the bytes; which of the two it is depends on the counts alone.
    let narrow: Result<Vec<u32>, _> = counts.iter().map(|count| u32::try_from(*count)).collect();
    let length = [bins.len()];
    let counts = match narrow {
        Ok(narrow) => Tensor::from_vec(&length, narrow)?,
        Err(_) => Tensor::from_vec(&length, counts)?,
    };
    tensors.insert(format!("{prefix}.bins"), Tensor::from_vec(&length, bins)?);
    tensors.insert(format!("{prefix}.counts"), counts);
    tensors.insert(format!("{prefix}.ends"), Tensor::from_vec(&[ends.len()], ends)?);
    Ok(())
}

/// Takes the elements of the tensor `name` out of `tensors`.
fn take<T: quad_ir::tensor::Element>(tensors: &mut NamedTensors, name: &str) -> Result<Vec<T>, FormatError> {
    let tensor = tensors.remove(name).ok_or_else(|| damaged(name, "it is missing"))?;
    tensor
        .elements::<T>()
        .map(std::borrow::Cow::into_owned)
        .map_err(|error| damaged(name, &error.to_string()))
}

/// Takes the ranges `prefix.extremes`.
fn take_ranges(
    tensors: &mut NamedTensors,
    prefix: &str,
) -> Result<std::vec::IntoIter<Option<Range>>, FormatError> {
    let name = format!("{prefix}.extremes");
    let pairs = take::<f32>(tensors, &name)?;
    let range = |pair: &[f32]| match *pair {
        [min, max] if min <= max && min.is_finite() && max.is_finite() => Ok(Some(Range { min, max })),
        [min, max] if min.is_nan() && max.is_nan() => Ok(None),
        _ => Err(damaged(&name, &format!("{pair:?} is no range"))),
    };
    let ranges: Result<Vec<_>, FormatError> = pairs.chunks(2).map(range).collect();
    Ok(ranges?.into_iter())
}

/// Takes the histograms of `prefix`, of which there must be `expected`.
fn take_histograms(
    tensors: &mut NamedTensors,
    prefix: &str,
    expected: usize,
) -> Result<Vec<Histogram>, FormatError> {
    let bins = take::<u16>(tensors, &format!("{prefix}.bins"))?;
    let name = format!("{prefix}.counts");
    let narrow = tensors.get(&name).is_some_and(|tensor| tensor.dtype() == quad_ir::dtype::DType::U32);
    let counts: Vec<u64> = if narrow {
        take::<u32>(tensors, &name)?.into_iter().map(u64::from).collect()
    } else {
        take::<u64>(tensors, &name)?
    };
    let ends_name = format!("{prefix}.ends");
    let ends = take::<u64>(tensors, &ends_name)?;
    if bins.len() != counts.len()
        || ends.len() != expected
        || ends.last().copied().unwrap_or(0) != bins.len() as u64
    {
        return Err(damaged(&ends_name, "it does not fit the bins and the index"));
    }
    let mut start = 0;
    let mut histograms = Vec::new();
    for end in ends {
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let (Some(bins), Some(counts)) = (bins.get(start..end), counts.get(start..end)) else {
            return Err(damaged(&ends_name, "it does not grow, or grows beyond the bins"));
        };
        let bins: Option<Vec<(Bin, u64)>> =
            bins.iter().zip(counts).map(|(code, count)| Some((Bin::from_code(*code)?, *count))).collect();
        let histogram = bins.and_then(Histogram::from_bins);
        histograms.push(
            histogram.ok_or_else(|| damaged(&format!("{prefix}.bins"), "a bin is not possible, or twice"))?,
        );
        start = end;
    }
    Ok(histograms)
}

fn read_fixed(
    tensors: &mut NamedTensors,
    prefix: &str,
    names: Vec<(String, Vec<u64>)>,
) -> Result<BTreeMap<String, TensorStatistics>, FormatError> {
    let mut ranges = take_ranges(tensors, prefix)?;
    let histograms = take_histograms(tensors, prefix, names.len())?;
    let short = || damaged(&format!("{prefix}.extremes"), "there are not as many as the index says");
    let mut all = BTreeMap::new();
    for ((name, lengths), histogram) in names.into_iter().zip(histograms) {
        let range = ranges.next().ok_or_else(short)?;
        let mut axes = Vec::new();
        for length in lengths {
            let slices = ranges.by_ref().take(usize::try_from(length).unwrap_or(usize::MAX));
            let slices: Option<Vec<Range>> = slices.collect();
            axes.push(slices.filter(|slices| slices.len() as u64 == length).ok_or_else(short)?);
        }
        all.insert(name, TensorStatistics { axes, histogram, range });
    }
    if ranges.next().is_some() { Err(short()) } else { Ok(all) }
}

fn read_adapter(tensors: &mut NamedTensors, entry: AdapterIndex) -> Result<AdapterStatistics, FormatError> {
    let AdapterIndex { name, digest, data, available, slots, values: names } = entry;
    let slots = read_fixed(tensors, &format!("{name}/slots"), slots)?;
    let numbers = take::<u64>(tensors, &format!("{name}/samples"))?;
    let prefix = format!("{name}/values");
    let mut ranges = take_ranges(tensors, &prefix)?;
    if ranges.len() as u64 != (names.len() as u64).saturating_mul(numbers.len() as u64) {
        return Err(damaged(&format!("{prefix}.extremes"), "expected is a pair for each value and sample"));
    }
    let histograms = take_histograms(tensors, &prefix, names.len())?;
    let mut values = BTreeMap::new();
    for (value, histogram) in names.into_iter().zip(histograms) {
        let seen = numbers.iter().zip(ranges.by_ref().take(numbers.len()));
        let extremes = seen.filter_map(|(sample, range)| Some((*sample, range?))).collect();
        values.insert(value, ValueStatistics { extremes, histogram });
    }
    Ok(AdapterStatistics { digest, data, available, samples: numbers.into_iter().collect(), slots, values })
}
