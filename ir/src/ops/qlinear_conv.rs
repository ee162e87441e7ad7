//! `qlinear_conv`: convolution of quantized operands, quantized again.
//!
//! `y = round((sums + b) * (x_scale * w_scale / y_scale)) + y_zero_point`, kept within the range of the element type,
//! where `sums` is what `conv_integer` gives. Parameters of `w` are a single element or one per output channel, the
//! others single elements. The multiplier is formed in `f32`; halves round to even.

use super::centered::{BYTES, one_element, requantize};
use super::conv::one_per_channel;
use super::conv_integer::{convolve, per_channel};
use super::layout::QUANTIZED_CONVOLUTION;
use super::{
    Conv, EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional,
};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QLinearConv {
    /// How the kernel slides; the attributes are those of `conv`.
    pub conv: Conv,
}

impl OpDef for QLinearConv {
    const NAME: &'static str = "qlinear_conv";
    const OPERANDS: &'static [Operand] = &[
        one("x"),
        one("x_scale"),
        one("x_zero_point"),
        one("w"),
        one("w_scale"),
        one("w_zero_point"),
        one("y_scale"),
        one("y_zero_point"),
        optional("b"),
    ];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        OpDef::attrs(&mut self.conv, visitor)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.conv.layout.infer(&QUANTIZED_CONVOLUTION, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.conv.layout.eval(&QUANTIZED_CONVOLUTION, operands, types, |operands, types| self.evaluate(operands, types))
    }
}

impl QLinearConv {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        operands.one_of(0, BYTES)?;
        operands.same_dtype(2, 0)?;
        let kernel = operands.one_of(3, BYTES)?;
        operands.same_dtype(5, 3)?;
        for scale in [1, 4, 6] {
            operands.one_of(scale, &[DType::F32])?;
        }
        for parameter in [1, 2, 6, 7] {
            one_element(operands, parameter)?;
        }
        for parameter in [4, 5] {
            per_channel(operands, parameter, kernel)?;
        }
        let shape = self.conv.shape(operands, [0, 3])?;
        if operands.has(8) {
            operands.one_of(8, &[DType::I32])?;
            one_per_channel(operands, 8, &shape[1])?;
        }
        Ok(single(operands.one_of(7, BYTES)?.dtype, shape))
    }

    /// The reference semantics for channels first.
    fn evaluate(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let sizes = sizes_of(&types[0])?;
        let factors =
            [(operands.tensor(0)?, operands.optional(2)), (operands.tensor(3)?, operands.optional(5))];
        let bias = operands.optional(8).map(Tensor::elements::<i32>).transpose()?;
        let sums = convolve(&self.conv, factors, bias.as_deref(), sizes.iter().product())?;
        let scale = |index| Ok::<_, EvalError>(operands.tensor(index)?.elements::<f32>()?);
        let (x_scale, w_scale, y_scale) = (scale(1)?, scale(4)?, scale(6)?);
        let multipliers: Vec<f64> =
            w_scale.iter().map(|w_scale| f64::from(x_scale[0] * w_scale / y_scale[0])).collect();
        let plane = sizes[2..].iter().product::<usize>().max(1);
        // A single scale is the first of one.
        let multiplier = |index: usize| multipliers[index / plane % sizes[1] % multipliers.len()];
        let zero_point = operands.tensor(7)?.to_i64()?[0];
        Ok(only(requantize(&sums, multiplier, zero_point, (types[0].dtype, &sizes))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, tensor};

    #[test]
    fn channels_have_their_own_scales() {
        let bytes = |sizes: &[usize], values: &[u8]| Tensor::from_vec(sizes, values.to_vec()).expect("fits");
        let (zero, one) = (bytes(&[], &[0]), tensor(&[], &[1.0]));
        let bias = Tensor::from_vec(&[2], vec![1i32, 2]).expect("two elements");
        let operands = [
            &bytes(&[1, 1, 2], &[3, 4]),
            &one,
            &bytes(&[], &[3]),
            &bytes(&[2, 1, 1], &[10, 20]),
            &tensor(&[2], &[1.0, 0.5]),
            &zero,
            &one,
            &bytes(&[], &[7]),
            &bias,
        ];
        let y = evaluate(&QLinearConv::default().into(), &operands);
        assert_eq!(y[0], bytes(&[1, 2, 2], &[8, 18, 8, 18]));
    }
}
