//! Steps that move elements and do not change them: transposes, reshapes, slices, parts joined and taken apart.

use quad_ir::dtype::DType;
use quad_ir::graph::AddError;
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::{
    Add, Cast, Concat, Expand, Gather, Mul, Pad, Slice, Split, Squeeze, Tanh, Transpose, Unsqueeze,
};

use super::elementwise;
use super::grower::{Grower, Range};

/// A transpose that leaves the first axis where it is, often followed by another one, with or without something between.
pub(super) fn transposed(grower: &mut Grower) -> Result<(), AddError> {
    let mut x = grower.value()?;
    let perm: Vec<i64> = match (grower.rank(x.id), grower.below(3)) {
        (2, _) => vec![0, 1],
        (3, _) => vec![0, 2, 1],
        (_, 0) => vec![0, 2, 3, 1],
        (_, 1) => vec![0, 3, 1, 2],
        _ => vec![0, 2, 1, 3],
    };
    x.id = grower.op(Transpose { perm: Some(perm.clone()) }, &[x.id])?;
    grower.keep(x.id, x.range)?;
    if grower.once_in(2) {
        return Ok(());
    }
    if grower.once_in(2) {
        x.id = grower.op(Tanh, &[x.id])?;
        x.range = Range::around_zero(1.0);
    }
    let mut inverse = vec![0; perm.len()];
    for (to, from) in perm.iter().enumerate() {
        inverse[*from as usize] = to as i64;
    }
    let perm = if grower.once_in(3) { perm } else { inverse };
    x.id = grower.transpose(x.id, &perm)?;
    grower.keep(x.id, x.range)
}

/// A reshape of all axes but the first, often followed by another one.
pub(super) fn reshaped(grower: &mut Grower) -> Result<(), AddError> {
    let mut x = grower.value()?;
    for _ in 0..=grower.below(2) {
        let tail: Vec<i64> = grower.tail(x.id).iter().map(|size| *size as i64).collect();
        let sizes = match (tail.as_slice(), grower.below(2)) {
            ([a], _) if a % 2 == 0 => vec![0, 2, a / 2],
            ([_], _) => vec![0, -1, 1],
            ([_, _], 0) => vec![0, -1],
            ([a, b], _) if b % 2 == 0 => vec![0, *a, b / 2, 2],
            ([a, b], _) => vec![0, *b, *a],
            ([a, b, c], 0) => vec![0, *a, b * c],
            ([a, b, c], _) => vec![0, a * b, *c],
            _ => vec![0, -1],
        };
        x.id = grower.reshape(x.id, &sizes)?;
    }
    grower.keep(x.id, x.range)
}

/// Axes of size 1 put in, and sometimes taken out again.
pub(super) fn unsqueezed(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let axis = 1 + grower.below(grower.rank(x.id) as u64) as i64;
    let axes = grower.integers(&[axis])?;
    let wide = grower.op(Unsqueeze, &[x.id, axes])?;
    grower.keep(wide, x.range)?;
    if grower.once_in(2) {
        let between = if grower.once_in(2) { grower.op(Tanh, &[wide])? } else { wide };
        let axes = grower.integers(&[axis])?;
        let narrow = grower.op(Squeeze, &[between, axes])?;
        grower.keep(narrow, x.range.or(Range::around_zero(1.0)))?;
    }
    Ok(())
}

/// A part of a value along one axis or two.
pub(super) fn sliced(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let axis = grower.below(tail.len() as u64) as usize;
    let size = tail[axis] as i64;
    let start = grower.below(size as u64) as i64;
    let end =
        if grower.once_in(2) { i64::MAX } else { start + 1 + grower.below((size - start) as u64) as i64 };
    let start = if grower.once_in(4) { start - size } else { start };
    let axis = if grower.once_in(3) { axis as i64 - tail.len() as i64 } else { axis as i64 + 1 };
    let mut operands =
        vec![x.id, grower.integers(&[start])?, grower.integers(&[end])?, grower.integers(&[axis])?];
    if grower.once_in(3) {
        let step = grower.pick(&[1, 2]);
        operands.push(grower.integers(&[step])?);
    }
    let id = grower.op(Slice, &operands)?;
    grower.keep(id, x.range)
}

