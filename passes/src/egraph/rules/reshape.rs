//! Reshapes: composing them, and moving them past elementwise operations and transposes.
//!
//! They sink only: two of them, and two transposes with one in between, meet when the upper one moves down. It costs the
//! same wherever it is, so moving up has no other use, and would give every value every shape.
//!
//! `squeeze`, `unsqueeze` and `flatten` are reshapes under another name. A transpose that moves nothing but axes of size 1 is
//! a reshape, too, and the other way round. Sizes must be numbers.

use egg::Id;
use quad_ir::ops::{OpKind, Reshape};
use smallvec::SmallVec;

use super::transpose::transposes;
use crate::egraph::axes::{Group, groups, regrouped};
use crate::egraph::perm::Perm;
use crate::egraph::rule::{Roots, Rule, Site, is_elementwise};
use crate::egraph::term::Term;

/// Those that merge a reshape with another.
pub const MERGES: &[Rule] = &[
    Rule { name: "name-reshape", roots: Roots::Kinds(OTHER_NAMES), equal: rename },
    Rule { name: "compose-reshapes", roots: Roots::Kinds(&[OpKind::Reshape]), equal: compose },
];

/// Those that move a reshape, or see a transpose in it.
pub const MOVES: &[Rule] = &[
    Rule { name: "sink-reshape", roots: Roots::Elementwise, equal: sink },
    Rule { name: "transpose-of-units", roots: Roots::Kinds(&[OpKind::Transpose]), equal: units_to_reshape },
    Rule { name: "reshape-of-units", roots: Roots::Kinds(&[OpKind::Reshape]), equal: units_to_transpose },
    Rule { name: "sink-transpose", roots: Roots::Kinds(&[OpKind::Reshape]), equal: sink_transpose },
];

/// Operations that are reshapes.
const OTHER_NAMES: &[OpKind] = &[OpKind::Squeeze, OpKind::Unsqueeze, OpKind::Flatten, OpKind::Reshape];

type Sizes = SmallVec<[u64; 6]>;

/// `class` under the sizes `sizes`.
pub(super) fn reshaped(class: impl Into<Term>, sizes: &[u64]) -> Option<Term> {
    let sizes: Option<Vec<i64>> = sizes.iter().map(|size| i64::try_from(*size).ok()).collect();
    class.into().reshaped(&sizes?)
}

/// The operands of the reshapes that `class` is the result of.
fn reshapes(site: &Site<'_, '_>, class: Id) -> Vec<Id> {
    site.nodes::<Reshape>(class).filter_map(|(_, operands)| operands.first().copied()).collect()
}

/// The sizes of the result.
fn sizes(site: &Site<'_, '_>) -> Option<Sizes> {
    site.ty().shape.as_known()
}

/// A reshape to sizes that are spelled out.
fn rename(site: &Site<'_, '_>) -> Vec<Term> {
    let term = || reshaped(site.operand(0)?, &sizes(site)?);
    term().into_iter().collect()
}

/// `reshape(reshape(x))` is one reshape, and one to the same sizes is none.
fn compose(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((x, to)) = site.operand(0).zip(sizes(site)) else { return Vec::new() };
    let composed = reshapes(site, x).into_iter().filter_map(|x| reshaped(x, &to));
    let none = (site.ty_of(x) == Some(site.ty())).then(|| Term::from(x));
    composed.chain(none).collect()
}

/// `reshape(f(a, b))` is `f(reshape(a), reshape(b))`, for those operations for which `past` says so.
pub(super) fn hoist_past_those(site: &Site<'_, '_>, past: impl Fn(&Site<'_, '_>) -> bool) -> Vec<Term> {
    let Some((x, to)) = site.operand(0).zip(sizes(site)) else { return Vec::new() };
    let below = site.operations(x).filter(|inner| is_elementwise(inner.op()) && past(inner));
    below.filter_map(|inner| regroup(&inner, &sizes(&inner)?, &to)).collect()
}

/// `f(reshape(a), b)` is `reshape(f(a, reshape'(b)))`, where `reshape'` goes back.
pub(super) fn sink(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(now) = sizes(site) else { return Vec::new() };
    let whole = |operand: &&Id| site.sizes(**operand).as_ref() == Some(&now);
    let below = site.operands().iter().filter(whole).flat_map(|operand| reshapes(site, *operand));
    let mut shapes: Vec<Sizes> = below.filter_map(|x| site.sizes(x)).filter(|sizes| *sizes != now).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let sunk = shapes.iter().filter_map(|before| reshaped(regroup(site, &now, before)?, &now));
    sunk.collect()
}

