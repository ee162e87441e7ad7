//! Elementwise operations of one operand: `y[i] = f(x[i])`.

use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only, single};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::{with_float, with_number};

const ELEMENTWISE: OpTraits = OpTraits::PURE.union(OpTraits::ELEMENTWISE);

/// Declares functions of floating-point numbers without attributes; the last column is the function, generic in the
/// compute type through `f64`.
macro_rules! float_functions {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $function:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x")];
            const TRAITS: OpTraits = ELEMENTWISE;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                let x = operands.float(0)?;
                Ok(single(x.dtype, x.shape.clone()))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                map_float(operands, &types[0], $function)
            }
        }
    )*};
}

float_functions! {
    /// `1 / (1 + exp(-x))`.
    Sigmoid = "sigmoid", |x| 1.0 / (1.0 + (-x).exp());
}

/// `max(x, 0)`, for integers too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relu;

impl OpDef for Relu {
    const NAME: &'static str = "relu";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        // Written so that NaN stays NaN.
        with_number!(types[0].dtype, T => {
            map_numbers::<T>(operands, &types[0], |x| if x < T::default() { T::default() } else { x })
        })
    }
}

/// `function` of each element in its compute type.
fn map_numbers<T: Number>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    function: impl Fn(T) -> T,
) -> Result<Results, EvalError> {
    let x = operands.tensor(0)?;
    let values = x.to_compute::<T>()?.iter().map(|value| function(*value)).collect();
    Ok(only(Tensor::from_compute(ty.dtype, x.sizes(), values)?))
}

/// `function` of each element, computed in `f64` and rounded to the compute type.
fn map_float(operands: &Inputs<'_>, ty: &TensorType, function: impl Fn(f64) -> f64) -> Result<Results, EvalError> {
    with_float!(ty.dtype, T => map_numbers::<T>(operands, ty, |x| T::from_f64(function(x.to_f64()))))
}
