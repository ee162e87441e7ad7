//! Activation functions of neural networks: functions of one floating-point operand, `y[i] = f(x[i])`.

use super::apply::{ELEMENTWISE, map_numbers, map_real, real_functions};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::attr::{AttrError, AttrVisitor, F32Bits, attr_enum};
use crate::kernels::real::Real;
use crate::tensor::Number;
use crate::types::TensorType;
use crate::{with_float, with_number};

real_functions! {
    /// `1 / (1 + e^-x)`.
    Sigmoid = "sigmoid", |x| T::sigmoid_of(x);
    /// `log(1 + e^x)`, without overflow for large `x`.
    Softplus = "softplus", |x| x.max(0.0) + libm::log1p(T::exp_of(-x.abs()));
    /// `x / (1 + |x|)`.
    Softsign = "softsign", |x| x / (1.0 + x.abs());
    /// `x * tanh(softplus(x))`.
    Mish = "mish", |x| x * tanh_of_logarithm(T::exp_of(x.min(40.0)));
    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    HardSwish = "hard_swish", |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0);
    /// `max(0, min(1, alpha * x + beta))`.
    HardSigmoid = "hard_sigmoid" {
        /// The slope in the middle.
        alpha: 0.2,
        /// The value at 0.
        beta: 0.5,
    }, |x| (alpha * x + beta).clamp(0.0, 1.0);
    /// `x`, of negative numbers `alpha * x`.
    LeakyRelu = "leaky_relu" {
        /// The slope of the negative side.
        alpha: 0.01,
    }, |x| if x < 0.0 { alpha * x } else { x };
    /// `x`, of negative numbers `alpha * (e^x - 1)`.
    Elu = "elu" {
        /// What the negative side approaches, negated.
        alpha: 1.0,
    }, |x| if x < 0.0 { alpha * T::exp_m1_of(x) } else { x };
    /// `gamma * x`, of negative numbers `gamma * alpha * (e^x - 1)`.
    Selu = "selu" {
        /// What the negative side approaches before it is scaled, negated.
        alpha: 1.673_263_2,
        /// The slope of the positive side.
        gamma: 1.050_701,
    }, |x| gamma * if x < 0.0 { alpha * T::exp_m1_of(x) } else { x };
    /// `max(0, x) + min(0, alpha * (e^(x / alpha) - 1))`.
    Celu = "celu" {
        /// What the negative side approaches, negated.
        alpha: 1.0,
    }, |x| Number::larger(0.0, x) + Number::smaller(0.0, alpha * T::exp_m1_of(x / alpha));
    /// `x` above `alpha`, else 0.
    ThresholdedRelu = "thresholded_relu" {
        /// The threshold.
        alpha: 1.0,
    }, |x| if x > alpha { x } else { 0.0 };
    /// `x * sigmoid(alpha * x)`.
    Swish = "swish" {
        /// The factor inside of the sigmoid.
        alpha: 1.0,
    }, |x| x * T::sigmoid_of(alpha * x);
}

attr_enum! {
    /// How the distribution function in [`Gelu`] is computed.
    pub enum Approximation {
        /// By the error function.
        #[default]
        None = "none",
        /// By a hyperbolic tangent.
        Tanh = "tanh",
    }
}

/// `x` times the probability that a standard normal variable is below `x`: `x / 2 * (1 + erf(x / sqrt(2)))`, or nearly
/// that, `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gelu {
    /// Which formula.
    pub approximate: Approximation,
}

impl OpDef for Gelu {
    const NAME: &'static str = "gelu";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("approximate", &mut self.approximate)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => match self.approximate {
            Approximation::None => map_real::<T>(operands, &types[0], |x| {
                0.5 * x * T::erfc_of(-x * std::f64::consts::FRAC_1_SQRT_2)
            }),
            Approximation::Tanh => map_real::<T>(operands, &types[0], |x| {
                // (1 + tanh t) / 2 is the sigmoid of 2 t.
                x * T::sigmoid_of(TANH_SCALE * (x + 0.044_715 * x * x * x))
            }),
        })
    }
}

/// `2 * sqrt(2 / pi)`.
const TANH_SCALE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;

/// Pushes the middle of a distribution to zero: `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shrink {
    /// How far numbers move towards zero.
    pub bias: F32Bits,
    /// Up to which magnitude they become zero.
    pub lambd: F32Bits,
}

impl Default for Shrink {
    fn default() -> Self {
        Self { bias: F32Bits::from(0.0), lambd: F32Bits::from(0.5) }
    }
}

