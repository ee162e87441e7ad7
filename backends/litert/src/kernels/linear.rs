//! Convolutions and products: exact sums, scaled once.

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::interpret::compute;
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Conv, EvalError};
use quad_ir::tensor::Tensor;

use super::fixed_point::Multiplier;
use super::{Computed, Stored, centered, result};

/// A convolution over planes with channels last. Scales of its kernel may differ from channel to channel.
pub(super) fn convolution(conv: &Conv, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (input, output) = (Stored::of(node.operand("x")?)?, Stored::of(node.result())?);
    let kernel = node.operand("w")?.ty();
    let is_known = matches!(kernel.dtype, DType::I4 | DType::I8 | DType::I16);
    let scales = &kernel.quant.as_deref().filter(|_| is_known)?.scales;
    if conv.layout != DataLayout::Nhwc {
        return None;
    }
    let factor = |scale: f32| {
        // A kernel of 16 bits is a factor of a product, which rounds the scales multiplied to single precision.
        let scales = if kernel.dtype == DType::I16 {
            f64::from(input.scale * scale)
        } else {
            f64::from(input.scale) * f64::from(scale)
        };
        Multiplier::of(scales / f64::from(output.scale))
    };
    let factors: Vec<Multiplier> = scales.iter().map(|scale| factor(scale.get())).collect();
    let weights = operands.get(1)?.as_ref()?.to_i64().ok()?;
    let bias = operands.get(2).and_then(Option::as_ref).map(Tensor::to_i64).transpose().ok()?;
    let integers = [Some(centered(operands, 0, input)?), Some(weights), bias];
    let sums = sums(node, operands, integers);
    scaled(node, sums, input, |index| factors[index % factors.len()])
}

/// A product of two activations, or of one of 16 bits and a constant of 8.
pub(super) fn product(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (left, right) = (Stored::of(node.operand("a")?)?, Stored::of(node.operand("b")?)?);
    let output = Stored::of(node.result())?;
    // The product of the scales is rounded to single precision.
    let factor = Multiplier::of(f64::from(left.scale * right.scale) / f64::from(output.scale));
    let integers = [Some(centered(operands, 0, left)?), Some(centered(operands, 1, right)?)];
    scaled(node, sums(node, operands, integers), left, |_| factor)
}

/// What `node` makes of `integers`, its operands without zero points. Its own semantics sum them in floats of 64 bits, which
/// hold every sum of up to 2^22 products of 16 bits.
fn sums<const N: usize>(
    node: NodeRef<'_>,
    operands: &[Option<Tensor>],
    integers: [Option<Vec<i64>>; N],
) -> Result<Vec<f64>, EvalError> {
    let wide = |(tensor, integers): (&Option<Tensor>, Option<Vec<i64>>)| {
        let Some((tensor, integers)) = tensor.as_ref().zip(integers) else { return Ok(None) };
        let elements = integers.iter().map(|integer| *integer as f64).collect();
        Tensor::from_vec(tensor.sizes(), elements).map(Some)
    };
    let wide = operands.iter().zip(integers).map(wide).collect::<Result<Vec<_>, _>>()?;
    Ok(compute(node.op(), &wide)?[0].to_f64()?)
}

/// `sums` by the factor of each, as the kernels for activations stored as `input` scale them.
fn scaled(
    node: NodeRef<'_>,
    sums: Result<Vec<f64>, EvalError>,
    input: Stored,
    factor: impl Fn(usize) -> Multiplier,
) -> Computed {
    let output = Stored::of(node.result())?;
    let steps = |(index, sum): (usize, &f64)| {
        let (sum, factor) = (*sum as i64, factor(index));
        // Sums of 8-bit products have 32 bits and wrap.
        let steps = if input.dtype == DType::I16 { factor.times_wide(sum) } else { factor.times(sum as i32) };
        output.saturated(steps)
    };
    match sums {
        Ok(sums) => result(node, sums.iter().enumerate().map(steps).collect()),
        Err(error) => Some(Err(error)),
    }
}
