//! Convolutions and products: exact sums, scaled once.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::Conv;
use quad_ir::ops::layout::DataLayout;
use quad_ir::tensor::Tensor;

use super::fixed_point::Multiplier;
use super::{Computed, Stored, centered, result};

/// Scales `sum` as the kernels of activations stored as `stored` do.
fn scaled(sum: i64, multiplier: Multiplier, stored: Stored) -> i32 {
    if stored.dtype == DType::I16 {
        multiplier.times_wide(sum)
    } else {
        // Sums of 8-bit products have 32 bits and wrap.
        multiplier.times(sum as i32)
    }
}

/// A convolution over planes with channels last.
pub(super) fn convolution(conv: &Conv, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (x, w, y) = (node.operand("x")?, node.operand("w")?, node.result());
    let (input, output) = (Stored::of(x)?, Stored::of(y)?);
    let filter =
        w.ty().quant.as_deref().filter(|_| matches!(w.ty().dtype, DType::I4 | DType::I8 | DType::I16))?;
    if conv.layout != DataLayout::Nhwc || x.ty().rank() != 4 {
        return None;
    }
    let sizes = |value: ValueRef<'_>| -> Option<Vec<i64>> {
        Some(value.ty().shape.as_known()?.iter().map(|size| *size as i64).collect())
    };
    let (from, kernel, to) = (sizes(x)?, sizes(w)?, sizes(y)?);
    let elements = centered(operands, 0, input)?;
    let weights = operands.get(1)?.as_ref()?.to_i64().ok()?;
    let bias = operands.get(2).and_then(Option::as_ref).map(Tensor::to_i64).transpose().ok()?;
    let factor = |channel: usize| {
        let scale = filter.scales[if filter.scales.len() == 1 { 0 } else { channel }].get();
        // A kernel of 16 bits is a factor of a product, which rounds the scales multiplied to single precision.
        let scales = if w.ty().dtype == DType::I16 {
            f64::from(input.scale * scale)
        } else {
            f64::from(input.scale) * f64::from(scale)
        };
        Multiplier::of(scales / f64::from(output.scale))
    };
    let factors: Vec<Multiplier> = (0..kernel[0] as usize).map(factor).collect();
    let at = |list: &[u64], axis: usize, default: u64| list.get(axis).copied().unwrap_or(default) as i64;
    let outputs_of_group = kernel[0] / conv.group.max(1) as i64;
    let mut results = Vec::with_capacity(to.iter().product::<i64>() as usize);
    for index in 0..to.iter().product::<i64>() {
        let (channel, place) = (index % to[3], index / to[3]);
        let (column, row, batch) = (place % to[2], place / to[2] % to[1], place / to[2] / to[1]);
        let first_input = channel / outputs_of_group * kernel[3];
        let mut sum = bias.as_ref().map_or(0, |bias| bias[channel as usize]);
        for tap in 0..kernel[1] * kernel[2] {
            let y = row * at(&conv.strides, 0, 1) + tap / kernel[2] * at(&conv.dilations, 0, 1)
                - at(&conv.pads, 0, 0);
            let x = column * at(&conv.strides, 1, 1) + tap % kernel[2] * at(&conv.dilations, 1, 1)
                - at(&conv.pads, 1, 0);
            if !(0..from[1]).contains(&y) || !(0..from[2]).contains(&x) {
                continue;
            }
            let source = (((batch * from[1] + y) * from[2] + x) * from[3] + first_input) as usize;
            let weight = ((channel * kernel[1] * kernel[2] + tap) * kernel[3]) as usize;
            for input in 0..kernel[3] as usize {
                sum += elements[source + input] * weights[weight + input];
            }
        }
        results.push(output.saturated(scaled(sum, factors[channel as usize], input)));
    }
    result(node, results)
}

/// A product of two activations, or of one of 16 bits and a constant of 8. Batches are broadcast.
pub(super) fn product(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (a, b) = (node.operand("a")?, node.operand("b")?);
    let (left, right, output) = (Stored::of(a)?, Stored::of(b)?, Stored::of(node.result())?);
    let known = |value: ValueRef<'_>| -> Option<Vec<usize>> {
        Some(value.ty().shape.as_known()?.iter().map(|size| *size as usize).collect())
    };
    let (a_sizes, b_sizes, sizes) = (known(a)?, known(b)?, known(node.result())?);
    let [.., rows, inner] = *a_sizes else { return None };
    let columns = *b_sizes.last().filter(|_| b_sizes.len() > 1)?;
    let (a, b) = (centered(operands, 0, left)?, centered(operands, 1, right)?);
    // The product of the scales is rounded to single precision.
    let multiplier = Multiplier::of(f64::from(left.scale * right.scale) / f64::from(output.scale));
    let batches = sizes.len().checked_sub(2)?;
    let of_batch = |own: &[usize], batch| super::broadcast_place(own, &sizes[..batches], batch);
    let mut results = Vec::with_capacity(sizes.iter().product());
    for index in 0..sizes.iter().product() {
        let (column, row, batch) = (index % columns, index / columns % rows, index / columns / rows);
        let a_start = (of_batch(&a_sizes[..a_sizes.len() - 2], batch) * rows + row) * inner;
        let b_start = of_batch(&b_sizes[..b_sizes.len() - 2], batch) * inner * columns + column;
        let line = a.get(a_start..)?.get(..inner)?;
        let column = b.get(b_start..)?.iter().step_by(columns);
        let sum: i64 = line.iter().zip(column).map(|(a, b)| a * b).sum();
        results.push(output.saturated(scaled(sum, multiplier, left)));
    }
    result(node, results)
}
