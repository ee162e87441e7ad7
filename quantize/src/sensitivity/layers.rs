//! Layers: values of a graph that belong together, and how sensitive each of them is.
//!
//! A layer is a module of the program that the model was made from, by its path: all activations that its nodes compute,
//! the weights that they read, and the slots of its adapter. A value whose origin nobody knows is a layer of its own.
//! The score of a layer is the QSS of the model in which nothing but this layer is quantized, so that what other layers
//! lose does not hide it.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::{Graph, NodeRef, ValueRef};

use super::bench::{Bench, BenchError};
use crate::insert::Encodings;

/// The names of the values of each layer, by the path of the layer.
pub type Layers = BTreeMap<String, BTreeSet<String>>;

/// The layers of `graph` that have values among `names`.
pub fn layers<'n>(graph: &Graph, names: impl IntoIterator<Item = &'n String>) -> Layers {
    let names: BTreeSet<&str> = names.into_iter().map(String::as_str).collect();
    let mut layers = Layers::new();
    for value in graph.nodes().flat_map(NodeRef::results) {
        let Some(name) = value.name().filter(|name| names.contains(&***name)) else { continue };
        layers.entry(layer(value, name)).or_default().insert(name.to_string());
    }
    layers
}

/// The path of the layer of `value`: of the node that computes it, or of the one that reads what nobody computes.
fn layer(value: ValueRef<'_>, name: &str) -> String {
    // A slot is called after the module, `PATH.lora_A.0`.
    if let Some((path, _)) = name.split_once(".lora_") {
        return path.to_owned();
    }
    let of_producer = value.producer().loc().path().cloned();
    let path = of_producer.or_else(|| value.readers().find_map(|(reader, _)| reader.loc().path().cloned()));
    path.map_or_else(|| name.to_owned(), |path| module(&path).to_owned())
}

/// The module that a path is of: that of a weight is the path of its module with its name behind.
fn module(path: &str) -> &str {
    let stripped = [".weight", ".bias"].iter().find_map(|end| path.strip_suffix(end));
    stripped.unwrap_or(path)
}

/// How sensitive one layer is.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LayerScore {
    /// Its path.
    pub layer: String,
    /// How many values of it have encodings.
    pub values: usize,
    /// The QSS of each subject when only this layer is quantized, in their order.
    pub qss: Vec<f64>,
}

impl LayerScore {
    /// The QSS of the subject that suffers most.
    pub fn worst(&self) -> f64 {
        self.qss.iter().copied().fold(0.0, f64::max)
    }
}

/// The score of each of `layers`: everything has the encodings of `rest` but the values of the layer, which have those of
/// `encodings`. With an empty `rest` the others are floats. `done` is told of each run that has ended.
pub fn scores(
    bench: &Bench<'_>,
    layers: &Layers,
    encodings: &Encodings,
    rest: &Encodings,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<LayerScore>, BenchError> {
    let all: Vec<usize> = (0..bench.subjects().len()).collect();
    let score = |(layer, names): (&String, &BTreeSet<String>)| {
        let mut mixed = rest.clone();
        let mut values = 0;
        for name in names {
            if let Some(wanted) = encodings.get(name) {
                mixed.insert(name.clone(), wanted.clone());
                values += 1;
            }
        }
        let qss = bench.measure(&mixed, &all, done)?.iter().map(|fidelity| fidelity.qss).collect();
        Ok(LayerScore { layer: layer.clone(), values, qss })
    };
    layers.iter().map(score).collect()
}