impl OpDef for Shrink {
    const NAME: &'static str = "shrink";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("bias", &mut self.bias)?;
        visitor.attr("lambd", &mut self.lambd)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = rules::number(operands, 0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (bias, lambd) = (f64::from(self.bias.get()), f64::from(self.lambd.get()));
        with_number!(types[0].dtype, T => map_numbers::<T>(operands, &types[0], |number| {
            let x = number.to_f64();
            T::from_f64(if x < -lambd { x + bias } else if x > lambd { x - bias } else { 0.0 })
        }))
    }
}

/// `tanh(log(1 + e))`, which is 1 to the last bit of a double from `e^40` on.
fn tanh_of_logarithm(e: f64) -> f64 {
    let above_one = e * (e + 2.0);
    above_one / (above_one + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, tensor};
    use crate::tensor::Tensor;

    fn reals(op: impl Into<Op>, x: &[f32]) -> Vec<f32> {
        evaluate(&op.into(), &[&tensor(&[x.len()], x)])[0].elements().expect("f32").into_owned()
    }

    /// The formula in `f64`, rounded.
    fn formula(x: &[f32], f: impl Fn(f64) -> f64) -> Vec<f32> {
        x.iter().map(|x| f(f64::from(*x)) as f32).collect()
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        let close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= expected.abs() * 1.2e-7;
        assert!(found.iter().zip(expected).all(close), "{found:?}, expected {expected:?}");
    }

    const X: &[f32] = &[-30.0, -4.0, -1.0, -0.01, 0.0, 0.01, 1.0, 4.0, 30.0];

    #[test]
    fn smooth_functions_follow_their_formulas() {
        assert_close(&reals(Softplus, X), &formula(X, |x| x.exp().ln_1p()));
        assert_close(&reals(Mish, X), &formula(X, |x| x * x.exp().ln_1p().tanh()));
        let swish = Swish { alpha: F32Bits::from(0.5) };
        assert_close(&reals(swish, X), &formula(X, |x| x / (1.0 + (-0.5 * x).exp())));
        assert_close(&reals(Elu { alpha: F32Bits::from(2.0) }, X), &formula(X, |x| if x < 0.0 { 2.0 * x.exp_m1() } else { x }));
    }

    #[test]
    fn large_arguments_do_not_overflow() {
        let far = [-1e30, -200.0, 200.0, 1e30];
        assert_eq!(reals(Softplus, &far), [0.0, 0.0, 200.0, 1e30]);
        assert_eq!(reals(Mish, &far)[1..], [-0.0, 200.0, 1e30]);
        assert_eq!(reals(Sigmoid, &far), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(reals(Gelu { approximate: Approximation::Tanh }, &far), [-0.0, -0.0, 200.0, 1e30]);
    }

    #[test]
    fn nan_stays_nan_except_where_the_definition_says_zero() {
        let ops: [Op; 7] = [
            Sigmoid.into(),
            Softplus.into(),
            Mish.into(),
            HardSigmoid::default().into(),
            HardSwish.into(),
            Celu::default().into(),
            Gelu::default().into(),
        ];
        assert!(ops.into_iter().all(|op| reals(op, &[f32::NAN])[0].is_nan()));
        assert_eq!(reals(ThresholdedRelu::default(), &[f32::NAN, 1.0, 1.5]), [0.0, 0.0, 1.5]);
    }

    #[test]
    fn the_two_gelus_are_near_and_precise_in_the_tail() {
        let exact = reals(Gelu::default(), X);
        let near = reals(Gelu { approximate: Approximation::Tanh }, X);
        assert!(exact.iter().zip(&near).all(|(a, b)| (a - b).abs() < 1e-3), "{exact:?}, {near:?}");
        // -4 * 3.167124e-5, the probability that a standard normal variable is below -4.
        assert_close(&exact[1..3], &[-1.266_849_7e-4, -0.158_655_25]);
    }

    #[test]
    fn piecewise_functions() {
        assert_eq!(reals(HardSigmoid::default(), &[-3.0, 0.0, 3.0]), [0.0, 0.5, 1.0]);
        assert_eq!(reals(HardSwish, &[-3.0, 0.0, 1.5, 3.0]), [0.0, 0.0, 1.125, 3.0]);
        assert_eq!(reals(LeakyRelu { alpha: F32Bits::from(0.5) }, &[-2.0, 2.0]), [-1.0, 2.0]);
        let shrink = Shrink { bias: F32Bits::from(1.5), lambd: F32Bits::from(1.5) };
        assert_eq!(reals(shrink.clone(), &[-2.0, -1.5, 0.0, 2.0]), [-0.5, 0.0, 0.0, 0.5]);
        let integers = Tensor::from_vec(&[3], vec![-2i32, 1, 5]).expect("three");
        assert_eq!(evaluate(&shrink.into(), &[&integers])[0].to_i64().expect("integers"), [0, 0, 3]);
    }
}
