//! Normalizations and means in terms of simpler ones.

use quad_ir::attr::F32Bits;
use quad_ir::graph::{AddError, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::layout::{DataLayout, layout_of};
use quad_ir::ops::{Add, AveragePool, Div, LayerNorm, Mul, Op, OpKind, ReduceMean, Sqrt, Sub};

use super::replace;
use crate::emit::Emit;
use crate::pattern::{axis_of, integers, sizes};
use crate::rule::{FnRule, Skip, because};

pub(super) const LAYER_NORM: FnRule =
    FnRule { name: "layer-norm-to-means", roots: &[OpKind::LayerNorm], rewrite: layer_norm_to_means };
pub(super) const GROUP_NORM: FnRule = FnRule {
    name: "group-norm-to-means",
    roots: &[OpKind::GroupNorm, OpKind::InstanceNorm],
    rewrite: group_norm_to_means,
};
pub(super) const MEAN: FnRule =
    FnRule { name: "mean-to-pool", roots: &[OpKind::ReduceMean], rewrite: mean_to_pool };

/// `(x - mean) / sqrt(variance + epsilon)` over `axes`, which stay with size 1 in mean and variance.
fn standardized(x: ValueId, axes: &[i64], epsilon: F32Bits, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
    let dtype = patch.ty(x).ok_or(Skip::NoMatch)?.dtype;
    let axes = patch.integers(axes)?;
    let mean = patch.add_value(ReduceMean::default(), &[x, axes])?;
    let centered = patch.add_value(Sub, &[x, mean])?;
    let square = patch.add_value(Mul, &[centered, centered])?;
    let variance = patch.add_value(ReduceMean::default(), &[square, axes])?;
    let epsilon = patch.scalar(dtype, f64::from(epsilon.get()))?;
    let variance = patch.add_value(Add, &[variance, epsilon])?;
    let deviation = patch.add_value(Sqrt, &[variance])?;
    Ok(patch.add_value(Div, &[centered, deviation])?)
}

/// `x * scale + bias`.
fn affine(
    x: ValueId,
    scale: ValueId,
    bias: Option<ValueId>,
    patch: &mut Patch<'_>,
) -> Result<ValueId, AddError> {
    let scaled = patch.add_value(Mul, &[x, scale])?;
    bias.map_or(Ok(scaled), |bias| patch.add_value(Add, &[scaled, bias]))
}

fn layer_norm_to_means(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let norm = node.is::<LayerNorm>().ok_or(Skip::NoMatch)?;
    let (x, scale) = node.operand("x").zip(node.operand("scale")).ok_or(Skip::NoMatch)?;
    if node.results().skip(1).any(|result| result.is_read() || result.is_output()) {
        return Err(because(node, "its mean or deviation is read"));
    }
    let first = axis_of(norm.axis, x).ok_or(Skip::NoMatch)?;
    let axes: Vec<i64> = (first..x.ty().rank()).map(|axis| axis as i64).collect();
    let normal = standardized(x.id(), &axes, norm.epsilon, patch)?;
    let new = affine(normal, scale.id(), node.operand("b").map(ValueRef::id), patch)?;
    replace(node, new, patch)
}

/// Each group of channels becomes axes of its own, and back.
fn group_norm_to_means(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let shape = sizes(x).ok_or_else(|| because(node, "its sizes are not known"))?;
    let layout = layout_of(node.op()).ok_or(Skip::NoMatch)?.0;
    let channels = if layout == DataLayout::Nchw { 1 } else { shape.len() - 1 };
    let (groups, epsilon) = match node.op() {
        Op::GroupNorm(norm) => (norm.num_groups, norm.epsilon),
        Op::InstanceNorm(norm) => (shape[channels], norm.epsilon),
        _ => return Err(Skip::NoMatch),
    };
    let (grouped, axes) = grouped(&shape, channels, groups).ok_or(Skip::NoMatch)?;
    let apart = patch.sized(x.id(), &grouped)?;
    let normal = standardized(apart, axes, epsilon, patch)?;
    let normal = patch.sized(normal, &shape)?;
    let mut per_channel = vec![1; shape.len()];
    per_channel[channels] = shape[channels];
    let parameter = |name: &str, patch: &mut Patch<'_>| -> Result<ValueId, Skip> {
        Ok(patch.sized(node.operand(name).ok_or(Skip::NoMatch)?.id(), &per_channel)?)
    };
    let (scale, bias) = (parameter("scale", patch)?, parameter("bias", patch)?);
    let new = affine(normal, scale, Some(bias), patch)?;
    replace(node, new, patch)
}

/// The sizes under which each of the `groups` of channels has axes of its own, and these axes. One long axis where channels
/// come before planes; where they come last, the channels of a group lie apart from the places.
fn grouped(shape: &[u64], channels: usize, groups: u64) -> Option<(Vec<u64>, &'static [i64])> {
    let in_group = shape[channels].checked_div(groups)?;
    let places: u64 = shape
        .iter()
        .enumerate()
        .filter(|(axis, _)| *axis != 0 && *axis != channels)
        .map(|(_, n)| n)
        .product();
    Some(if channels == 1 && shape.len() > 2 {
        (vec![shape[0], groups, in_group * places], &[2])
    } else {
        (vec![shape[0], places, groups, in_group], &[1, 3])
    })
}

/// The mean over all spatial axes of `[n, channels, spatial..]`.
fn mean_to_pool(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let axes = node.operand("axes").and_then(integers).ok_or(Skip::NoMatch)?;
    let shape = sizes(x).ok_or_else(|| because(node, "its sizes are not known"))?;
    let mut axes: Vec<usize> = axes.iter().filter_map(|axis| axis_of(*axis, x)).collect();
    axes.sort_unstable();
    if !x.ty().dtype.is_float() || shape.len() < 3 || !axes.into_iter().eq(2..shape.len()) {
        return Err(because(node, "it is not over all axes behind batch and channels"));
    }
    let pool = AveragePool { kernel_shape: shape[2..].to_vec(), ..AveragePool::default() };
    let mean = patch.add_value(pool, &[x.id()])?;
    let wanted = sizes(node.result()).ok_or(Skip::NoMatch)?;
    let new = patch.sized(mean, &wanted)?;
    replace(node, new, patch)
}
