//! Where a graph is cut between what an adapter determines and what is computed in each run.

use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, OpKind, OpTraits};
use rustc_hash::{FxHashMap, FxHashSet};

/// Products are worth their space: what they save is work in each run.
const PRODUCTS: &[OpKind] = &[OpKind::MatMul, OpKind::Gemm, OpKind::Conv, OpKind::Einsum];

/// A value that is so many times as large as what it is made of is made in each run.
const ENLARGED: u64 = 2;

/// The place of the cut.
pub(super) struct Cut {
    /// What runs read of what the adapter determines: inputs first, in their order, then in order of computation.
    pub(super) slots: Vec<ValueId>,
    /// Nodes that the adapter determines and that no run needs, without inputs.
    pub(super) moved: Vec<NodeId>,
}

impl Cut {
    /// The cut of `graph`.
    pub(super) fn of(graph: &Graph) -> Self {
        let order = graph.topo();
        let costs = costs(graph, &order);
        let mut read: FxHashSet<ValueId> = graph.outputs().iter().map(|output| output.value).collect();
        let mut cut = Self { slots: Vec::new(), moved: Vec::new() };
        for node in order.iter().rev().map(|node| graph.node(*node)) {
            let is_of_adapter = node.results().any(|result| costs.contains_key(&result.id()));
            if !is_of_adapter || stays(node, &read, &costs) {
                read.extend(node.operands().flatten().map(ValueRef::id));
                continue;
            }
            // Operations come before their results are read, and the order here is reversed.
            let results: Vec<ValueId> = node.results().map(ValueRef::id).collect();
            cut.slots.extend(results.into_iter().rev().filter(|value| read.contains(value)));
            if node.is::<Input>().is_none() {
                cut.moved.push(node.id());
            }
        }
        cut.slots.reverse();
        cut.slots.sort_by_key(|slot| graph.value(*slot).producer().is::<Input>().is_none());
        cut
    }
}

/// Bytes that have to be kept so that each value that the adapter determines can be made of them; nothing for other values.
fn costs(graph: &Graph, order: &[NodeId]) -> FxHashMap<ValueId, u64> {
    let mut costs: FxHashMap<ValueId, u64> = FxHashMap::default();
    let mut fixed: FxHashSet<NodeId> = FxHashSet::default();
    for node in order.iter().map(|node| graph.node(*node)) {
        let from = match node.is::<Input>() {
            Some(input) if input.binding == Binding::Adapter => u64::MAX,
            Some(_) => continue,
            None => {
                let known = |operand: ValueRef<'_>| {
                    costs.contains_key(&operand.id()) || fixed.contains(&operand.producer().id())
                };
                if !node.op().def().traits().contains(OpTraits::PURE) || !node.operands().flatten().all(known)
                {
                    continue;
                }
                if !node.operands().flatten().any(|operand| costs.contains_key(&operand.id())) {
                    fixed.insert(node.id());
                    continue;
                }
                cost_of_operands(node, &costs)
            }
        };
        for result in node.results() {
            costs.insert(result.id(), bytes(result).min(from));
        }
    }
    costs
}

/// Bytes that `node` can be computed from; any number for products, which are not computed in each run.
fn cost_of_operands(node: NodeRef<'_>, costs: &FxHashMap<ValueId, u64>) -> u64 {
    if PRODUCTS.contains(&node.op().kind()) {
        return u64::MAX;
    }
    let mut operands: Vec<ValueId> = node.operands().flatten().map(ValueRef::id).collect();
    operands.sort_unstable();
    operands.dedup();
    operands.iter().filter_map(|operand| costs.get(operand)).fold(0, |sum, cost| sum.saturating_add(*cost))
}

/// Whether `node`, which the adapter determines, is computed in each run: its results are read there, and are large.
fn stays(node: NodeRef<'_>, read: &FxHashSet<ValueId>, costs: &FxHashMap<ValueId, u64>) -> bool {
    if node.is::<Input>().is_some() {
        return false;
    }
    let results = node.results().filter(|result| read.contains(&result.id())).map(bytes);
    let size = results.fold(0, u64::saturating_add);
    size > 0 && size / ENLARGED >= cost_of_operands(node, costs)
}

fn bytes(value: ValueRef<'_>) -> u64 {
    value.ty().byte_len().unwrap_or(u64::MAX)
}
