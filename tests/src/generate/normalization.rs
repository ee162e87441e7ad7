//! Steps that normalize: written out as exporters do for which a normalization is no operation, and as one node.

use quad_ir::graph::{AddError, ValueId};
use quad_ir::ops::{
    Add, Div, GroupNorm, InstanceNorm, LayerNorm, Mul, Pow, Reciprocal, ReduceMean, RmsNorm, Sqrt, Sub,
};

use super::grower::{Grower, Grown, Range};

/// What a normalized element is at most, where `count` elements are normalized together.
fn normalized(count: u64) -> Range {
    Range::around_zero((count as f64).sqrt())
}

/// The mean of `x` along `axes`, which stay.
fn mean(grower: &mut Grower, x: ValueId, axes: &[i64]) -> Result<ValueId, AddError> {
    let axes = grower.integers(axes)?;
    grower.op(ReduceMean::default(), &[x, axes])
}

/// The square of `x`, as a power or a product.
fn squared(grower: &mut Grower, x: ValueId) -> Result<ValueId, AddError> {
    if grower.once_in(2) {
        return grower.op(Mul, &[x, x]);
    }
    let two = grower.scalar(2.0)?;
    grower.op(Pow, &[x, two])
}

/// `x / sqrt(variance + epsilon)`, as a quotient or as a product with the reciprocal.
fn divided(grower: &mut Grower, x: ValueId, variance: ValueId) -> Result<ValueId, AddError> {
    let epsilon = grower.pick(&[1e-3, 1e-5]);
    let epsilon = grower.scalar(epsilon)?;
    let sum = grower.op(Add, &[variance, epsilon])?;
    let deviation = grower.op(Sqrt, &[sum])?;
    if grower.once_in(3) {
        let inverse = grower.op(Reciprocal, &[deviation])?;
        return grower.op(Mul, &[x, inverse]);
    }
    grower.op(Div, &[x, deviation])
}

/// `x * scale + bias`, one of each for the last `sizes`.
fn scaled(grower: &mut Grower, x: Grown, sizes: &[u64], with_bias: bool) -> Result<Grown, AddError> {
    let scale = grower.constant(sizes, 1.5)?;
    let y = Grown { id: grower.op(Mul, &[x.id, scale.id])?, range: x.range.times(scale.range) };
    if !with_bias {
        return Ok(y);
    }
    let bias = grower.constant(sizes, 1.0)?;
    Ok(Grown { id: grower.op(Add, &[y.id, bias.id])?, range: y.range.plus(bias.range) })
}

/// A layer normalization, written out.
pub(super) fn layer(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let channels = grower.tail(x.id).last().copied().unwrap_or(1);
    let average = mean(grower, x.id, &[-1])?;
    let centered = grower.op(Sub, &[x.id, average])?;
    let square = squared(grower, centered)?;
    let variance = mean(grower, square, &[-1])?;
    let id = divided(grower, centered, variance)?;
    let with_bias = !grower.once_in(4);
    let y = scaled(grower, Grown { id, range: normalized(channels) }, &[channels], with_bias)?;
    grower.keep(y.id, y.range)
}

/// A normalization by the root of the mean square, written out.
pub(super) fn root_mean_square(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let channels = grower.tail(x.id).last().copied().unwrap_or(1);
    let square = squared(grower, x.id)?;
    let power = mean(grower, square, &[-1])?;
    let id = divided(grower, x.id, power)?;
    let y = scaled(grower, Grown { id, range: normalized(channels) }, &[channels], false)?;
    grower.keep(y.id, y.range)
}

/// A group normalization, as exporters write it: an instance normalization of groups as channels.
pub(super) fn group(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [channels, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    let groups = if channels.is_multiple_of(2) { 2 } else { 1 };
    let flat = grower.reshape(x.id, &[0, groups as i64, -1])?;
    let ones = grower.floats(&[groups], &vec![1.0; groups as usize])?;
    let zeros = grower.floats(&[groups], &vec![0.0; groups as usize])?;
    let op = InstanceNorm { epsilon: 1e-3.into(), ..InstanceNorm::default() };
    let normal = grower.op(op, &[flat, ones, zeros])?;
    let back = grower.reshape(normal, &[0, channels as i64, height as i64, width as i64])?;
    let range = normalized(channels / groups * height * width);
    let y = scaled(grower, Grown { id: back, range }, &[channels, 1, 1], true)?;
    grower.keep(y.id, y.range)
}

/// A normalization as one node, often with a factor or an addend for each channel behind it.
pub(super) fn as_one_node(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let by_group = tail.len() == 3 && grower.once_in(2);
    let y = if by_group { of_groups(grower, x, &tail)? } else { of_channels(grower, x, &tail)? };
    let sizes = if by_group { vec![tail[0], 1, 1] } else { vec![tail[tail.len() - 1]] };
    let y = match grower.below(3) {
        0 => y,
        1 => scaled(grower, y, &sizes, false)?,
        _ => scaled(grower, y, &sizes, true)?,
    };
    grower.keep(y.id, y.range)
}

fn of_groups(grower: &mut Grower, x: Grown, tail: &[u64]) -> Result<Grown, AddError> {
    let channels = tail[0];
    let num_groups = if channels.is_multiple_of(2) { 2 } else { 1 };
    let (scale, bias) = (grower.constant(&[channels], 1.0)?, grower.constant(&[channels], 1.0)?);
    let id = grower.op(
        GroupNorm { num_groups, epsilon: 1e-3.into(), ..GroupNorm::default() },
        &[x.id, scale.id, bias.id],
    )?;
    Ok(Grown { id, range: normalized(tail.iter().product()).plus(bias.range) })
}

fn of_channels(grower: &mut Grower, x: Grown, tail: &[u64]) -> Result<Grown, AddError> {
    let channels = tail[tail.len() - 1];
    let scale = grower.constant(&[channels], 1.0)?;
    let range = normalized(channels);
    if grower.once_in(3) {
        let id = grower.op(RmsNorm { epsilon: 1e-3.into(), ..RmsNorm::default() }, &[x.id, scale.id])?;
        return Ok(Grown { id, range });
    }
    let bias = grower.constant(&[channels], 1.0)?;
    let bias_id = (!grower.once_in(4)).then_some(bias.id);
    let op = LayerNorm { epsilon: 1e-3.into(), ..LayerNorm::default() };
    let id = grower.results(op, &[Some(x.id), Some(scale.id), bias_id])?[0];
    Ok(Grown { id, range: range.plus(bias.range) })
}
