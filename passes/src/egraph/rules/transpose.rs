//! Transposes: composing them, and moving them past operations that do not care about the order of axes, both ways.
//!
//! `sink` rules move a transpose from an operand to the result, `hoist` rules from the result to the operands. Neither side
//! is always worse: an operand may be smaller than the result or larger, and the transpose may meet its inverse on either
//! side. Constants that are stretched over the result get their axes in the same order; that becomes a recipe of a weight.

use egg::Id;
use quad_ir::ops::softmax::{Hardmax, LogSoftmax, Softmax};
use quad_ir::ops::{Concat, Op, OpKind, Pad, Transpose};
use quad_ir::types::TensorType;
use smallvec::SmallVec;

use super::reduction::Reduction;
use crate::egraph::perm::{Perm, resolve};
use crate::egraph::rule::{Roots, Rule, Site};
use crate::egraph::term::Term;

/// Those that merge a transpose with another.
pub const MERGES: &[Rule] =
    &[Rule { name: "compose-transposes", roots: Roots::Kinds(&[OpKind::Transpose]), equal: compose }];

/// Those that move a transpose.
pub const MOVES: &[Rule] = &[
    Rule { name: "hoist-transpose", roots: Roots::Kinds(&[OpKind::Transpose]), equal: hoist },
    Rule { name: "sink-elementwise", roots: Roots::Elementwise, equal: sink_elementwise },
    Rule { name: "sink-concat", roots: Roots::Kinds(&[OpKind::Concat]), equal: sink_concat },
    Rule { name: "sink-along-axis", roots: Roots::Kinds(ALONG_AXIS), equal: sink_along_axis },
    Rule { name: "sink-reduce", roots: Roots::Where(Reduction::is), equal: sink_reduce },
    Rule { name: "sink-slice", roots: Roots::Kinds(&[OpKind::Slice]), equal: sink_slice },
    Rule { name: "sink-pad", roots: Roots::Kinds(&[OpKind::Pad]), equal: sink_pad },
];

/// Operations along one axis with a result of the same shape.
const ALONG_AXIS: &[OpKind] = &[OpKind::Softmax, OpKind::LogSoftmax, OpKind::Hardmax];

/// The transposes that `class` is the result of: order and operand.
pub(super) fn transposes(site: &Site<'_, '_>, class: Id) -> Vec<(Perm, Id)> {
    let rank = site.ty_of(class).map_or(0, TensorType::rank);
    let nodes = site.nodes::<Transpose>(class);
    nodes.filter_map(|(op, operands)| Some((Perm::of(op, rank)?, *operands.first()?))).collect()
}

/// `transpose(transpose(x))` is one transpose, and one that leaves every axis is none.
fn compose(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((outer, x)) = this(site) else { return Vec::new() };
    let composed =
        transposes(site, x).into_iter().map(|(inner, x)| Term::from(x).transposed(&inner.then(&outer)));
    let none = outer.is_identity().then(|| Term::from(x));
    composed.chain(none).collect()
}

/// The transpose that `site` is.
fn this(site: &Site<'_, '_>) -> Option<(Perm, Id)> {
    Some((Perm::of(site.is::<Transpose>()?, site.ty().rank())?, site.operand(0)?))
}

/// `transpose(f(a, b))` is `f(transpose(a), transpose(b))`.
fn hoist(site: &Site<'_, '_>) -> Vec<Term> {
    hoist_past_those(site, |_| true)
}

/// As [`MOVES`] have it, past those operations only for which `past` says so.
pub(super) fn hoist_past_those(site: &Site<'_, '_>, past: impl Fn(&Site<'_, '_>) -> bool) -> Vec<Term> {
    let Some((perm, x)) = this(site) else { return Vec::new() };
    let below = site.operations(x).filter(past).filter_map(|inner| hoist_past(&inner, &perm));
    below.collect()
}

