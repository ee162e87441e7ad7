//! What there is to say about a graph, in the form that `--json` prints.

use std::collections::BTreeMap;
use std::path::Path;

use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, Weight};
use quad_ir::types::Dim;
use rustc_hash::FxHashSet;
use serde::Serialize;
use serde_json::Value as Json;

/// Everything about one graph.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    /// Path of the file.
    pub(super) file: String,
    /// Name of the graph.
    pub(super) graph: String,
    /// Number of nodes that compute.
    pub(super) nodes: usize,
    /// What the file says of itself: producer, opset and anything else.
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) inputs: Vec<Value>,
    pub(super) outputs: Vec<Value>,
    /// Number of nodes by operation.
    pub(super) ops: BTreeMap<&'static str, usize>,
    pub(super) weights: Weights,
    /// The other graphs of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) others: Vec<Facts>,
}

/// An input or an output.
#[derive(Debug, Serialize)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) dtype: &'static str,
    /// Sizes: numbers, and names or expressions where they are symbolic.
    shape: Vec<Json>,
    /// Element type and sizes as the text format writes them.
    #[serde(rename = "type")]
    pub(super) ty: String,
    /// When an input gets its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) binding: Option<&'static str>,
}

/// The constants.
#[derive(Debug, Default, Serialize)]
pub(super) struct Weights {
    #[serde(flatten)]
    pub(super) total: Amount,
    pub(super) by_dtype: BTreeMap<&'static str, Amount>,
}

/// A number of tensors and how large they are together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Amount {
    pub(super) tensors: u64,
    pub(super) elements: u64,
    pub(super) bytes: u64,
}

impl Facts {
    /// What there is to say about `graph`, which was opened from `path`.
    pub(super) fn of(path: &Path, graph: &Graph) -> Self {
        let mut ops = BTreeMap::new();
        for node in graph.nodes() {
            if node.is::<Input>().is_none() && node.is::<Weight>().is_none() {
                *ops.entry(node.op().def().name()).or_default() += 1;
            }
        }
        let outputs = graph.outputs().iter();
        Self {
            file: path.display().to_string(),
            graph: graph.name().to_string(),
            nodes: ops.values().sum(),
            metadata: graph.metadata().clone(),
            inputs: graph.inputs().map(|input| Value::input(graph, input)).collect(),
            outputs: outputs
                .map(|output| Value::new(graph, &output.name, graph.value(output.value)))
                .collect(),
            ops,
            weights: Weights::of(graph),
            others: Vec::new(),
        }
    }
}

impl Value {
    fn new(graph: &Graph, name: &str, value: ValueRef<'_>) -> Self {
        let size = |dim: &Dim| {
            if let Some(size) = dim.known() {
                return Json::from(size);
            }
            let alone = [dim.clone()].into_iter().collect();
            let shown = graph.symbols().show(&alone).to_string();
            Json::from(shown.trim_matches(['[', ']']))
        };
        let ty = value.ty();
        Self {
            name: name.to_owned(),
            dtype: ty.dtype.name(),
            shape: ty.shape.iter().map(size).collect(),
            ty: format!("{}{}", ty.dtype, graph.symbols().show(&ty.shape)),
            binding: None,
        }
    }

    fn input(graph: &Graph, value: ValueRef<'_>) -> Self {
        let binding = value.producer().is::<Input>().map(|input| match input.binding {
            Binding::Run => "run",
            Binding::Adapter => "adapter",
        });
        let name = value.name().map_or("", |name| &**name);
        Self { binding, ..Self::new(graph, name, value) }
    }
}

impl Weights {
    fn of(graph: &Graph) -> Self {
        let mut weights = Self::default();
        let mut seen = FxHashSet::default();
        for weight in graph.nodes().filter_map(NodeRef::is::<Weight>) {
            // Several nodes may read the same bytes.
            if seen.insert(weight.id) {
                let dtype = weights.by_dtype.entry(weight.ty.dtype.name()).or_default();
                for amount in [dtype, &mut weights.total] {
                    amount.tensors += 1;
                    amount.elements += weight.ty.shape.as_known().map_or(0, |sizes| sizes.iter().product());
                    amount.bytes += weight.ty.byte_len().unwrap_or(0);
                }
            }
        }
        weights
    }
}
