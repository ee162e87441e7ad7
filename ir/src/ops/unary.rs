//! Functions of one operand that every calculator has: `y[i] = f(x[i])`.

use super::apply::{ELEMENTWISE, map_numbers, real_functions};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::kernels::real::Real;
use crate::tensor::Number;
use crate::types::TensorType;
use crate::with_number;

real_functions! {
    /// Square root; NaN of negative numbers.
    Sqrt = "sqrt", |x| x.sqrt();
    /// `1 / x`.
    Reciprocal = "reciprocal", |x| 1.0 / x;
    /// `e^x`.
    Exp = "exp", |x| T::exp_of(x);
    /// Natural logarithm; NaN of negative numbers.
    Log = "log", |x| libm::log(x);
    /// The largest integer that is not above `x`.
    Floor = "floor", |x| x.floor();
    /// The smallest integer that is not below `x`.
    Ceil = "ceil", |x| x.ceil();
    /// The nearest integer; the even one of two that are equally near.
    Round = "round", |x| x.round_ties_even();
    /// Sine of an angle in radians.
    Sin = "sin", |x| libm::sin(x);
    /// Cosine of an angle in radians.
    Cos = "cos", |x| libm::cos(x);
    /// Tangent of an angle in radians.
    Tan = "tan", |x| libm::tan(x);
    /// The angle in `[-pi / 2, pi / 2]` whose sine is `x`.
    Asin = "asin", |x| libm::asin(x);
    /// The angle in `[0, pi]` whose cosine is `x`.
    Acos = "acos", |x| libm::acos(x);
    /// The angle in `[-pi / 2, pi / 2]` whose tangent is `x`.
    Atan = "atan", |x| libm::atan(x);
    /// Hyperbolic sine.
    Sinh = "sinh", |x| libm::sinh(x);
    /// Hyperbolic cosine.
    Cosh = "cosh", |x| libm::cosh(x);
    /// Hyperbolic tangent.
    Tanh = "tanh", |x| T::tanh_of(x);
    /// Inverse of the hyperbolic sine.
    Asinh = "asinh", |x| libm::asinh(x);
    /// Inverse of the hyperbolic cosine; NaN below 1.
    Acosh = "acosh", |x| libm::acosh(x);
    /// Inverse of the hyperbolic tangent; NaN beyond 1 in magnitude.
    Atanh = "atanh", |x| libm::atanh(x);
    /// The error function, `2 / sqrt(pi)` times the integral of `e^(-t^2)` from 0 to `x`.
    Erf = "erf", |x| T::erf_of(x);
}

/// Declares functions of numbers of any type, integers included.
macro_rules! number_functions {
    ($($(#[$doc:meta])* $name:ident = $word:literal, |$x:ident| $function:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x")];
            const TRAITS: OpTraits = ELEMENTWISE;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                let x = rules::number(operands, 0)?;
                Ok(single(x.dtype, x.shape.clone()))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                with_number!(types[0].dtype, T => map_numbers::<T>(operands, &types[0], |$x| $function))
            }
        }
    )*};
}

number_functions! {
    /// `x` without its sign; the smallest signed integer stays as it is.
    Abs = "abs", |x| x.magnitude();
    /// `-x`; integers wrap.
    Neg = "neg", |x| x.neg();
    /// 1 of positive numbers, -1 of negative ones; zeros and NaN stay as they are.
    Sign = "sign", |x| sign(x);
    /// `max(x, 0)`; NaN stays NaN.
    Relu = "relu", |x| if x < T::default() { T::default() } else { x };
}

fn sign<T: Number>(x: T) -> T {
    if x > T::default() {
        T::ONE
    } else if x < T::default() {
        T::ONE.neg()
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};
    use crate::tensor::Tensor;

    fn reals(op: impl Into<Op>, x: &[f32]) -> Vec<f32> {
        evaluate(&op.into(), &[&tensor(&[x.len()], x)])[0].elements().expect("f32").into_owned()
    }

    #[test]
    fn halves_round_to_even() {
        let x = [0.5, 1.5, 2.5, -0.5, -1.5, 2.4, f32::INFINITY];
        assert_eq!(reals(Round, &x), [0.0, 2.0, 2.0, -0.0, -2.0, 2.0, f32::INFINITY]);
    }

    #[test]
    fn functions_outside_their_domain_are_nan() {
        assert!(reals(Sqrt, &[-1.0])[0].is_nan());
        assert!(reals(Log, &[-1.0])[0].is_nan());
        assert!(reals(Acosh, &[0.5])[0].is_nan());
        assert_eq!(reals(Log, &[0.0, 1.0]), [f32::NEG_INFINITY, 0.0]);
        assert!(reals(Relu, &[f32::NAN])[0].is_nan());
        assert!(reals(Sign, &[f32::NAN])[0].is_nan());
    }

    #[test]
    fn known_values() {
        assert_eq!(reals(Erf, &[0.0, 1.0, -6.0]), [0.0, 0.842_700_8, -1.0]);
        assert_eq!(reals(Tanh, &[0.0, 0.05, 0.5, 9.5]), [0.0, 0.049_958_375, 0.462_117_16, 1.0]);
        assert_eq!(reals(Atan, &[f32::INFINITY]), [std::f32::consts::FRAC_PI_2]);
        assert_eq!(reals(Exp, &[1.0, -200.0, 200.0]), [std::f32::consts::E, 0.0, f32::INFINITY]);
    }

    #[test]
    fn integers_wrap() {
        let x = Tensor::from_vec(&[3], vec![i8::MIN, -3, 5]).expect("three");
        let integers = |op: Op| evaluate(&op, &[&x])[0].elements::<i8>().expect("i8").into_owned();
        assert_eq!(integers(Abs.into()), [i8::MIN, 3, 5]);
        assert_eq!(integers(Neg.into()), [i8::MIN, 3, -5]);
        assert_eq!(integers(Sign.into()), [-1, -1, 1]);
    }

    #[test]
    fn truth_values_are_no_numbers() {
        let x = Tensor::zeros(DType::Bool, &[1]).expect("small");
        assert_eq!(refused(&Neg.into(), &[&x]), "operand `x`: bool[1] does not fit, expected numbers");
    }
}