fn hoist_past(inner: &Site<'_, '_>, perm: &Perm) -> Option<Term> {
    match inner.op() {
        op if crate::egraph::rule::is_elementwise(op) => Some(inner.with_operands(operands(inner, perm)?)),
        Op::Concat(concat) => {
            let axis = resolve(concat.axis, perm.rank())?;
            let axis = perm.inverse().axes()[axis] as i64;
            let parts = inner.operands().iter().map(|part| Term::from(*part).transposed(perm));
            Some(Term::apply(Concat { axis }, parts))
        }
        Op::Slice(_) | Op::Pad(_) => {
            // Lists of axes say which axes of the operand they are of, here before the transpose.
            let count = inner.integers(1)?.len() / if inner.is::<Pad>().is_some() { 2 } else { 1 };
            let x = Term::from(inner.operand(0)?).transposed(perm);
            along_axes(inner, x, &moved_axes(inner, count, &perm.inverse())?)
        }
        op if ALONG_AXIS.contains(&op.kind()) => {
            let x = Term::from(inner.operand(0)?).transposed(perm);
            along_axis(op, |axis| Some(perm.inverse().axes()[resolve(axis, perm.rank())?]), x)
        }
        op => {
            let reduction = Reduction::of(op).filter(|reduction| reduction.keepdims)?;
            let axes = reduction.axes(inner)?;
            let axes = axes.iter().map(|axis| perm.inverse().axes()[*axis]);
            reduction.over(inner, Term::from(inner.operand(0)?).transposed(perm), axes)
        }
    }
}

/// The operands of an elementwise operation when the axes of its result are to be in the order `perm`.
fn operands(site: &Site<'_, '_>, perm: &Perm) -> Option<Vec<Term>> {
    site.operands().iter().map(|operand| reordered(site, *operand, perm)).collect()
}

/// `class`, which is stretched over a result whose axes are put in the order `perm`.
fn reordered(site: &Site<'_, '_>, class: Id, perm: &Perm) -> Option<Term> {
    if site.is_single(class) {
        return Some(Term::from(class));
    }
    let missing = perm.rank().checked_sub(site.ty_of(class)?.rank())?;
    if missing == 0 {
        return Some(Term::from(class).transposed(perm));
    }
    let sizes = std::iter::repeat_n(1, missing).chain(site.sizes(class)?);
    let sizes: Vec<i64> = sizes.map(|size| size as i64).collect();
    Some(Term::from(class).reshaped(&sizes)?.transposed(perm))
}

/// `f(transpose(a), b)` is `transpose(f(a, transpose'(b)))`, where `transpose'` is the inverse.
pub(super) fn sink_elementwise(site: &Site<'_, '_>) -> Vec<Term> {
    let rank = site.ty().rank();
    let full = |operand: &&Id| {
        site.ty_of(**operand).is_some_and(|ty| ty.rank() == rank) && !site.is_single(**operand)
    };
    let orders = site.operands().iter().filter(full).flat_map(|operand| transposes(site, *operand));
    let mut orders: Vec<Perm> = orders.map(|(perm, _)| perm).collect();
    orders.sort_unstable();
    orders.dedup();
    let sunk = orders
        .iter()
        .filter_map(|perm| Some(site.with_operands(operands(site, &perm.inverse())?).transposed(perm)));
    sunk.collect()
}

/// `concat(transpose(a), b)` is `transpose(concat(a, transpose'(b)))`.
fn sink_concat(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(axis) = site.is::<Concat>().and_then(|concat| resolve(concat.axis, site.ty().rank())) else {
        return Vec::new();
    };
    let mut orders: Vec<Perm> =
        site.operands().iter().flat_map(|part| transposes(site, *part)).map(|(perm, _)| perm).collect();
    orders.sort_unstable();
    orders.dedup();
    let sunk = orders.iter().map(|perm| {
        let parts = site.operands().iter().map(|part| Term::from(*part).transposed(&perm.inverse()));
        Term::apply(Concat { axis: perm.axes()[axis] as i64 }, parts).transposed(perm)
    });
    sunk.collect()
}

