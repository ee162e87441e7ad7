//! `quantize_linear`: from real numbers to stored ones, `y = saturate(round(x / y_scale) + y_zero_point)`.
//!
//! A scale is for the whole of `x`, for each index along `axis`, or for each block of `block_size` along `axis`; zero
//! points are as many. The quotient is formed in the type `precision` or else that of the scale. Halves round to even.
//! The result is of `output_dtype`, else of the type of the zero point, else `u8`. NaN becomes the integer 0.

use super::granularity::ScaleAxis;
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::quantized::affine::{Affine, rounded};
use crate::tensor::{Tensor, TensorError};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuantizeLinear {
    /// The axis along which scales differ, if there are several; negative ones count from the end.
    pub axis: i64,
    /// Whether numbers out of the range of an 8-bit float become its largest instead of infinity or NaN.
    pub saturate: bool,
    /// Elements along the axis that share a scale, 0 for one scale per index.
    pub block_size: i64,
    /// The element type of the result.
    pub output_dtype: Option<DType>,
    /// The type in which the quotient is formed: `f32`, `f16` or `bf16`.
    pub precision: Option<DType>,
}

impl Default for QuantizeLinear {
    fn default() -> Self {
        Self { axis: 1, saturate: true, block_size: 0, output_dtype: None, precision: None }
    }
}

/// The element types of numbers that are quantized.
const REAL: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::I32];

/// The element types of scales.
pub(crate) const SCALES: &[DType] = &[DType::F32, DType::F16, DType::BF16, DType::F8E8M0];

/// The element types of stored numbers.
pub(crate) const STORED: &[DType] = &[
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::I4,
    DType::U4,
    DType::I2,
    DType::U2,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F4E2M1,
];

impl OpDef for QuantizeLinear {
    const NAME: &'static str = "quantize_linear";
    const OPERANDS: &'static [Operand] = &[one("x"), one("y_scale"), optional("y_zero_point")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("saturate", &mut self.saturate)?;
        visitor.attr("block_size", &mut self.block_size)?;
        visitor.attr("output_dtype", &mut self.output_dtype)?;
        visitor.attr("precision", &mut self.precision)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.one_of(0, REAL)?;
        operands.one_of(1, SCALES)?;
        self.scale_axis().check(operands)?;
        let stored = if operands.has(2) { Some(operands.one_of(2, STORED)?.dtype) } else { None };
        let dtype = match (self.output_dtype, stored) {
            (Some(wanted), Some(stored)) if wanted != stored => {
                return Err(operands.mismatch(2, format!("elements of {wanted} as `output_dtype` says")));
            }
            (wanted, stored) => wanted.or(stored).unwrap_or(DType::U8),
        };
        let attribute = |attr, found: DType, expected: &str| {
            Err(InferError::Attribute { attr, found: found.to_string(), expected: expected.to_owned() })
        };
        if !STORED.contains(&dtype) {
            return attribute("output_dtype", dtype, "an integer of at most 16 bits or a float of at most 8");
        }
        match self.precision {
            Some(other) if !matches!(other, DType::F32 | DType::F16 | DType::BF16) => {
                attribute("precision", other, "f32, f16 or bf16")
            }
            _ => Ok(single(dtype, x.shape.clone())),
        }
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let dtype = types[0].dtype;
        let (x, scale) = (operands.tensor(0)?, operands.tensor(1)?);
        let precision = self.precision.unwrap_or(scale.dtype());
        let scales = rounded(scale, precision)?;
        let zeros = zero_points(operands.optional(2), scales.len())?;
        let places = self.scale_axis().over(x.sizes(), scale.sizes())?;
        Affine { scales, zeros, places }.store(x, precision, (dtype, self.saturate)).map(only)
    }
}

impl QuantizeLinear {
    fn scale_axis(&self) -> ScaleAxis {
        ScaleAxis { axis: self.axis, block_size: self.block_size }
    }
}