/// The elementwise operation `site`, whose result has sizes `now`, with sizes `then`.
fn regroup(site: &Site<'_, '_>, now: &[u64], then: &[u64]) -> Option<Term> {
    // A single element may stand next to any axes, but not alone: one operand has those of the result.
    let whole = site.operands().iter().position(|operand| site.sizes(*operand).as_deref() == Some(now));
    let operand = |(index, operand): (usize, &Id)| {
        let Some(sizes) = site.sizes(*operand) else {
            return site.is_absent(*operand).then(|| Term::from(*operand));
        };
        if Some(index) != whole && site.is_single(*operand) && sizes.len() <= then.len() {
            return Some(Term::from(*operand));
        }
        let after = regrouped(&sizes, now, then)?;
        if after == sizes { Some(Term::from(*operand)) } else { reshaped(*operand, &after) }
    };
    let operands: Option<Vec<Term>> = site.operands().iter().enumerate().map(operand).collect();
    Some(site.with_operands(operands?))
}

/// A transpose that keeps the order of the axes that have more than one element is a reshape.
fn units_to_reshape(site: &Site<'_, '_>) -> Vec<Term> {
    let term = || {
        let (x, to) = (site.operand(0)?, sizes(site)?);
        let from = site.sizes(x)?;
        let (perm, _) = transpose_of(site)?;
        let long: Vec<usize> = perm.axes().iter().copied().filter(|axis| from[*axis] != 1).collect();
        if long.is_sorted() { reshaped(x, &to) } else { None }
    };
    term().into_iter().collect()
}

/// A reshape that only moves axes of size 1 is a transpose. Axes of size 1 are taken in order.
fn units_to_transpose(site: &Site<'_, '_>) -> Vec<Term> {
    let term = || {
        let (x, to) = (site.operand(0)?, sizes(site)?);
        let from = site.sizes(x)?;
        if from.len() != to.len() || from == to {
            return None;
        }
        let axes_of = |unit: bool| (0..from.len()).filter(move |axis| (from[*axis] == 1) == unit);
        let (mut units, mut long) = (axes_of.clone()(true), axes_of(false));
        let axes: Option<Vec<usize>> =
            to.iter().map(|size| if *size == 1 { units.next() } else { long.next() }).collect();
        let perm = Perm::new(axes?)?;
        let same = perm.apply(&site.sizes(x)?)? == to;
        same.then(|| Term::from(x).transposed(&perm))
    };
    term().into_iter().collect()
}

/// The order and the operand of the transpose that `site` is.
fn transpose_of(site: &Site<'_, '_>) -> Option<(Perm, Id)> {
    Some((Perm::of(site.is()?, site.ty().rank())?, site.operand(0)?))
}

/// `reshape(transpose(x))` is `transpose(reshape(x))` when the transpose moves whole groups of axes.
fn sink_transpose(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((y, to)) = site.operand(0).zip(sizes(site)) else { return Vec::new() };
    let Some(groups) = site.sizes(y).and_then(|from| groups(&from, &to)) else { return Vec::new() };
    let in_groups = |axis: &usize| groups.iter().any(|group| group.to.contains(axis));
    let sunk = transposes(site, y).into_iter().filter_map(|(perm, x)| {
        // Axes of size 1, which are in no group, go first.
        let units = (0..to.len()).filter(|axis| !in_groups(axis));
        let order = order_before(&groups, &perm)?;
        let axes = Perm::new(units.chain(order.iter().flat_map(|group| groups[*group].to.clone())))?;
        Some(reshaped(x, &axes.apply(&to)?)?.transposed(&axes.inverse()))
    });
    sunk.collect()
}

/// The order in which the axes of `groups` are before the transpose `perm`; `None` when it takes one apart.
fn order_before(groups: &[Group], perm: &Perm) -> Option<Vec<usize>> {
    let places = |group: usize| &perm.axes()[groups[group].from.clone()];
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_unstable_by_key(|group| places(*group).first());
    order.iter().flat_map(|group| places(*group)).is_sorted().then_some(order)
}
