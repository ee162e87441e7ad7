//! Statistics without a run: those of weights and slots, with ranges of values that are given.
//!
//! Quantizing a model takes ranges, and nothing else of what a calibration sees. Where they are known from elsewhere, or
//! where only the weights matter, they are enough.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;

use super::collect::{CollectError, digest, observed};
use super::histogram::{Counter, Histogram};
use super::{AdapterStatistics, TensorStatistics, ValueStatistics};
use crate::encoding::Range;
use crate::precision::Pattern;

/// Ranges by patterns of names; the longest pattern that fits counts.
pub type Ranges = [(Pattern, Range)];

/// Statistics cannot be made of ranges.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// No pattern fits a value.
    #[error("no pattern fits `{name}`, and {more} more values: `\"*\": [-8, 8]` would be for all others")]
    NoRange {
        /// The first such value.
        name: String,
        /// How many more there are.
        more: usize,
    },
    /// A slot could not be looked at.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl AdapterStatistics {
    /// Statistics of the adapter `name`, which gives `slots`, as if one sample had reached both ends of each of `ranges`.
    pub fn given(
        graph: &Graph,
        name: &str,
        slots: &NamedTensors,
        ranges: &Ranges,
    ) -> Result<Self, GivenError> {
        let values: BTreeMap<String, Option<Range>> = observed(graph)
            .into_iter()
            .map(|name| {
                let fitting = ranges.iter().filter(|(pattern, _)| pattern.fits(&name, None));
                let fitting = fitting.max_by_key(|(pattern, _)| pattern.text().len());
                let range = fitting.map(|(_, range)| *range);
                (name, range)
            })
            .collect();
        let mut missing = values.iter().filter(|(_, range)| range.is_none());
        if let Some((name, _)) = missing.next() {
            return Err(GivenError::NoRange { name: name.clone(), more: missing.count() });
        }
        let values = values.into_iter().filter_map(|(name, range)| Some((name, both_ends(range?)))).collect();
        let mut statistics = BTreeMap::new();
        for (slot, tensor) in slots.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            statistics.insert(slot.clone(), TensorStatistics::of_slot(name, slot, tensor)?);
        }
        let said: Vec<String> = ranges
            .iter()
            .map(|(pattern, range)| format!("{} {} {}\n", pattern.text(), range.min, range.max))
            .collect();
        Ok(Self {
            digest: digest(slots),
            data: blake3::hash(said.concat().as_bytes()).to_hex()[..32].to_owned(),
            available: 1,
            samples: BTreeSet::from([0]),
            slots: statistics,
            values,
        })
    }
}

/// A value that was seen at both ends of `range` once.
fn both_ends(range: Range) -> ValueStatistics {
    let mut histogram = Histogram::default();
    Counter::default().count(&[range.min, range.max], &mut histogram);
    ValueStatistics { extremes: BTreeMap::from([(0, range)]), histogram }
}

#[cfg(test)]
mod tests {
    use quad_ir::text::{self, NoWeights};

    use super::*;

    const GRAPH: &str = "quad 1

graph @main(%x: f32[2], %s: f32[2] adapter) {
  %y = relu(%x) : f32[2]
  %z = mul(%y, %s) : f32[2]
  return \"z\" = %z
}
";

    fn given(ranges: &[(&str, f32)]) -> Result<AdapterStatistics, GivenError> {
        let module = text::parse(GRAPH, &NoWeights).expect("a module");
        let range = |(pattern, most): &(&str, f32)| {
            (pattern.parse().expect("a pattern"), Range { min: -1.0, max: *most })
        };
        let ranges: Vec<(Pattern, Range)> = ranges.iter().map(range).collect();
        AdapterStatistics::given(module.main().expect("it runs"), "base", &NamedTensors::new(), &ranges)
    }

    #[test]
    fn the_longest_pattern_that_fits_counts() {
        let statistics = given(&[("*x*", 3.0), ("*", 8.0), ("z", 2.0)]).expect("ranges of all");
        let most = |name: &str| statistics.values[name].range().expect("it was given").max;
        assert_eq!(["x", "y", "z"].map(most), [3.0, 8.0, 2.0]);
        assert_eq!((statistics.available, statistics.samples.len()), (1, 1));
    }

    #[test]
    fn a_value_without_a_range_is_named() {
        let error = given(&[("x", 8.0)]).expect_err("two values have none").to_string();
        assert!(error.starts_with("no pattern fits `y`, and 1 more"), "{error}");
    }
}
