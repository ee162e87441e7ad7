//! Statistics of weights and slots, with ranges of values that are given: nothing is run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quad_quantize::encoding::Range;
use quad_quantize::precision::Pattern;
use quad_quantize::statistics::{AdapterStatistics, BASE, Model, Statistics, weights};

use super::Arguments;
use crate::exit::Failure;
use crate::freezing::freeze;
use crate::model;

/// The statistics that `arguments` ask for, with the ranges in the file `ranges`.
pub(super) fn take(arguments: &Arguments, model: &Path, ranges: &Path) -> Result<Statistics, Failure> {
    let ranges = read(ranges)?;
    let frozen = freeze(model, &arguments.adapter, &arguments.allow_unused)?;
    let graph = model::main_graph(&frozen.module, model).map_err(Failure::input)?;
    let mut adapters = BTreeMap::new();
    let base = [(BASE.to_owned(), frozen.base.clone())];
    for (name, slots) in if frozen.adapters.is_empty() { &base[..] } else { &frozen.adapters } {
        let given = AdapterStatistics::given(graph, name, slots, &ranges).map_err(Failure::input)?;
        adapters.insert(name.clone(), given);
    }
    let model = Model { digest: frozen.digest, pipeline: frozen.pipeline.clone(), text: frozen.text };
    Ok(Statistics { model, weights: weights(graph).map_err(Failure::input)?, adapters })
}

/// Reads ranges by patterns.
fn read(path: &Path) -> Result<Vec<(Pattern, Range)>, Failure> {
    let wrong = |reason: &str| Failure::message(format!("`{}`: {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    let ranges: BTreeMap<String, [f32; 2]> =
        serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let range = |(pattern, [min, max]): (String, [f32; 2])| {
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err(wrong(&format!("`{pattern}`: from {min} to {max} is no range of finite numbers")));
        }
        let pattern = pattern.parse().map_err(|_| wrong(&format!("`{pattern}` is no pattern")))?;
        Ok((pattern, Range { min, max }))
    };
    ranges.into_iter().map(range).collect()
}
