//! Smaller sizes, and plain constants.

use std::collections::BTreeSet;

use quad_ir::graph::{Graph, NodeRef, Output, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::ops::{Slice, Weight};
use quad_ir::tensor::{Tensor, element_count};

use super::Reduction;
use super::rebuild::Plan;

/// Elements of a constant beyond which it is not looked at.
const MAX_ELEMENTS: usize = 1 << 22;

impl Reduction<'_, '_> {
    /// Makes every size that is a number smaller, wherever it occurs: in inputs, constants, and lists of sizes.
    pub(super) fn shrink_sizes(&mut self) {
        let values = self.graph().nodes().flat_map(NodeRef::results);
        let sizes: BTreeSet<u64> =
            values.flat_map(|value| value.ty().shape.iter().filter_map(quad_ir::types::Dim::known)).collect();
        for from in sizes.into_iter().rev().filter(|size| *size > 1) {
            let half = (from.is_multiple_of(2) && from > 4).then_some(from / 2);
            let targets = [1, 2, 3].into_iter().chain(half).filter(|to| *to < from);
            for to in targets.collect::<Vec<u64>>() {
                let graph = Plan { resize: Some((from, to)), ..Plan::of(self.graph()) }.build();
                if self.keep_graph(graph) {
                    break;
                }
            }
        }
    }

    /// Fills constants with ones where the pipeline fails all the same, so that those are seen whose elements matter.
    pub(super) fn plain_constants(&mut self) {
        let is_float =
            |node: &NodeRef<'_>| node.is::<Weight>().is_some_and(|weight| weight.ty.dtype.is_float());
        let values: Vec<ValueId> =
            self.graph().nodes().filter(is_float).map(|node| node.result().id()).collect();
        for value in values {
            // Ids stay as they are while nothing but elements changes.
            let ones = self.graph().value(value).weight().and_then(|_| ones(self.graph(), value));
            let Some(ones) = ones else { continue };
            let mut plan = Plan::of(self.graph());
            plan.constants.insert(value, ones);
            let graph = plan.build().filter(|graph| same_ids(graph, self.graph()));
            let candidate = graph.map(|graph| {
                let mut module = self.module.clone();
                module.graphs[self.at] = graph;
                module
            });
            self.keep(candidate);
        }
    }
}

/// Whether both have the same nodes in the same order.
fn same_ids(a: &Graph, b: &Graph) -> bool {
    let kinds = |graph: &Graph| graph.nodes().map(|node| (node.id(), node.op().kind())).collect::<Vec<_>>();
    kinds(a) == kinds(b)
}

/// As many ones as `value` has elements, unless it holds nothing else.
fn ones(graph: &Graph, value: ValueId) -> Option<Tensor> {
    let ty = graph.value(value).ty();
    let sizes = known_sizes(&ty.shape.as_known()?)?;
    let ones = Tensor::from_f32(ty.dtype, &sizes, &vec![1.0; element_count(&sizes)?]).ok()?;
    let weight = graph.value(value).weight()?;
    let elements = graph.weights().tensor(weight).ok()?;
    (elements != ones).then_some(ones)
}

/// The sizes, when they are few elements.
fn known_sizes(sizes: &[u64]) -> Option<Vec<usize>> {
    let sizes: Option<Vec<usize>> = sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
    sizes.filter(|sizes| element_count(sizes).is_some_and(|count| count <= MAX_ELEMENTS))
}

/// The constant `weight` with sizes `from` cut to `to`, and sizes `from` that it lists changed to `to`. `None` when it
/// has neither.
pub(super) fn resized(graph: &Graph, weight: &Weight, from: u64, to: u64) -> Option<Tensor> {
    let sizes = weight.ty.shape.as_known()?;
    known_sizes(&sizes)?;
    let mut tensor = graph.weights().tensor(weight.id).ok()?;
    let is_list = weight.ty.rank() <= 1 && weight.ty.dtype.integer_range().is_some();
    let listed = if is_list { tensor.to_i64().ok()? } else { Vec::new() };
    let wanted = from as i64;
    if !sizes.contains(&from) && !listed.contains(&wanted) {
        return None;
    }
    if listed.contains(&wanted) {
        let changed = listed.into_iter().map(|size| if size == wanted { to as i64 } else { size });
        tensor = Tensor::from_i64(tensor.dtype(), tensor.sizes(), changed.collect()).ok()?;
    }
    if sizes.contains(&from) { leading(&tensor, from, to) } else { Some(tensor) }
}

/// The first `to` of `from` elements along each axis that has so many.
fn leading(tensor: &Tensor, from: u64, to: u64) -> Option<Tensor> {
    let sizes: Vec<i64> = tensor.sizes().iter().map(|size| *size as i64).collect();
    let ends: Vec<i64> =
        sizes.iter().map(|size| if *size == from as i64 { to as i64 } else { *size }).collect();
    let list = |elements: Vec<i64>| Tensor::from_vec(&[elements.len()], elements).ok();
    let mut graph = Graph::new("leading");
    let mut constant = |tensor: &Tensor| graph.add_constant(tensor, Loc::Built).ok();
    let operands = [constant(tensor)?, constant(&list(vec![0; sizes.len()])?)?, constant(&list(ends)?)?];
    let value = graph.add_value(Slice, &operands, Loc::Built).ok()?;
    graph.set_outputs(vec![Output { name: "y".into(), value }]).ok()?;
    Interpreter::new(&graph).run(&NamedTensors::new()).ok()?.remove("y")
}
