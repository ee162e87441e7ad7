//! What normalizations have in common where they are spelled out: `c / sqrt(mean(c^2) + epsilon)`.

use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{Mul, OpKind, Pow, ReduceMean, Sqrt, Sub};
use smallvec::SmallVec;

use crate::algebra::{is_square_of, plus, quotient};
use crate::pattern::{axis_of, both_ways, integers, made_by, uniform};
use crate::rule::{Skip, because};

/// `y = c / sqrt(mean(c^2) + epsilon)`, the mean along some axes.
pub(super) struct Standardized<'g> {
    /// What is divided.
    pub(super) c: ValueRef<'g>,
    /// The axes, in order.
    pub(super) axes: SmallVec<[usize; 6]>,
    /// What is added to the mean.
    pub(super) epsilon: f64,
}

/// The operations that a standardized value may end in.
pub(super) const ROOTS: &[OpKind] = &[OpKind::Div, OpKind::Mul];

impl<'g> Standardized<'g> {
    /// `y` as a value divided by its root mean square.
    pub(super) fn of(y: ValueRef<'g>) -> Option<Self> {
        over_root(y).find_map(|(c, radicand)| {
            let mean_square = plus(radicand, |addend| uniform(addend).is_some())?;
            let (sum, _) = made_by::<quad_ir::ops::Add>(radicand)?;
            let epsilon = both_ways(sum).find_map(|(_, addend)| uniform(addend))?;
            let (mean, reduce) = made_by::<ReduceMean>(mean_square)?;
            let is_square = is_square_of(mean.operand("x")?, c);
            let kept = is_square && reduce.keepdims && c.ty() == y.ty();
            kept.then_some(Self { c, axes: reduced_axes(mean, reduce.noop_with_empty_axes)?, epsilon })
        })
    }

    /// `x` where the value that is standardized is `x - mean(x)`, the mean along the same axes.
    pub(super) fn centered(&self) -> Option<ValueRef<'g>> {
        let (difference, _) = made_by::<Sub>(self.c)?;
        let x = difference.operand("a")?;
        let (mean, reduce) = made_by::<ReduceMean>(difference.operand("b")?)?;
        let of_x = mean.operand("x")?.id() == x.id() && reduce.keepdims;
        (of_x && reduced_axes(mean, reduce.noop_with_empty_axes)? == self.axes && x.ty() == self.c.ty())
            .then_some(x)
    }

    /// The first axis when the mean is taken along all axes from one on; a near miss at `root` otherwise.
    pub(super) fn first_axis(&self, root: NodeRef<'_>) -> Result<usize, Skip> {
        let rank = self.c.ty().rank();
        let first = rank - self.axes.len();
        if !self.axes.is_empty() && self.axes.iter().copied().eq(first..rank) {
            return Ok(first);
        }
        let why =
            format!("it normalizes along axes {:?} of {rank}, and not along the last ones", &self.axes[..]);
        Err(because(root, why))
    }
}

/// `y = numerator / sqrt(radicand)` in all ways in which it can be read.
fn over_root(y: ValueRef<'_>) -> impl Iterator<Item = (ValueRef<'_>, ValueRef<'_>)> {
    let divided = quotient(y).and_then(|(numerator, denominator)| Some((numerator?, root_of(denominator)?)));
    let multiplied = made_by::<Mul>(y).into_iter().flat_map(|(product, _)| both_ways(product));
    let multiplied =
        multiplied.filter_map(|(numerator, factor)| Some((numerator, reciprocal_root_of(factor)?)));
    divided.into_iter().chain(multiplied)
}

/// `x` of `sqrt(x)` or `x ^ 0.5`.
fn root_of(value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    if let Some((root, _)) = made_by::<Sqrt>(value) {
        return root.operand("x");
    }
    power_of(value, 0.5)
}

/// `x` of `1 / sqrt(x)` or `x ^ -0.5`.
fn reciprocal_root_of(value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    match quotient(value) {
        Some((None, denominator)) => root_of(denominator),
        _ => power_of(value, -0.5),
    }
}

fn power_of(value: ValueRef<'_>, exponent: f64) -> Option<ValueRef<'_>> {
    let (power, _) = made_by::<Pow>(value)?;
    (power.operand("b").and_then(uniform)? == exponent).then(|| power.operand("a"))?
}

/// The axes along which `reduction` reduces, in order: without any given, all of them; `None` when that means none, as
/// `noop_with_empty_axes` says, or when they are not known.
pub(super) fn reduced_axes(
    reduction: NodeRef<'_>,
    noop_with_empty_axes: bool,
) -> Option<SmallVec<[usize; 6]>> {
    let x = reduction.operand("x")?;
    let given = reduction.operand("axes").map_or(Some(Vec::new()), integers)?;
    if given.is_empty() {
        return (!noop_with_empty_axes).then(|| (0..x.ty().rank()).collect());
    }
    let axes: Option<SmallVec<[usize; 6]>> = given.into_iter().map(|axis| axis_of(axis, x)).collect();
    let mut axes = axes?;
    axes.sort_unstable();
    axes.dedup();
    Some(axes)
}
