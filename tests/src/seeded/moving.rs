//! Mistakes with places: elements that end up elsewhere.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Gather, Input, Op, OpKind, OpVariant, Pad, Slice, Split, Transpose, Weight};
use quad_passes::emit::Emit;
use quad_passes::pass::PassInfo;
use quad_passes::pattern::{integers, made_by};
use quad_passes::rule::Skip;

use super::{Seeded, replace, some};

macro_rules! seeded {
    ($($constant:ident = $name:literal, [$($root:ident),*], $rewrite:ident;)*) => {$(
        pub(super) const $constant: Seeded = Seeded::new(
            &PassInfo { name: $name, source: include_str!("moving.rs") },
            &[$(OpKind::$root),*],
            $rewrite,
        );
    )*};
}
seeded! {
    TRANSPOSES_COMPOSED_BACKWARDS = "transposes-composed-backwards", [Transpose], transposes_composed_backwards;
    TRANSPOSE_AS_RESHAPE = "transpose-as-reshape", [Transpose], transpose_as_reshape;
    PADS_SWAPPED = "pads-swapped", [Pad], pads_swapped;
    SLICE_OFF_BY_ONE = "slice-off-by-one", [Slice], slice_off_by_one;
    HALVES_SWAPPED = "halves-swapped", [Split], halves_swapped;
    ATTRIBUTES_IGNORED = "attributes-ignored", [Softmax, LeakyRelu, Elu], attributes_ignored;
    OUTPUT_TAKEN_FOR_DEAD = "output-taken-for-dead", [Tanh, Sigmoid, Mul, Add, Relu, Sub], output_taken_for_dead;
    GATHERED_BACKWARDS = "gathered-backwards", [Gather], gathered_backwards;
}

/// Two transposes become one, with the second permutation applied to the first one's result the wrong way round.
fn transposes_composed_backwards(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (inner, first) = some(root.operand("x").and_then(made_by::<Transpose>))?;
    let second = some(root.is::<Transpose>())?;
    let (first, second) = some(first.perm.as_ref().zip(second.perm.as_ref()))?;
    let perm: Vec<i64> = first.iter().map(|axis| second[*axis as usize]).collect();
    let y = patch.transpose(some(inner.operand("x"))?.id(), &perm)?;
    replace(patch, root.result(), y)
}

/// A transpose becomes a reshape, which has the right sizes.
fn transpose_as_reshape(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = some(root.operand("x"))?;
    let y = patch.reshape_as(x.id(), root.result().ty())?;
    replace(patch, root.result(), y)
}

/// What was to come before an axis comes after it, and the other way round.
fn pads_swapped(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let op: Pad = some(root.is::<Pad>())?.clone();
    let mut pads = some(root.operand("pads").and_then(integers))?;
    let half = pads.len() / 2;
    pads.rotate_left(half);
    let pads = patch.integers(&pads)?;
    let value = root.operand("value").map(ValueRef::id);
    let y = patch.op(op, &[root.operand("x").map(ValueRef::id), Some(pads), value])?;
    replace(patch, root.result(), y)
}

/// A part begins and ends one element late.
fn slice_off_by_one(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let late = |name: &str| -> Option<Vec<i64>> {
        let places = root.operand(name).and_then(integers)?;
        places.into_iter().map(|place| place.checked_add(1)).collect()
    };
    let (starts, ends) = some(late("starts").zip(late("ends")))?;
    let (starts, ends) = (patch.integers(&starts)?, patch.integers(&ends)?);
    let rest = ["axes", "steps"].map(|name| root.operand(name).map(ValueRef::id));
    let operands = [root.operand("x").map(ValueRef::id), Some(starts), Some(ends), rest[0], rest[1]];
    let y = patch.op(Slice, &operands)?;
    replace(patch, root.result(), y)
}

/// The two halves of a split change places, as gate and value of a gated unit may.
fn halves_swapped(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let op: Split = some(root.is::<Split>())?.clone();
    let results: Vec<ValueRef<'_>> = root.results().collect();
    let [first, second] = results[..] else { return Err(Skip::NoMatch) };
    let operands: Vec<_> = root.operands().map(|operand| operand.map(ValueRef::id)).collect();
    let split = patch.add(op, &operands)?;
    let (one, other) = (patch.results(split)[0], patch.results(split)[1]);
    replace(patch, first, other)?;
    replace(patch, second, one)
}

/// Two nodes of the same operation on the same operands become one, whatever their attributes are.
fn attributes_ignored(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = some(root.operand("x"))?;
    let is_like = |other: &NodeRef<'_>| {
        other.id() < root.id() && other.op().kind() == root.op().kind() && other.op() != root.op()
    };
    let other = some(x.readers().map(|(reader, _)| reader).find(is_like))?;
    replace(patch, root.result(), other.result().id())
}

/// What no node reads goes away although it is an output.
fn output_taken_for_dead(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let result = root.result();
    if result.is_read() || !result.is_output() {
        return Err(Skip::NoMatch);
    }
    let is_source = |op: &Op| Input::of(op).is_some() || Weight::of(op).is_some();
    let operand = root.operands().flatten().find(|operand| !is_source(operand.producer().op()));
    replace(patch, result, some(operand)?.id())
}

/// The places of a gather are read from the end.
fn gathered_backwards(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let op: Gather = some(root.is::<Gather>())?.clone();
    let indices = some(root.operand("indices").filter(|indices| indices.ty().rank() == 1))?;
    let mut places = some(integers(indices))?;
    let before = places.clone();
    places.reverse();
    if places == before {
        return Err(Skip::NoMatch);
    }
    let places = patch.integers(&places)?;
    let y = patch.op(op, &[root.operand("x").map(ValueRef::id), Some(places)])?;
    replace(patch, root.result(), y)
}
