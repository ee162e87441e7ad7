//! Nodes that are part of the operator of their readers: they are not emitted, and readers look behind them.

use std::collections::BTreeSet;

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, NodeRef, ValueRef};
use quad_ir::ops::{Div, MatMul, Reciprocal, Sqrt, Transpose};
use quad_passes::pattern::{made_by, permutation};

/// All such nodes of `graph`.
pub(super) fn absorbed(graph: &Graph) -> BTreeSet<NodeId> {
    let in_reader = |node: &NodeRef<'_>| is_transposed_factor(*node) || is_root_below(*node);
    graph.nodes().filter(in_reader).map(NodeRef::id).collect()
}

/// Whether `node` exchanges the last two axes of what only products read, as their second factor.
fn is_transposed_factor(node: NodeRef<'_>) -> bool {
    let Some((transpose, x)) = node.is::<Transpose>().zip(node.operand("x")) else { return false };
    let perm = permutation(transpose, x);
    let rank = perm.len();
    let result = node.result();
    let exchanges = rank >= 2
        && perm[..rank - 2].iter().enumerate().all(|(axis, from)| axis == *from)
        && perm[rank - 2..] == [rank - 1, rank - 2];
    let is_factor = |(reader, operand): (NodeRef<'_>, usize)| reader.is::<MatMul>().is_some() && operand == 1;
    exchanges && !result.is_output() && result.is_read() && result.readers().all(is_factor)
}

/// Whether `node` is a root that only a quotient reads, which divides by it.
fn is_root_below(node: NodeRef<'_>) -> bool {
    if node.is::<Sqrt>().is_none() || node.result().ty().dtype != DType::F32 {
        return false;
    }
    let reader = node.result().only_reader();
    reader.is_some_and(|reader| match reader.is::<Div>() {
        Some(_) => reader.operand("b").is_some_and(|divisor| divisor.id() == node.result().id()),
        None => reader.is::<Reciprocal>().is_some(),
    })
}

/// What is behind the transpose that `factor` is, when it is part of the product that reads it.
pub(super) fn behind_transpose(factor: ValueRef<'_>) -> Option<ValueRef<'_>> {
    let (node, _) = made_by::<Transpose>(factor)?;
    node.operand("x").filter(|_| is_transposed_factor(node))
}

/// What is behind the root that `divisor` is, when it is part of the quotient that reads it.
pub(crate) fn behind_root(divisor: ValueRef<'_>) -> Option<ValueRef<'_>> {
    let (node, _) = made_by::<Sqrt>(divisor)?;
    node.operand("x").filter(|_| is_root_below(node))
}
