//! Normalizations.
//!
//! `GroupNormalization` is a function of simpler operations, as ONNX defines it; `InstanceNormalization` and
//! `LayerNormalization` have kernels (`providers/cpu/nn/instance_norm.cc`, `mlas/lib/layernorm_kernel_avx2.cpp`).

use quad_ir::ops::LayerNorm;
use quad_ir::tensor::Tensor;

use crate::Computed;
use crate::sum::{aligned, of_eight};

/// Of channels-first `x`; `[scale, bias]` have an element for each channel.
pub(crate) fn group_norm(x: &Tensor, affine: [&Tensor; 2], groups: usize, epsilon: f32) -> Computed {
    per_channel(x, affine, groups, |row, offset| {
        let count = row.len() as f32;
        let squares: Vec<f32> = row.iter().map(|x| x * x).collect();
        let mean = aligned(row, offset) / count;
        let root = (aligned(&squares, offset) / count - mean * mean + epsilon).sqrt();
        move |x: f32, [scale, bias]: [f32; 2]| scale * ((x - mean) / root) + bias
    })
}

/// Of channels-first `x`; `[scale, bias]` have an element for each channel.
pub(crate) fn instance_norm(x: &Tensor, affine: [&Tensor; 2], epsilon: f32) -> Computed {
    let channels = *x.sizes().get(1)?;
    per_channel(x, affine, channels, |row, offset| {
        let count = row.len() as f32;
        let mean = aligned(row, offset) / count;
        let squares: Vec<f32> = row.iter().map(|x| (x - mean) * (x - mean)).collect();
        let inverse = 1.0 / (aligned(&squares, 0) / count + epsilon).sqrt();
        move |x: f32, [scale, bias]: [f32; 2]| {
            let factor = inverse * scale;
            x * factor + (bias - mean * factor)
        }
    })
}

/// Normalizes `groups` of channels in each batch entry. `rule` makes of a group of elements, and of how many are before it, the
/// function of an element and of the scale and bias of its channel.
fn per_channel<N: Fn(f32, [f32; 2]) -> f32>(
    x: &Tensor,
    [scale, bias]: [&Tensor; 2],
    groups: usize,
    rule: impl Fn(&[f32], usize) -> N,
) -> Computed {
    let [batches, channels, ref plane @ ..] = *x.sizes() else { return None };
    let (elements, scale, bias) = (x.to_f32().ok()?, scale.to_f32().ok()?, bias.to_f32().ok()?);
    let plane: usize = plane.iter().product();
    let length = elements.len() / batches.checked_mul(groups)?;
    let mut results = Vec::with_capacity(elements.len());
    for (index, row) in elements.chunks_exact(length).enumerate() {
        let normal = rule(row, index * length);
        let first = index % groups * (channels / groups);
        for (channel, plane) in row.chunks_exact(plane).enumerate() {
            let affine = [scale[first + channel], bias[first + channel]];
            results.extend(plane.iter().map(|x| normal(*x, affine)));
        }
    }
    Some(Tensor::from_vec(x.sizes(), results).map_err(Into::into))
}

/// Of the last axes of `x`; `scale` and `bias` have an element for each element of those.
pub(crate) fn layer_norm(norm: &LayerNorm, x: &Tensor, scale: &Tensor, bias: Option<&Tensor>) -> Computed {
    let axis = if norm.axis < 0 { norm.axis + x.rank() as i64 } else { norm.axis };
    let length: usize = x.sizes().get(usize::try_from(axis).ok()?..)?.iter().product();
    let (elements, scale) = (x.to_f32().ok()?, scale.to_f32().ok()?);
    let bias = bias.map(Tensor::to_f32).transpose().ok()?;
    if scale.len() != length || bias.as_ref().is_some_and(|bias| bias.len() != length) {
        return None;
    }
    let rule = if length < LANES { short_row } else { long_row };
    let rows = elements.chunks_exact(length);
    let results = rows.flat_map(|row| rule(row, &scale, bias.as_deref(), norm.epsilon.get())).collect();
    Some(Tensor::from_vec(x.sizes(), results).map_err(Into::into))
}

/// Rows of fewer elements have no kernel in lanes.
const LANES: usize = 8;

/// The mean is summed in double precision, in four lanes; squares of differences are fused, in eight.
fn long_row(row: &[f32], scale: &[f32], bias: Option<&[f32]>, epsilon: f32) -> Vec<f32> {
    let (fours, rest) = row.as_chunks::<4>();
    let add = |sum: [f64; 4], x: &[f32; 4]| std::array::from_fn(|lane| sum[lane] + f64::from(x[lane]));
    let [a, b, c, d]: [f64; 4] = fours.iter().fold([0.0; 4], add);
    let sum = rest.iter().fold((a + c) + (b + d), |sum, x| sum + f64::from(*x));
    let mean = (sum / row.len() as f64) as f32;
    let (eights, rest) = row.as_chunks::<LANES>();
    let add = |sum: [f32; LANES], x: &[f32; LANES]| {
        std::array::from_fn(|lane| (x[lane] - mean).mul_add(x[lane] - mean, sum[lane]))
    };
    let squares = of_eight(eights.iter().fold([0.0; LANES], add));
    let squares = rest.iter().fold(squares, |sum, x| sum + (x - mean) * (x - mean));
    let inverse = 1.0 / (squares / row.len() as f32 + epsilon).sqrt();
    let normal = |(index, x): (usize, &f32)| {
        let scaled = (x - mean) * inverse;
        bias.map_or(scaled * scale[index], |bias| scaled.mul_add(scale[index], bias[index]))
    };
    row.iter().enumerate().map(normal).collect()
}

/// Mean and squares are kept up to date element by element (Welford).
fn short_row(row: &[f32], scale: &[f32], bias: Option<&[f32]>, epsilon: f32) -> Vec<f32> {
    let (mut mean, mut squares) = (0.0f32, 0.0f32);
    for (index, x) in row.iter().enumerate() {
        let difference = x - mean;
        mean += difference / (index + 1) as f32;
        squares += difference * (x - mean);
    }
    let root = (squares / row.len() as f32 + epsilon).sqrt();
    let normal = |(index, x): (usize, &f32)| {
        let scaled = (x - mean) / root * scale[index];
        bias.map_or(scaled, |bias| scaled + bias[index])
    };
    row.iter().enumerate().map(normal).collect()
}
