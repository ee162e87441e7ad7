//! Questions about single floating-point numbers; the results are truth values.

use super::apply::{ELEMENTWISE, test_numbers};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::types::TensorType;
use crate::with_float;

/// Whether `x` is not a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsNan;

impl OpDef for IsNan {
    const NAME: &'static str = "is_nan";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        Ok(single(DType::Bool, operands.float(0)?.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let dtype = operands.tensor(0)?.dtype();
        with_float!(dtype, T => test_numbers(operands, T::is_nan))
    }
}

/// Whether `x` is infinite.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IsInf {
    /// Whether minus infinity counts.
    pub detect_negative: bool,
    /// Whether plus infinity counts.
    pub detect_positive: bool,
}

impl Default for IsInf {
    fn default() -> Self {
        Self { detect_negative: true, detect_positive: true }
    }
}

impl OpDef for IsInf {
    const NAME: &'static str = "is_inf";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("detect_negative", &mut self.detect_negative)?;
        visitor.attr("detect_positive", &mut self.detect_positive)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        Ok(single(DType::Bool, operands.float(0)?.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let dtype = operands.tensor(0)?.dtype();
        with_float!(dtype, T => test_numbers(operands, |x: T| {
            (self.detect_negative && x == T::NEG_INFINITY) || (self.detect_positive && x == T::INFINITY)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, tensor};
    use crate::tensor::Tensor;

    #[test]
    fn only_the_asked_for_values_count() {
        let x = tensor(&[4], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        let answers = |op: Op| evaluate(&op, &[&x])[0].to_bools().expect("truth values");
        assert_eq!(answers(IsNan.into()), [true, false, false, false]);
        assert_eq!(answers(IsInf::default().into()), [false, true, true, false]);
        let positive = IsInf { detect_negative: false, detect_positive: true };
        assert_eq!(answers(positive.into()), [false, true, false, false]);
    }

    #[test]
    fn eight_bit_floats_have_their_own_codes() {
        // Infinity and NaN of f8e5m2; the all-ones code of f8e4m3fn, which is NaN.
        let wide = Tensor::from_codes(DType::F8E5M2, &[2], &[0x7C, 0x7F]).expect("two");
        let narrow = Tensor::from_codes(DType::F8E4M3FN, &[2], &[0x7F, 0x7E]).expect("two");
        assert_eq!(evaluate(&IsInf::default().into(), &[&wide])[0].to_bools().expect("truth"), [true, false]);
        assert_eq!(evaluate(&IsNan.into(), &[&narrow])[0].to_bools().expect("truth"), [true, false]);
    }
}
