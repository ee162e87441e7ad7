//! Taking statistics: of tensors that stay, and of values while a graph runs.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::{Graph, NodeId, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::weights::{Source, WeightError, WeightId, Weights};
use rayon::prelude::*;
use rustc_hash::FxHashSet;

use super::histogram::{Counter, Histogram};
use super::{AdapterStatistics, TensorStatistics, ValueStatistics};
use crate::encoding::Range;
use crate::executor::samples::{SampleError, Samples};
use crate::executor::{ExecuteError, Executor};

/// Statistics could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A value has elements that no encoding has.
    #[error(
        "adapter `{adapter}`, sample {sample}: value `{value}` has {found}, which no encoding holds; look for a division by \
         zero or an overflow before it, or leave the sample out"
    )]
    NotFinite {
        /// The adapter.
        adapter: String,
        /// The sample.
        sample: usize,
        /// The first such value of the run.
        value: String,
        /// What it has.
        found: f32,
    },
    /// A slot has elements that no encoding has.
    #[error(
        "adapter `{adapter}`: slot `{slot}` has {found}, which no encoding holds; the adapter is damaged"
    )]
    Slot {
        /// The adapter.
        adapter: String,
        /// The slot.
        slot: String,
        /// What it has.
        found: f32,
    },
    /// A run did not finish.
    #[error("adapter `{adapter}`, sample {sample}: {error}")]
    Run {
        /// The adapter.
        adapter: String,
        /// The sample.
        sample: usize,
        /// Why.
        error: Box<ExecuteError>,
    },
    /// A sample could not be had.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A constant could not be had.
    #[error("weight `{name}`: {error}")]
    Weight {
        /// Its name.
        name: String,
        /// Why.
        error: WeightError,
    },
    /// Elements could not be had.
    #[error("`{name}`: {error}")]
    Tensor {
        /// The value.
        name: String,
        /// Why.
        error: TensorError,
    },
}

/// What one sample adds to the statistics of an adapter.
#[derive(Debug)]
pub struct Observation {
    sample: u64,
    values: BTreeMap<String, (Range, Histogram)>,
}

impl TensorStatistics {
    /// Statistics of `tensor`; an element where it is not finite.
    pub fn of(tensor: &Tensor) -> Result<Result<Self, f32>, TensorError> {
        let elements = tensor.to_f32()?;
        let range = match range(&elements) {
            Ok(range) => range,
            Err(found) => return Ok(Err(found)),
        };
        let mut histogram = Histogram::default();
        Counter::default().count(&elements, &mut histogram);
        let axes = (0..tensor.rank()).map(|axis| along(&elements, tensor.sizes(), axis)).collect();
        Ok(Ok(Self { axes, histogram, range }))
    }

    /// Statistics of what the adapter `adapter` gives to `slot`, which must be finite.
    pub(super) fn of_slot(adapter: &str, slot: &str, tensor: &Tensor) -> Result<Self, CollectError> {
        let taken =
            Self::of(tensor).map_err(|error| CollectError::Tensor { name: slot.to_owned(), error })?;
        taken.map_err(|found| CollectError::Slot {
            adapter: adapter.to_owned(),
            slot: slot.to_owned(),
            found,
        })
    }
}

/// The elements of a constant. Those in a file are read, not mapped in: pages that were touched through a map would pile
/// up while one constant after the other is looked at.
fn elements(weights: &Weights, id: WeightId) -> Result<Tensor, WeightError> {
    let file = matches!(weights.source(id), Source::File { .. });
    let ty = weights.ty(id).filter(|_| file);
    let Some((ty, length)) = ty.and_then(|ty| Some((ty, ty.byte_len()?))) else { return weights.tensor(id) };
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    weights.stream(id, &mut bytes)?;
    let sizes: Vec<usize> = ty.shape.iter().map(|dim| dim.known().map_or(0, |size| size as usize)).collect();
    Ok(Tensor::new(ty.dtype, &sizes, bytes.into())?)
}