/// `softmax(transpose(x))` is `transpose(softmax(x))` along the axis that the transpose takes there.
fn sink_along_axis(site: &Site<'_, '_>) -> Vec<Term> {
    let below = site.operand(0).map(|x| transposes(site, x)).unwrap_or_default();
    let sunk = below.into_iter().filter_map(|(perm, x)| {
        let place = |axis| Some(perm.axes()[resolve(axis, perm.rank())?]);
        Some(along_axis(site.op(), place, Term::from(x))?.transposed(&perm))
    });
    sunk.collect()
}

/// `op`, which is one of [`ALONG_AXIS`], of `x` along another axis.
fn along_axis(op: &Op, place: impl Fn(i64) -> Option<usize>, x: Term) -> Option<Term> {
    let op: Op = match op {
        Op::Softmax(op) => Softmax { axis: place(op.axis)? as i64 }.into(),
        Op::LogSoftmax(op) => LogSoftmax { axis: place(op.axis)? as i64 }.into(),
        Op::Hardmax(op) => Hardmax { axis: place(op.axis)? as i64 }.into(),
        _ => return None,
    };
    Some(Term::apply(op, [x]))
}

/// `reduce(transpose(x))` is `transpose(reduce(x))` over the axes that the transpose takes there. When they are removed,
/// the others keep their order among themselves.
fn sink_reduce(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(reduction) = Reduction::of(site.op()) else { return Vec::new() };
    let below = site.operand(0).map(|x| transposes(site, x)).unwrap_or_default();
    let sunk = below.into_iter().filter_map(|(perm, x)| {
        let axes: Vec<usize> = reduction.axes(site)?.iter().map(|axis| perm.axes()[*axis]).collect();
        let reduced = reduction.over(site, Term::from(x), axes.iter().copied())?;
        let after = if reduction.keepdims { perm } else { perm.without(&axes) };
        Some(reduced.transposed(&after))
    });
    sunk.collect()
}

/// `slice(transpose(x))` is `transpose(slice(x))` along the axes that the transpose takes there.
fn sink_slice(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(count) = site.integers(1).map(|starts| starts.len()) else { return Vec::new() };
    sink_along_axes(site, count)
}

/// `pad(transpose(x))` is `transpose(pad(x))` of the axes that the transpose takes there.
fn sink_pad(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(count) = site.integers(1).map(|pads| pads.len() / 2) else { return Vec::new() };
    sink_along_axes(site, count)
}

fn sink_along_axes(site: &Site<'_, '_>, count: usize) -> Vec<Term> {
    let below = site.operand(0).map(|x| transposes(site, x)).unwrap_or_default();
    let sunk = below.into_iter().filter_map(|(perm, x)| {
        let axes = moved_axes(site, count, &perm)?;
        Some(along_axes(site, Term::from(x), &axes)?.transposed(&perm))
    });
    sunk.collect()
}

/// The slice or the pad that `site` is of `x` along other axes, which are operand 3 of both.
fn along_axes(site: &Site<'_, '_>, x: Term, axes: &[i64]) -> Option<Term> {
    let rest = (1..site.operands().len().max(4)).map(|index| match (index, site.operand(index)) {
        (3, _) => Term::integers(axes),
        (_, Some(operand)) => Some(Term::from(operand)),
        (_, None) => Some(Term::Absent),
    });
    let operands: Option<Vec<Term>> = std::iter::once(Some(x)).chain(rest).collect();
    Some(site.with_operands(operands?))
}

/// The axes of operand 3 of a slice or a pad, or the first `count` where it is left out: `perm` says which they become.
fn moved_axes(site: &Site<'_, '_>, count: usize, perm: &Perm) -> Option<SmallVec<[i64; 6]>> {
    let axes = match site.operand(3) {
        Some(axes) => site.tensor(axes)?.to_i64().ok()?,
        None => (0..i64::try_from(count).ok()?).collect(),
    };
    axes.iter().map(|axis| Some(*perm.axes().get(resolve(*axis, perm.rank())?)? as i64)).collect()
}