/// Zero points; 0 where there are none.
pub(crate) fn zero_points(given: Option<&Tensor>, count: usize) -> Result<Vec<f64>, TensorError> {
    given.map_or_else(|| Ok(vec![0.0; count]), Tensor::to_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn integers(dtype: DType, sizes: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_i64(dtype, sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn halves_round_to_even_before_the_zero_point_is_added() {
        let x = tensor(&[6], &[1.0, 3.0, -1.0, 1e9, -1e9, f32::NAN]);
        let y = evaluate(
            &QuantizeLinear::default().into(),
            &[&x, &tensor(&[], &[2.0]), &integers(DType::I8, &[], &[1])],
        );
        assert_eq!(y[0], integers(DType::I8, &[6], &[1, 3, 1, 127, -128, 0]));
    }

    #[test]
    fn each_index_has_its_scale() {
        let x = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let y = evaluate(&QuantizeLinear::default().into(), &[&x, &tensor(&[2], &[1.0, 0.5])]);
        assert_eq!(y[0], integers(DType::U8, &[2, 2], &[1, 4, 3, 8]));
    }

    #[test]
    fn blocks_share_a_scale() {
        let op = QuantizeLinear { block_size: 2, output_dtype: Some(DType::I4), ..QuantizeLinear::default() };
        let x = tensor(&[1, 3], &[1.0, 2.0, 3.0]);
        let y = evaluate(&op.clone().into(), &[&x, &tensor(&[1, 2], &[1.0, 0.1])]);
        assert_eq!(y[0], integers(DType::I4, &[1, 3], &[1, 2, 7]));
        assert!(refused(&op.into(), &[&x, &tensor(&[1, 3], &[1.0; 3])]).contains("`y_scale`"));
    }

    #[test]
    fn the_quotient_is_rounded_to_its_precision() {
        // In f16 the quotient 2.4995 is 2.5, which rounds to 2; 3.4995 becomes 3.5 and rounds to 4.
        let op = QuantizeLinear { precision: Some(DType::F16), ..QuantizeLinear::default() };
        let (x, scale) = (tensor(&[2], &[2.4995, 3.4995]), tensor(&[], &[1.0]));
        assert_eq!(evaluate(&op.into(), &[&x, &scale])[0], integers(DType::U8, &[2], &[2, 4]));
        let exact = evaluate(&QuantizeLinear::default().into(), &[&x, &scale]);
        assert_eq!(exact[0], integers(DType::U8, &[2], &[2, 3]));
    }

    #[test]
    fn floats_saturate_where_asked() {
        let (x, scale) = (tensor(&[2], &[1e6, -0.0]), tensor(&[], &[1.0]));
        let op = |saturate| QuantizeLinear {
            saturate,
            output_dtype: Some(DType::F8E4M3FN),
            ..QuantizeLinear::default()
        };
        assert_eq!(evaluate(&op(true).into(), &[&x, &scale])[0].to_f64().expect("numbers"), [448.0, 0.0]);
        assert!(evaluate(&op(false).into(), &[&x, &scale])[0].to_f64().expect("numbers")[0].is_nan());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = tensor(&[2, 2], &[0.0; 4]);
        let default = || QuantizeLinear::default().into();
        assert!(refused(&default(), &[&x, &tensor(&[3], &[1.0; 3])]).contains("`y_scale`"));
        let zero = integers(DType::U8, &[2], &[0, 0]);
        assert!(refused(&default(), &[&x, &tensor(&[], &[1.0]), &zero]).contains("`y_zero_point`"));
        let wide = QuantizeLinear { output_dtype: Some(DType::I64), ..QuantizeLinear::default() };
        assert!(refused(&wide.into(), &[&x, &tensor(&[], &[1.0])]).contains("`output_dtype`"));
        let negative = QuantizeLinear { block_size: -1, ..QuantizeLinear::default() };
        assert!(refused(&negative.into(), &[&x, &tensor(&[2], &[1.0; 2])]).contains("`block_size`"));
    }
}