/// `elements` with the least number for what a mask left out before a softmax, which is less than all numbers. No encoding reaches
/// that far: such a value stays a float.
fn without_masks(elements: &[f32]) -> Vec<f32> {
    elements.iter().map(|element| if *element == f32::NEG_INFINITY { f32::MIN } else { *element }).collect()
}

/// The extremes of `elements`; `None` where there are none, an element where it is not finite.
fn range(elements: &[f32]) -> Result<Option<Range>, f32> {
    let Some(first) = elements.first() else { return Ok(None) };
    let (mut min, mut max, mut finite) = (*first, *first, true);
    for element in elements {
        min = if *element < min { *element } else { min };
        max = if *element > max { *element } else { max };
        finite &= element.is_finite();
    }
    if !finite {
        return Err(elements.iter().copied().find(|element| !element.is_finite()).unwrap_or(f32::NAN));
    }
    // Both zeros are one number, which must not depend on the order of the elements.
    Ok(Some(Range { min: min + 0.0, max: max + 0.0 }))
}

/// The extremes of each slice along `axis` of row-major `elements`, all of them finite; none without elements.
fn along(elements: &[f32], sizes: &[usize], axis: usize) -> Vec<Range> {
    if elements.is_empty() {
        return Vec::new();
    }
    let inner: usize = sizes[axis + 1..].iter().product();
    let mut ranges: Vec<Option<Range>> = vec![None; sizes[axis]];
    for block in elements.chunks_exact(sizes[axis] * inner) {
        for (slice, range) in block.chunks_exact(inner).zip(&mut ranges) {
            let own =
                slice.iter().map(|element| element + 0.0).fold(None, |range: Option<Range>, element| {
                    let Range { min, max } = range.unwrap_or(Range { min: element, max: element });
                    Some(Range { min: min.min(element), max: max.max(element) })
                });
            *range = match (*range, own) {
                (Some(range), Some(own)) => Some(range.union(own)),
                (range, own) => range.or(own),
            };
        }
    }
    ranges.into_iter().flatten().collect()
}

/// Bytes of a constant that is taken by itself.
const LARGE: u64 = 8 << 20;

/// Statistics of the float constants of `graph` that have names. Constants with elements that are not finite, such as
/// masks, are left out: no encoding holds them.
pub fn weights(graph: &Graph) -> Result<BTreeMap<String, TensorStatistics>, CollectError> {
    let constants: Vec<ValueRef<'_>> = graph
        .nodes()
        .map(quad_ir::graph::NodeRef::result)
        .filter(|value| value.weight().is_some() && value.ty().dtype.is_float() && value.name().is_some())
        .collect();
    // Large ones one after the other: several at a time would hold what the largest takes several times.
    let is_large = |value: &ValueRef<'_>| value.ty().byte_len().is_none_or(|bytes| bytes > LARGE);
    let (large, small): (Vec<ValueRef<'_>>, Vec<ValueRef<'_>>) = constants.into_iter().partition(is_large);
    let taken: Result<Vec<_>, CollectError> =
        small.into_par_iter().map(|value| weight(graph, value)).collect();
    let mut taken = taken?;
    for value in large {
        taken.push(weight(graph, value)?);
    }
    Ok(taken.into_iter().flatten().collect())
}

/// Name and statistics of a constant; `None` where elements are not finite.
fn weight(graph: &Graph, value: ValueRef<'_>) -> Result<Option<(String, TensorStatistics)>, CollectError> {
    let name = value.name().map_or_else(String::new, ToString::to_string);
    let Some(id) = value.weight() else { return Ok(None) };
    let tensor = elements(graph.weights(), id);
    let tensor = tensor.map_err(|error| CollectError::Weight { name: name.clone(), error })?;
    match TensorStatistics::of(&tensor) {
        Ok(statistics) => Ok(statistics.ok().map(|statistics| (name, statistics))),
        Err(error) => Err(CollectError::Tensor { name, error }),
    }
}

