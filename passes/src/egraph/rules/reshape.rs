//! Reshapes: composing them, and moving them past elementwise operations and transposes, both ways.
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
    Rule { name: "hoist-reshape", roots: Roots::Kinds(&[OpKind::Reshape]), equal: hoist },
    Rule { name: "sink-reshape", roots: Roots::Elementwise, equal: sink },
    Rule { name: "transpose-of-units", roots: Roots::Kinds(&[OpKind::Transpose]), equal: units_to_reshape },
    Rule { name: "reshape-of-units", roots: Roots::Kinds(&[OpKind::Reshape]), equal: units_to_transpose },
    Rule { name: "sink-transpose", roots: Roots::Kinds(&[OpKind::Reshape]), equal: sink_transpose },
    Rule {
        name: "hoist-transpose-of-groups",
        roots: Roots::Kinds(&[OpKind::Transpose]),
        equal: hoist_transpose,
    },
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

/// `reshape(f(a, b))` is `f(reshape(a), reshape(b))`.
fn hoist(site: &Site<'_, '_>) -> Vec<Term> {
    hoist_past_those(site, |_| true)
}

/// As [`MOVES`] have it, past those operations only for which `past` says so.
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
    let Some(from) = site.sizes(y) else { return Vec::new() };
    let Some(groups) = groups(&from, &to) else { return Vec::new() };
    let sunk = transposes(site, y).into_iter().filter_map(|(perm, x)| {
        // Where the axes of each group were before the transpose.
        let places = groups.iter().map(|group| perm.axes()[group.from.clone()].to_vec());
        let order = order_of_groups(places.collect::<Vec<_>>().iter().map(Vec::as_slice))?;
        let inner: Vec<&Group> = order.iter().map(|group| &groups[*group]).collect();
        let before: Sizes = inner.iter().flat_map(|group| to[group.to.clone()].iter().copied()).collect();
        let after = moved(&inner, &order, &groups)?;
        let grouped = reshaped(x, &before)?.transposed(&after);
        // Axes of size 1 are in no group; they come back last.
        if to.contains(&1) { reshaped(grouped, &to) } else { Some(grouped) }
    });
    sunk.collect()
}

/// `transpose(reshape(x))` is `reshape(transpose(x))` when the transpose moves whole groups of axes.
fn hoist_transpose(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((perm, y)) = transpose_of(site) else { return Vec::new() };
    let (Some(middle), Some(to)) = (site.sizes(y), sizes(site)) else { return Vec::new() };
    let inverse = perm.inverse();
    let hoisted = reshapes(site, y).into_iter().filter_map(|x| {
        let from = site.sizes(x)?;
        let groups = groups(&from, &middle)?;
        let places = groups.iter().map(|group| inverse.axes()[group.to.clone()].to_vec());
        let order = order_of_groups(places.collect::<Vec<_>>().iter().map(Vec::as_slice))?;
        // Axes of size 1 go first, so that the others are an order of whole groups.
        let units = (0..from.len()).filter(|axis| from[*axis] == 1);
        let axes = units.chain(order.iter().flat_map(|group| groups[*group].from.clone()));
        reshaped(Term::from(x).transposed(&Perm::new(axes)?), &to)
    });
    hoisted.collect()
}

/// The order of groups by their places, when the axes of each are next to each other in order, but for axes of no group.
fn order_of_groups<'p>(places: impl Iterator<Item = &'p [usize]>) -> Option<Vec<usize>> {
    let places: Vec<&[usize]> = places.collect();
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_unstable_by_key(|group| places[*group].first());
    let in_order: Vec<usize> = order.iter().flat_map(|group| places[*group].iter().copied()).collect();
    in_order.is_sorted().then_some(order)
}

/// The order that puts the axes of `inner`, which are the groups in the order `order`, back into the order of `groups`.
fn moved(inner: &[&Group], order: &[usize], groups: &[Group]) -> Option<Perm> {
    let mut starts = vec![0; groups.len()];
    let mut start = 0;
    for (group, index) in inner.iter().zip(order) {
        starts[*index] = start;
        start += group.to.len();
    }
    Perm::new(groups.iter().zip(starts).flat_map(|(group, start)| start..start + group.to.len()))
}
