//! Elements that stay in their order, under other sizes.

use std::ops::Range;

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{OpKind, Reshape, Transpose};
use quad_ir::types::{Dim, DimExpr, Shape};

use super::becomes;
use crate::emit::Emit;
use crate::pattern::{integers, made_by, permutation};
use crate::rule::{FnRule, Skip, because};

pub(super) const RULES: &[FnRule] = &[
    FnRule { name: "reshape-to-own-sizes", roots: &[OpKind::Reshape], rewrite: reshape_to_own_sizes },
    FnRule { name: "reshape-of-reshape", roots: &[OpKind::Reshape], rewrite: reshape_of_reshape },
    FnRule {
        name: "transpose-between-reshapes",
        roots: &[OpKind::Reshape],
        rewrite: transpose_between_reshapes,
    },
    FnRule { name: "sizes-as-numbers", roots: &[OpKind::Reshape], rewrite: sizes_as_numbers },
    FnRule { name: "squeeze-to-reshape", roots: RESHAPES, rewrite: squeeze_to_reshape },
    FnRule { name: "transpose-to-reshape", roots: &[OpKind::Transpose], rewrite: transpose_to_reshape },
    FnRule { name: "reduce-of-one", roots: REDUCTIONS, rewrite: reduce_of_one },
];

/// Special cases of `reshape`.
const RESHAPES: &[OpKind] = &[OpKind::Squeeze, OpKind::Unsqueeze, OpKind::Flatten];

/// Reductions that leave a single element as it is.
const REDUCTIONS: &[OpKind] =
    &[OpKind::ReduceSum, OpKind::ReduceMean, OpKind::ReduceProd, OpKind::ReduceMax, OpKind::ReduceMin];

/// A reshape to the sizes that there are; symbolic ones that are the same polynomial are the same number.
fn reshape_to_own_sizes(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|x| x.ty() == node.result().ty()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// Of two reshapes in a row only the sizes of the second matter.
fn reshape_of_reshape(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (inner, _) = node.operand("x").and_then(made_by::<Reshape>).ok_or(Skip::NoMatch)?;
    reshaped(inner.operand("x").ok_or(Skip::NoMatch)?, node, patch)
}

/// A transpose of axes that were joined for it, and are parted again after it, is a transpose of the axes themselves.
fn transpose_between_reshapes(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (moving, transpose) = node.operand("x").and_then(made_by::<Transpose>).ok_or(Skip::NoMatch)?;
    let joined = moving.operand("x").ok_or(Skip::NoMatch)?;
    let (joining, _) = made_by::<Reshape>(joined).ok_or(Skip::NoMatch)?;
    let x = joining.operand("x").ok_or(Skip::NoMatch)?;
    let groups = joined_axes(&x.ty().shape, &joined.ty().shape).ok_or(Skip::NoMatch)?;
    let order = permutation(transpose, joined).into_iter();
    let perm: Vec<i64> = order.flat_map(|axis| groups[axis].clone()).map(|axis| axis as i64).collect();
    let new = patch.transpose(x.id(), &perm)?;
    if patch.ty(new) != Some(node.result().ty()) {
        return Err(because(node, "it does not part the axes that were joined before the transpose"));
    }
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// For each axis of `joined` the axes of `shape` that it consists of, where neighbors were joined and none was parted.
fn joined_axes(shape: &Shape, joined: &Shape) -> Option<Vec<Range<usize>>> {
    let mut next = 0;
    let mut groups = Vec::with_capacity(joined.rank());
    for dim in joined.iter() {
        let start = next;
        let mut product = DimExpr::constant(1);
        while product != dim.expr() {
            product = product.mul(&shape.get(next)?.expr())?;
            next += 1;
        }
        groups.push(start..next);
    }
    // Axes of size 1 at the end belong to the last group.
    let rest = shape[next..].iter().all(|dim| *dim == Dim::Known(1));
    groups.last_mut().filter(|_| rest)?.end = shape.rank();
    Some(groups)
}

/// A target that is computed, or that copies sizes, is written as numbers.
fn sizes_as_numbers(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let sizes = target(&node.result().ty().shape).ok_or(Skip::NoMatch)?;
    let shape = node.operand("shape").ok_or(Skip::NoMatch)?;
    let op = node.is::<Reshape>().ok_or(Skip::NoMatch)?;
    let is_written = shape.weight().is_some() && integers(shape).is_some_and(|stated| stated == sizes);
    if is_written && op.allowzero == sizes.contains(&0) {
        return Err(Skip::NoMatch);
    }
    reshaped(node.operand("x").ok_or(Skip::NoMatch)?, node, patch)
}

/// `squeeze`, `unsqueeze` and `flatten` are reshapes.
fn squeeze_to_reshape(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    reshaped(node.operand("x").ok_or(Skip::NoMatch)?, node, patch)
}

/// A transpose that keeps the order of the axes with more than one element moves nothing.
fn transpose_to_reshape(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let op = node.is::<Transpose>().ok_or(Skip::NoMatch)?;
    let long = permutation(op, x).into_iter().filter(|axis| x.ty().shape[*axis] != Dim::Known(1));
    if !long.is_sorted() {
        return Err(Skip::NoMatch);
    }
    if x.ty() == node.result().ty() {
        return becomes(node, x, patch);
    }
    reshaped(x, node, patch)
}

/// A reduction over axes of size 1 drops them, or does nothing where they stay. Sums and products of one element are
/// that element, but that a sum of -0 would be 0.
fn reduce_of_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let long = |shape: &Shape| shape.iter().filter(|dim| **dim != Dim::Known(1)).cloned().collect::<Vec<_>>();
    // An axis of another size is gone, or is of size 1 now, when it was reduced.
    if long(&x.ty().shape) != long(&node.result().ty().shape) {
        return Err(Skip::NoMatch);
    }
    if x.ty() == node.result().ty() {
        return becomes(node, x, patch);
    }
    reshaped(x, node, patch)
}

/// Replaces `node`, which has the elements of `x` in their order, by a reshape of `x`.
fn reshaped(x: ValueRef<'_>, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let ty = node.result().ty();
    let sizes = target(&ty.shape).ok_or(Skip::NoMatch)?;
    let new = patch.reshape(x.id(), &sizes)?;
    if patch.ty(new) != Some(ty) {
        // The size that is left cannot be told from the others.
        return Err(Skip::NoMatch);
    }
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// `shape` as the target of a reshape, if it can be written down: at most one size is no number, and then none is 0.
fn target(shape: &Shape) -> Option<Vec<i64>> {
    let sizes: Vec<i64> = shape.iter().map(|dim| dim.known().map_or(-1, |size| size as i64)).collect();
    let symbolic = sizes.iter().filter(|size| **size == -1).count();
    let is_clear = symbolic == 0 || (symbolic == 1 && !sizes.contains(&0));
    is_clear.then_some(sizes)
}
