//! `dequantize_linear`: from stored numbers to the real ones they stand for, `y = (x - x_zero_point) * x_scale`.
//!
//! A scale is for the whole of `x`, for each index along `axis`, or for each block of `block_size` along `axis`; zero
//! points are as many. The product is formed in `f32` and rounded to `output_dtype`, else the type of the scale.

use super::granularity::ScaleAxis;
use super::quantize_linear::{SCALES, STORED, zero_points};
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::quantized::affine::Affine;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DequantizeLinear {
    /// The axis along which scales differ, if there are several; negative ones count from the end.
    pub axis: i64,
    /// Elements along the axis that share a scale, 0 for one scale per index.
    pub block_size: i64,
    /// The element type of the result: `f32`, `f16` or `bf16`.
    pub output_dtype: Option<DType>,
}

impl Default for DequantizeLinear {
    fn default() -> Self {
        Self { axis: 1, block_size: 0, output_dtype: None }
    }
}

impl OpDef for DequantizeLinear {
    const NAME: &'static str = "dequantize_linear";
    const OPERANDS: &'static [Operand] = &[one("x"), one("x_scale"), optional("x_zero_point")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("block_size", &mut self.block_size)?;
        visitor.attr("output_dtype", &mut self.output_dtype)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        // Biases beside products of 16 bits are stored in 64.
        if !matches!(x.dtype, DType::I32 | DType::I64) {
            operands.one_of(0, STORED)?;
        }
        let scale = operands.one_of(1, SCALES)?;
        if operands.has(2) {
            operands.same_dtype(2, 0)?;
        }
        self.scale_axis().check(operands)?;
        let dtype = self.output_dtype.unwrap_or(scale.dtype);
        if matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Ok(single(dtype, x.shape.clone()));
        }
        let expected = "f32, f16 or bf16, stated where the scale is of another type".to_owned();
        Err(InferError::Attribute { attr: "output_dtype", found: dtype.to_string(), expected })
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, scale) = (operands.tensor(0)?, operands.tensor(1)?);
        let scales = scale.to_f32()?.into_owned();
        let zeros = zero_points(operands.optional(2), scales.len())?;
        let places = self.scale_axis().over(x.sizes(), scale.sizes())?;
        Affine { scales, zeros, places }.real(x, types[0].dtype).map(only)
    }
}

impl DequantizeLinear {
    fn scale_axis(&self) -> ScaleAxis {
        ScaleAxis { axis: self.axis, block_size: self.block_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn integers(dtype: DType, sizes: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_i64(dtype, sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn zero_points_come_off_before_scaling() {
        let x = integers(DType::U8, &[2, 2], &[0, 255, 3, 4]);
        let zero = integers(DType::U8, &[2], &[128, 0]);
        let y = evaluate(&DequantizeLinear::default().into(), &[&x, &tensor(&[2], &[0.5, 2.0]), &zero]);
        assert_eq!(y[0], tensor(&[2, 2], &[-64.0, 510.0, -62.5, 8.0]));
    }

    #[test]
    fn blocks_of_packed_integers() {
        let op = DequantizeLinear { axis: 0, block_size: 2, ..DequantizeLinear::default() };
        let x = integers(DType::I2, &[3, 1], &[-2, 1, -1]);
        let y = evaluate(&op.into(), &[&x, &tensor(&[2, 1], &[1.0, 10.0])]);
        assert_eq!(y[0], tensor(&[3, 1], &[-2.0, 1.0, -10.0]));
    }

    #[test]
    fn the_scale_gives_the_type_unless_it_cannot() {
        let x = integers(DType::I32, &[1], &[3]);
        let half = Tensor::from_f32(DType::F16, &[], &[0.5]).expect("one element");
        assert_eq!(
            evaluate(&DequantizeLinear::default().into(), &[&x, &half])[0],
            Tensor::from_f32(DType::F16, &[1], &[1.5]).expect("one element")
        );
        let power = Tensor::from_f32(DType::F8E8M0, &[], &[4.0]).expect("one element");
        assert!(refused(&DequantizeLinear::default().into(), &[&x, &power]).contains("`output_dtype`"));
        let op = DequantizeLinear { output_dtype: Some(DType::F32), ..DequantizeLinear::default() };
        assert_eq!(evaluate(&op.into(), &[&x, &power])[0], tensor(&[1], &[12.0]));
    }
}