/// The names of the float values of `graph` that depend on an input that every run gives.
pub fn observed(graph: &Graph) -> BTreeSet<String> {
    let mut moving: FxHashSet<NodeId> = FxHashSet::default();
    let mut names = BTreeSet::new();
    for node in graph.topo().into_iter().map(|node| graph.node(node)) {
        let given = node.is::<Input>().is_some_and(|input| input.binding == Binding::Run);
        if !given && !node.operands().flatten().any(|operand| moving.contains(&operand.producer().id())) {
            continue;
        }
        moving.insert(node.id());
        let floats = node.results().filter(|value| value.ty().dtype.is_float());
        names.extend(floats.filter_map(|value| Some(value.name()?.to_string())));
    }
    names
}

impl AdapterStatistics {
    /// Statistics of the adapter `name`, which gives `slots`, before the first of `samples` is run.
    pub fn begin(
        graph: &Graph,
        name: &str,
        slots: &NamedTensors,
        samples: &Samples,
    ) -> Result<Self, CollectError> {
        let mut statistics = BTreeMap::new();
        for (slot, tensor) in slots.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            statistics.insert(slot.clone(), TensorStatistics::of_slot(name, slot, tensor)?);
        }
        let values = observed(graph).into_iter().map(|name| (name, ValueStatistics::default()));
        Ok(Self {
            digest: digest(slots),
            data: samples.digest(),
            available: samples.len() as u64,
            samples: BTreeSet::new(),
            slots: statistics,
            values: values.collect(),
        })
    }

    /// Runs `sample` of `samples` for the adapter `name` and says what there is to [`add`](Self::add).
    pub fn observe(
        &self,
        executor: &dyn Executor,
        name: &str,
        (samples, sample): (&Samples, usize),
        slots: &NamedTensors,
    ) -> Result<Observation, CollectError> {
        let inputs = samples.inputs(sample, slots)?;
        let mut observation = Observation { sample: sample as u64, values: BTreeMap::new() };
        let mut counter = Counter::default();
        let mut fault = None;
        let run = executor.run_observed(&inputs, &mut |value, tensor| {
            if fault.is_none() && self.values.contains_key(value) {
                let taken = observation.take(name, value, tensor, &mut counter);
                fault = taken.err();
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        run.map_err(|error| CollectError::Run { adapter: name.to_owned(), sample, error: Box::new(error) })?;
        Ok(observation)
    }

    /// Adds what was seen on a sample that was not added before.
    pub fn record(&mut self, observation: Observation) {
        let Observation { sample, values } = observation;
        self.samples.insert(sample);
        for (name, (range, histogram)) in values {
            let value = self.values.entry(name).or_default();
            value.extremes.insert(sample, range);
            value.histogram.merge(&histogram);
        }
    }
}

impl Observation {
    /// Looks at a value.
    fn take(
        &mut self,
        adapter: &str,
        value: &str,
        tensor: &Tensor,
        counter: &mut Counter,
    ) -> Result<(), CollectError> {
        let elements = tensor.to_f32();
        let mut elements =
            elements.map_err(|error| CollectError::Tensor { name: value.to_owned(), error })?;
        let mut found = range(&elements);
        if found == Err(f32::NEG_INFINITY) {
            elements = without_masks(&elements).into();
            found = range(&elements);
        }
        let range = found.map_err(|found| CollectError::NotFinite {
            adapter: adapter.to_owned(),
            sample: self.sample as usize,
            value: value.to_owned(),
            found,
        })?;
        let Some(range) = range else { return Ok(()) };
        let mut histogram = Histogram::default();
        counter.count(&elements, &mut histogram);
        self.values.insert(value.to_owned(), (range, histogram));
        Ok(())
    }
}

/// A digest of what an adapter gives, which names it in statistics.
pub fn digest(slots: &NamedTensors) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in slots {
        let header = format!("{name} {}\n", tensor.ty());
        hasher.update(&(header.len() as u64).to_le_bytes());
        hasher.update(header.as_bytes());
        hasher.update(tensor.bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
