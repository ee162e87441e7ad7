//! Layers: values of a graph that belong together, and how sensitive each of them is.
//!
//! A layer is a module of the program that the model was made from, by its path: all activations that its nodes compute,
//! the weights that they read, and the slots of its adapter. What passes made of several modules, such as the products of
//! single heads, belongs to the module that its first operand is of. A value whose origin nobody knows is a layer of its
//! own. The score of a layer is the QSS of the model in which nothing but this layer is quantized, so that what other
//! layers lose does not hide it.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::{Graph, NodeId, NodeRef, ValueRef};
use rustc_hash::FxHashMap;

use super::bench::{Bench, BenchError};
use crate::insert::Encodings;

/// The names of the values of each layer, by the path of the layer.
pub type Layers = BTreeMap<String, BTreeSet<String>>;

/// The layers of `graph` that have values among `names`.
pub fn layers<'n>(graph: &Graph, names: impl IntoIterator<Item = &'n String>) -> Layers {
    let names: BTreeSet<&str> = names.into_iter().map(String::as_str).collect();
    let paths = Paths::of(graph);
    let mut layers = Layers::new();
    for value in graph.nodes().flat_map(NodeRef::results) {
        let Some(name) = value.name().filter(|name| names.contains(&***name)) else { continue };
        layers.entry(paths.layer(value, name)).or_default().insert(name.to_string());
    }
    layers
}

/// The paths of modules that nodes belong to.
struct Paths(FxHashMap<NodeId, String>);

impl Paths {
    fn of(graph: &Graph) -> Self {
        let mut paths = Self(FxHashMap::default());
        for node in graph.topo() {
            let node = graph.node(node);
            // Constants and inputs belong to whoever reads them.
            let is_source = node.operands().len() == 0;
            let of_operand =
                || node.operands().flatten().find_map(|operand| paths.0.get(&operand.producer().id()));
            let own = node.loc().path().map(|path| module(path).to_owned());
            if let Some(path) = own.or_else(|| of_operand().cloned()).filter(|_| !is_source) {
                paths.0.insert(node.id(), path);
            }
        }
        paths
    }

    /// The path of the layer of `value`, which is called `name`.
    fn layer(&self, value: ValueRef<'_>, name: &str) -> String {
        // A slot is called after the module, `PATH.lora_A.0`.
        if let Some((path, _)) = name.split_once(".lora_") {
            return path.to_owned();
        }
        let of_reader = || value.readers().find_map(|(reader, _)| self.0.get(&reader.id()));
        let path = self.0.get(&value.producer().id()).or_else(of_reader);
        path.cloned().unwrap_or_else(|| name.to_owned())
    }
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

#[cfg(test)]
mod tests {
    use quad_ir::text::{self, NoWeights};

    use super::*;

    const TEXT: &str = r#"quad 1

graph @main(%x: f32[1, 2], %"to_q.lora_A.0": f32[2, 2] adapter) {
  %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
  %q = matmul(%x, %w) : f32[1, 2] from "to_q"
  %low = matmul(%q, %"to_q.lora_A.0") : f32[1, 2]
  %heads = relu(%low) : f32[1, 2]
  %y = neg(%heads) : f32[1, 2] from "act"
  return "y" = %y
}
"#;

    #[test]
    fn what_nobody_says_the_origin_of_goes_with_its_first_operand() {
        let module = text::parse(TEXT, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
        let graph = module.main().expect("a graph");
        let names = ["x", "to_q.lora_A.0", "w", "q", "low", "heads", "y", "gone"].map(str::to_owned);
        let found: Vec<(String, Vec<String>)> = layers(graph, &names)
            .into_iter()
            .map(|(layer, names)| (layer, names.into_iter().collect()))
            .collect();
        let of = |layer: &str, names: &[&str]| {
            (layer.to_owned(), names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>())
        };
        let expected = [of("act", &["y"]), of("to_q", &["heads", "low", "q", "to_q.lora_A.0", "w", "x"])];
        assert_eq!(found, expected);
    }

    #[test]
    fn weights_are_of_their_module() {
        assert_eq!(module("down.0.conv.weight"), "down.0.conv");
        assert_eq!(module("down.0.conv"), "down.0.conv");
    }
}