/// A value taken apart; the parts are put together again as they were, in another order, or used one by one.
pub(super) fn split(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let Some(axis) = tail.iter().position(|size| size.is_multiple_of(2)) else { return Ok(()) };
    let half = (tail[axis] / 2) as i64;
    let axis = axis as i64 + 1;
    let mut parts = if grower.once_in(2) {
        let sizes = grower.integers(&[half, half])?;
        grower.results(Split { axis, num_outputs: None }, &[Some(x.id), Some(sizes)])?
    } else {
        grower.results(Split { axis, num_outputs: Some(2) }, &[Some(x.id)])?
    };
    match grower.below(4) {
        0 => {}
        1 => parts.reverse(),
        2 => {
            let product = grower.op(Mul, &[parts[0], parts[1]])?;
            return grower.keep(product, x.range.times(x.range));
        }
        _ => {
            grower.keep(parts[0], x.range)?;
            return grower.keep(parts[1], x.range);
        }
    }
    let id = grower.op(Concat { axis }, &parts)?;
    grower.keep(id, x.range)
}

/// Two values side by side; sometimes one of them cut out again.
pub(super) fn joined(grower: &mut Grower) -> Result<(), AddError> {
    let a = grower.value()?;
    let b = elementwise::like(grower, a)?;
    let axis = grower.rank(a.id) as i64 - 1;
    let size = grower.tail(a.id).last().copied().unwrap_or(1) as i64;
    let axis_spelled = if grower.once_in(2) { -1 } else { axis };
    let both = grower.op(Concat { axis: axis_spelled }, &[a.id, b.id])?;
    grower.keep(both, a.range.or(b.range))?;
    if grower.once_in(3) {
        let operands =
            [both, grower.integers(&[size])?, grower.integers(&[2 * size])?, grower.integers(&[axis])?];
        let second = grower.op(Slice, &operands)?;
        grower.keep(second, b.range)?;
    }
    Ok(())
}

/// Zeros, or what is at the edge, around the last axis or two.
pub(super) fn padded(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let rank = grower.rank(x.id);
    let mut pads = vec![0; 2 * rank];
    pads[rank - 1] = grower.below(2) as i64;
    pads[2 * rank - 1] = 1 + grower.below(2) as i64;
    if rank == 4 {
        pads[rank - 2] = grower.below(2) as i64;
    }
    let pads = grower.integers(&pads)?;
    let id = match grower.below(3) {
        0 => grower.op(Pad { mode: PadMode::Edge }, &[x.id, pads])?,
        1 => {
            let value = grower.scalar(0.5)?;
            grower.op(Pad::default(), &[x.id, pads, value])?
        }
        _ => grower.op(Pad::default(), &[x.id, pads])?,
    };
    grower.keep(id, x.range.or(Range { low: 0.0, high: 0.5 }))
}

/// Some places of an axis, in the order of a constant; or one place, without the axis.
pub(super) fn gathered(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let axis = grower.below(tail.len() as u64) as usize;
    let count = 1 + grower.below(3);
    let places: Vec<i64> = (0..count).map(|_| grower.below(tail[axis]) as i64).collect();
    let indices = if grower.once_in(2) {
        grower.integers(&places)?
    } else {
        let vector = grower.integers(&places[..1])?;
        let axes = grower.integers(&[0])?;
        grower.op(Squeeze, &[vector, axes])?
    };
    let id = grower.op(Gather { axis: axis as i64 + 1 }, &[x.id, indices])?;
    grower.keep(id, x.range)
}

/// One row stretched over a value, and added to it.
pub(super) fn expanded(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let Some(sizes) = grower.sizes(x.id) else { return Ok(()) };
    let last = sizes[sizes.len() - 1];
    let row = grower.constant(&[last], 1.0)?;
    let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
    let sizes = grower.integers(&sizes)?;
    let wide = grower.op(Expand, &[row.id, sizes])?;
    let id = grower.op(Add, &[x.id, wide])?;
    grower.keep(id, x.range.plus(row.range))
}

/// A cast to more bits and back, or to the type that a value has.
pub(super) fn casted(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let to = grower.pick(&[DType::F64, DType::F32]);
    let mut wide = grower.op(Cast { to, ..Cast::default() }, &[x.id])?;
    if grower.once_in(3) {
        wide = grower.op(Tanh, &[wide])?;
    }
    let id =
        if to == DType::F32 && grower.once_in(2) { wide } else { grower.op(Cast::default(), &[wide])? };
    grower.keep(id, x.range.or(Range::around_zero(1.0)))
}
