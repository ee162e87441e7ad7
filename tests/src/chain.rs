//! Graphs as large as one likes: copies of a model, each reading what the one before computed.

use quad_ir::graph::{AddError, Graph, Output, ValueId, ValueRef};
use quad_ir::ops::{Input, Op, Weight};
use rustc_hash::FxHashMap;

/// `copies` copies of `model`, whose first output is the input `through` of the next copy, and must have its type. The
/// other inputs are read by all copies. Constants are shared: no bytes are copied.
///
/// # Errors
/// When the first output does not fit the input.
pub fn chain(model: &Graph, through: &str, copies: usize) -> Result<Graph, AddError> {
    let mut chain = Graph::new("main");
    let mut inputs: FxHashMap<ValueId, ValueId> = FxHashMap::default();
    let mut first = None;
    for input in model.inputs() {
        let Some(Input { ty, binding }) = input.producer().is::<Input>() else { continue };
        let name = input.name().map_or("", |name| &**name);
        let value = chain.add_input(name, ty.clone(), *binding, input.producer().loc().clone())?;
        first = first.or((name == through).then_some((input.id(), value)));
        inputs.insert(input.id(), value);
    }
    let weights = share_weights(model, &mut chain)?;
    for _ in 0..copies {
        let output = copy(model, &mut chain, &inputs, &weights)?;
        if let Some((input, _)) = first {
            inputs.insert(input, output);
        }
    }
    let last = first.and_then(|(input, _)| inputs.get(&input).copied());
    let outputs = last.into_iter().map(|value| Output { name: "y".into(), value }).collect();
    // The last copy's output is in the graph.
    let _ = chain.set_outputs(outputs);
    Ok(chain)
}

/// Adds the constants of `model`, and returns what they became.
fn share_weights(model: &Graph, chain: &mut Graph) -> Result<FxHashMap<ValueId, Op>, AddError> {
    let mut shared = FxHashMap::default();
    for node in model.nodes() {
        let Some(weight) = node.is::<Weight>() else { continue };
        let tensor = model.weights().tensor(weight.id)?;
        let id = chain.weights_mut().add_memory(weight.ty.clone(), tensor.bytes().clone())?;
        shared.insert(node.result().id(), Weight { id, ty: weight.ty.clone() }.into());
    }
    Ok(shared)
}

fn copy(
    model: &Graph,
    chain: &mut Graph,
    inputs: &FxHashMap<ValueId, ValueId>,
    weights: &FxHashMap<ValueId, Op>,
) -> Result<ValueId, AddError> {
    let mut copies = inputs.clone();
    for node in model.topo() {
        let node = model.node(node);
        if node.is::<Input>().is_some() {
            continue;
        }
        let op = weights.get(&node.result().id()).cloned().unwrap_or_else(|| node.op().clone());
        let operands: Vec<Option<ValueId>> =
            node.operands().map(|operand| operand.map(|value| copies[&value.id()])).collect();
        let new = chain.add_stated(op, &operands, &node.stated(), node.loc().clone())?;
        let results: Vec<ValueId> = chain.node(new).results().map(ValueRef::id).collect();
        copies.extend(node.results().map(ValueRef::id).zip(results));
    }
    Ok(copies[&model.outputs()[0].value])
}
