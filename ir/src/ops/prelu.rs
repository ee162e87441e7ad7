//! `prelu`: `y[i] = x[i]`, of negative numbers `slope[i] * x[i]`, `slope` stretched to the sizes of `x`.

use super::apply::{ELEMENTWISE, zip_numbers};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::tensor::Number;
use crate::types::TensorType;
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PRelu;

impl OpDef for PRelu {
    const NAME: &'static str = "prelu";
    const OPERANDS: &'static [Operand] = &[one("x"), one("slope")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = rules::number(operands, 0)?;
        operands.same_dtype(1, 0)?;
        rules::stretches_to(operands, 1, &x.shape)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_number!(types[0].dtype, T => zip_numbers::<T>(operands, &types[0], |x, slope| {
            if x < T::default() { x.mul(slope) } else { x }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn each_channel_has_its_slope() {
        let x = tensor(&[1, 2, 2], &[-1.0, 2.0, -3.0, f32::NAN]);
        let y = evaluate(&PRelu.into(), &[&x, &tensor(&[2, 1], &[0.5, 10.0])]);
        let y = y[0].elements::<f32>().expect("f32");
        assert_eq!(y[..3], [-0.5, 2.0, -30.0]);
        assert!(y[3].is_nan());
    }

    #[test]
    fn the_slope_may_not_be_larger() {
        let refused = refused(&PRelu.into(), &[&tensor(&[2], &[1.0; 2]), &tensor(&[3, 2], &[1.0; 6])]);
        assert_eq!(refused, "operand `slope`: f32[3, 2] does not fit, expected sizes that stretch to [2]");
    }
}
