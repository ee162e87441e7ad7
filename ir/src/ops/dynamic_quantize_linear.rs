//! `dynamic_quantize_linear`: quantization to `u8` with a scale and zero point chosen from the elements.
//!
//! With `low = min(0, min(x))` and `high = max(0, max(x))`, `y_scale = (high - low) / 255`,
//! `y_zero_point = round(-low / y_scale)`, and `y = round(x / y_scale) + y_zero_point`, the last two kept from 0 to 255.
//! Where all elements are 0 the range counts as 1. Halves round to even; NaN does not count and becomes 0.

use smallvec::smallvec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::{Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DynamicQuantizeLinear;

impl OpDef for DynamicQuantizeLinear {
    const NAME: &'static str = "dynamic_quantize_linear";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const RESULTS: &'static [&'static str] = &["y", "y_scale", "y_zero_point"];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.one_of(0, &[DType::F32])?;
        Ok(smallvec![
            TensorType::new(DType::U8, x.shape.clone()),
            TensorType::new(DType::F32, Shape::default()),
            TensorType::new(DType::U8, Shape::default()),
        ])
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let values = x.elements::<f32>()?;
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let range = if low == high { 1.0 } else { high - low };
        let scale = range / 255.0;
        let zero = (-low / scale).clamp(0.0, 255.0).round_ties_even();
        let store = |value: &f32| ((value / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
        Ok(smallvec![
            Tensor::from_vec(x.sizes(), values.iter().map(store).collect())?,
            Tensor::scalar(scale),
            Tensor::scalar(zero as u8),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, tensor};

    #[test]
    fn the_range_includes_zero() {
        let results = evaluate(&DynamicQuantizeLinear.into(), &[&tensor(&[3], &[-51.0, 0.0, 204.0])]);
        let expected = Tensor::from_vec(&[3], vec![0u8, 51, 255]).expect("three elements");
        assert_eq!(results, [expected, Tensor::scalar(1.0f32), Tensor::scalar(51u8)]);
        let positive = evaluate(&DynamicQuantizeLinear.into(), &[&tensor(&[1], &[255.0])]);
        assert_eq!(positive[2], Tensor::scalar(0u8));
    }

    #[test]
    fn zeros_and_nothing_are_quantized_too() {
        for values in [&[0.0][..], &[]] {
            let results = evaluate(&DynamicQuantizeLinear.into(), &[&tensor(&[values.len()], values)]);
            assert_eq!(results[1], Tensor::scalar(1.0f32 / 255.0));
        }
    }
}
