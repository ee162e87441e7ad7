//! Nearest resizes by whole factors as concatenations.

use quad_ir::graph::{NodeRef, Patch, ValueId};
use quad_ir::ops::resize::{Coordinates, Interpolation, NearestMode};
use quad_ir::ops::{Concat, OpKind, Resize};

use super::replace;
use crate::emit::Emit;
use crate::pattern::sizes;
use crate::rule::{FnRule, Skip, because};

pub(super) const RESIZE: FnRule =
    FnRule { name: "resize-to-concat", roots: &[OpKind::Resize], rewrite: resize_to_concat };

/// Repeats every element along each axis that grows, in tensors of two axes: whatever is before, and what is behind.
fn resize_to_concat(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let resize = node.is::<Resize>().filter(|resize| resize.mode == Interpolation::Nearest);
    let resize = resize.ok_or(Skip::NoMatch)?;
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let known = sizes(x).zip(sizes(node.result()));
    let (from, to) = known.ok_or_else(|| because(node, "its sizes are not known"))?;
    if from.contains(&0) || from.iter().zip(&to).any(|(from, to)| to % from != 0) {
        return Err(because(node, "an axis does not grow by a whole factor"));
    }
    let factors: Vec<f64> = from.iter().zip(&to).map(|(from, to)| (to / from) as f64).collect();
    if !repeats(resize) || !states_factors(node, resize, &factors) {
        return Err(because(node, "its places do not fall on each element equally often"));
    }
    let mut sizes = from.to_vec();
    let mut new = x.id();
    for axis in 0..sizes.len() {
        let count = to[axis] / from[axis];
        if count > 1 {
            let around = [sizes[..=axis].iter().product(), sizes[axis + 1..].iter().product()];
            new = repeated(new, around, count, patch)?;
            sizes[axis] = to[axis];
        }
    }
    let new = patch.sized(new, &to)?;
    replace(node, new, patch)
}

/// Whether, growing by a whole factor `f`, places `f * i` to `f * i + f - 1` are nearest to element `i`: from the start of
/// the axis rounded down, or from the middle of elements, where no place is half-way between two.
fn repeats(resize: &Resize) -> bool {
    match resize.coordinate_transformation_mode {
        Coordinates::Asymmetric => resize.nearest_mode == NearestMode::Floor,
        Coordinates::HalfPixel | Coordinates::PytorchHalfPixel | Coordinates::HalfPixelSymmetric => {
            matches!(resize.nearest_mode, NearestMode::RoundPreferFloor | NearestMode::RoundPreferCeil)
        }
        _ => false,
    }
}

/// Whether the factors are exactly those of the sizes: a factor a little off moves places.
fn states_factors(node: NodeRef<'_>, resize: &Resize, factors: &[f64]) -> bool {
    let Some(scales) = node.operand("scales") else { return true };
    let stated = scales.constant().and_then(|scales| scales.to_f64().ok()).unwrap_or_default();
    if resize.axes.is_empty() {
        return stated == factors;
    }
    let rank = factors.len() as i64;
    let axes = resize.axes.iter().map(|axis| if *axis < 0 { axis + rank } else { *axis });
    let of_axis = axes.map(|axis| usize::try_from(axis).ok().and_then(|axis| factors.get(axis).copied()));
    of_axis.eq(stated.into_iter().map(Some))
}

/// `x`, seen as `[outer, inner]`, with each of the `outer` rows repeated `count` times, as `[outer, count * inner]`.
fn repeated(
    x: ValueId,
    [outer, inner]: [u64; 2],
    count: u64,
    patch: &mut Patch<'_>,
) -> Result<ValueId, Skip> {
    let rows = patch.sized(x, &[outer, inner])?;
    let copies: Vec<Option<ValueId>> = (0..count).map(|_| Some(rows)).collect();
    Ok(patch.op(Concat { axis: 1 }, &copies)?)
}
