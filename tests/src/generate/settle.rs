//! The end of growing: names, outputs, and none of them where rounding is amplified.
//!
//! Passes change the order of sums and products, and with it the last bits of floats. Most graphs keep such a change
//! small; a difference of equal numbers that is then normalized does not, and what it gives says nothing about a pass.
//! Such outputs are found by running a copy of the graph in which every float is off by a little, up or down.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Graph, NodeId, Output, ValueId, ValueRef};
use quad_ir::interpret::{NamedTensors, RunError};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::{Input, Mul, OpTraits, OpVariant, Weight};
use quad_ir::tensor::Tensor;
use quad_passes::check::{DrawError, draw_inputs, evaluate};

use super::grower::Grower;

/// How far every float of the copy is off: a few units in the last place.
const NUDGE: f32 = 1.0 / 4_194_304.0;

/// How far an output may then be off, relative to its largest element: a quarter of what the check of passes allows.
const ALLOWED: f64 = 2.5e-5;

/// Outputs of a graph.
const MAX_OUTPUTS: usize = 6;

/// A grown graph could not be finished: a fault of the generator.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// A step added what a type rule refuses.
    #[error(transparent)]
    Add(#[from] AddError),
    /// Inputs could not be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// The graph does not run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Gives names to some values and makes outputs of what nobody reads, and of some other values.
pub(super) fn settle(mut grower: Grower, seed: u64) -> Result<Graph, SettleError> {
    let mut outputs: Vec<ValueId> = Vec::new();
    for index in (0..grower.values.len()).rev() {
        let value = grower.values[index].id;
        if grower.once_in(3) && grower.graph.value(value).name().is_none() {
            let op = grower.graph.value(value).producer().op().def().name();
            grower.graph.set_name(value, op);
        }
        let chosen = !grower.graph.value(value).is_read() || grower.once_in(8);
        if chosen && outputs.len() < MAX_OUTPUTS && !outputs.contains(&value) {
            outputs.push(value);
        }
    }
    let mut graph = grower.graph;
    place(&mut graph, &outputs);
    let steady = steady(&graph, seed)?;
    outputs.retain(|value| steady.contains(value));
    if outputs.is_empty() {
        // An input is as steady as anything; a graph has an output.
        outputs.extend(graph.inputs().next().map(ValueRef::id));
    }
    place(&mut graph, &outputs);
    Ok(graph)
}

fn place(graph: &mut Graph, outputs: &[ValueId]) {
    let output =
        |(index, value): (usize, &ValueId)| Output { name: format!("y{index}").into(), value: *value };
    let outputs = outputs.iter().enumerate().map(output).collect();
    graph.set_outputs(outputs).expect("values of the graph itself");
}

/// The outputs of `graph` that are finite and do not amplify rounding.
fn steady(graph: &Graph, seed: u64) -> Result<BTreeSet<ValueId>, SettleError> {
    let module = Module { graphs: vec![graph.clone()] };
    let inputs = draw_inputs(&module, seed, &super::trial::sizes())?;
    let exact = evaluate(&module, &inputs)?;
    let mut off: Vec<NamedTensors> = Vec::new();
    for phase in 0..2 {
        off.push(evaluate(&Module { graphs: vec![nudged(graph, phase)?] }, &inputs)?);
    }
    let holds = |output: &&Output| {
        let name = &*output.name;
        off.iter().all(|off| is_near(&off[name], &exact[name]))
    };
    Ok(graph.outputs().iter().filter(holds).map(|output| output.value).collect())
}

fn is_near(found: &Tensor, expected: &Tensor) -> bool {
    let (Ok(found), Ok(expected)) = (found.to_f64(), expected.to_f64()) else { return false };
    let largest = expected.iter().fold(0.0f64, |largest, element| largest.max(element.abs()));
    let is_near = |(a, b): (&f64, &f64)| a.is_finite() && b.is_finite() && (a - b).abs() <= ALLOWED * largest;
    found.iter().zip(&expected).all(is_near)
}

/// A copy of `graph` in which the `f32` results of operations are a little larger or smaller, each the other way than
/// the one before; with another `phase` all the other way round.
fn nudged(graph: &Graph, phase: usize) -> Result<Graph, AddError> {
    let mut copy = Graph::new("main");
    *copy.symbols_mut() = graph.symbols().clone();
    *copy.weights_mut() = graph.weights().clone();
    let factors = [
        copy.add_constant(&Tensor::scalar(1.0 + NUDGE), Loc::Built)?,
        copy.add_constant(&Tensor::scalar(1.0 - NUDGE), Loc::Built)?,
    ];
    let mut copies: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for (index, node) in graph.topo().into_iter().enumerate() {
        for (value, mut result) in copied(graph, &mut copy, node, &copies)? {
            if is_rounded(graph.value(value)) {
                result = copy.add_value(Mul, &[result, factors[(index + phase) % 2]], Loc::Built)?;
            }
            copies.insert(value, result);
        }
    }
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|output| Output { value: copies[&output.value], ..output.clone() }).collect();
    copy.set_outputs(outputs).expect("values of the copy itself");
    Ok(copy)
}

/// The results of `node` and what they are in `copy`, to which the node is added.
fn copied(
    graph: &Graph,
    copy: &mut Graph,
    node: NodeId,
    copies: &BTreeMap<ValueId, ValueId>,
) -> Result<Vec<(ValueId, ValueId)>, AddError> {
    let node = graph.node(node);
    if let Some(input) = Input::of(node.op()) {
        let name = node.result().name().map_or("", |name| &**name);
        let value = copy.add_input(name, input.ty.clone(), input.binding, Loc::Built)?;
        return Ok(vec![(node.result().id(), value)]);
    }
    let operands: Vec<Option<ValueId>> =
        node.operands().map(|operand| operand.map(|value| copies[&value.id()])).collect();
    let added = copy.add_stated(node.op().clone(), &operands, &node.stated(), Loc::Built)?;
    Ok(node.results().zip(copy.node(added).results()).map(|(old, new)| (old.id(), new.id())).collect())
}

/// Whether `value` is a float that was computed, and that no operation needs to be a known constant.
fn is_rounded(value: ValueRef<'_>) -> bool {
    let op = value.producer().op();
    let is_source = Input::of(op).is_some() || Weight::of(op).is_some();
    value.ty().dtype == DType::F32 && !is_source && op.def().traits().contains(OpTraits::PURE)
}
