//! How much memory a run may take where nobody says.

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::ops::Weight;

/// Values may take this much whatever the model is like.
const BASE_LIMIT: u64 = 256 << 20;
/// Values may take this many times the bytes of weights and inputs on top.
const LIMIT_FACTOR: u64 = 32;

/// The bytes that computed values of `graph` may take at a time, from the bytes of weights and inputs.
pub fn default_limit(graph: &Graph, inputs: &NamedTensors) -> u64 {
    let weights = graph.nodes().filter_map(|node| node.is::<Weight>()?.ty.byte_len());
    let given = inputs.values().map(|tensor| tensor.bytes().len() as u64);
    let total = weights.chain(given).fold(0u64, u64::saturating_add);
    total.saturating_mul(LIMIT_FACTOR).saturating_add(BASE_LIMIT)
}
