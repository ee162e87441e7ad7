//! What there is to say about a graph, in the form that `--json` prints.

use std::collections::BTreeMap;
use std::path::Path;

use quad_frontends::adapter::branches::{self, Branch};
use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::loc::Loc;
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
    pub(super) lora: Lora,
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

/// Low-rank branches beside layers, as adapters leave them that were not merged.
#[derive(Debug, Serialize)]
pub(super) struct Lora {
    pub(super) count: usize,
    pub(super) groups: Vec<LoraGroup>,
    branches: Vec<LoraBranch>,
}

/// Branches that have everything but their place in common.
#[derive(Debug, Serialize)]
pub(super) struct LoraGroup {
    pub(super) kind: &'static str,
    pub(super) rank: u64,
    pub(super) scale: f64,
    pub(super) count: usize,
}

/// One branch.
#[derive(Debug, Serialize)]
struct LoraBranch {
    /// Where the layer comes from that it belongs to.
    layer: String,
    kind: &'static str,
    rank: u64,
    scale: f64,
    /// Name of the weight that reduces to the rank.
    down: Option<String>,
    /// Name of the weight that leads back.
    up: Option<String>,
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
            lora: Lora::of(graph),
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

impl Lora {
    fn of(graph: &Graph) -> Self {
        let found = branches::find(graph);
        let mut groups: Vec<LoraGroup> = Vec::new();
        for Branch { kind, rank, scale, .. } in &found {
            let kind = kind.name();
            let same =
                |group: &&mut LoraGroup| (group.kind, group.rank, group.scale) == (kind, *rank, *scale);
            match groups.iter_mut().find(same) {
                Some(group) => group.count += 1,
                None => groups.push(LoraGroup { kind, rank: *rank, scale: *scale, count: 1 }),
            }
        }
        let branches = found.iter().map(|branch| LoraBranch::of(graph, branch)).collect();
        Self { count: found.len(), groups, branches }
    }
}

impl LoraBranch {
    fn of(graph: &Graph, branch: &Branch) -> Self {
        let weight = |product| branches::weight_name(graph, product).map(ToString::to_string);
        let layer = match graph.node(branch.layer).loc() {
            Loc::Source { node, .. } => node.to_string(),
            loc => loc.to_string(),
        };
        Self {
            layer,
            kind: branch.kind.name(),
            rank: branch.rank,
            scale: branch.scale,
            down: weight(branch.down),
            up: weight(branch.up),
        }
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
