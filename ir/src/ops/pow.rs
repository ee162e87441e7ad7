//! `pow`: `y[i] = a[i] ^ b[i]`, operands broadcast together, the result of the type of `a`.
//!
//! An integer to an integer is computed in integers and wraps; a negative exponent gives the reciprocal rounded toward
//! zero, and 0 for a base of zero. Everything else is computed in `f64`; integer results are truncated.

use super::apply::ELEMENTWISE;
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only, rules};
use super::{single, sizes_of};
use crate::dtype::DType;
use crate::kernels::broadcast;
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pow;

impl OpDef for Pow {
    const NAME: &'static str = "pow";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let dtype = rules::number(operands, 0)?.dtype;
        rules::number(operands, 1)?;
        Ok(single(dtype, rules::broadcast(operands, &[0, 1])?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
        let sizes = sizes_of(&types[0])?;
        let result = with_number!(a.dtype(), T => {
            let bases = (&*a.to_compute::<T>()?, a.sizes());
            let values = if T::IS_FLOAT || b.dtype().is_float() {
                let exponents = b.to_f64()?;
                broadcast::zip(bases, (&exponents, b.sizes()), &sizes, |x: T, y| T::from_f64(real_power(x.to_f64(), y)))
            } else {
                let (exponents, unsigned) = (b.to_i64()?, b.dtype() == DType::U64);
                let exponents = (&*exponents, b.sizes());
                broadcast::zip(bases, exponents, &sizes, |x: T, y| match u64::try_from(y) {
                    Err(_) if !unsigned => reciprocal_power(x, y),
                    _ => integer_power(x, y.cast_unsigned()),
                })
            };
            Tensor::from_compute(a.dtype(), &sizes, values)
        });
        Ok(only(result?))
    }
}

/// Squares and cubes are so common that they are worth a shortcut; for `f32` bases it rounds no worse.
fn real_power(base: f64, exponent: f64) -> f64 {
    if exponent == 2.0 {
        base * base
    } else if exponent == 3.0 {
        base * base * base
    } else {
        libm::pow(base, exponent)
    }
}

fn integer_power<T: Number>(base: T, exponent: u64) -> T {
    let (mut power, mut square, mut rest) = (T::ONE, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            power = power.mul(square);
        }
        square = square.mul(square);
        rest >>= 1;
    }
    power
}

/// `1 / base^-exponent` rounded toward zero, for a negative exponent.
fn reciprocal_power<T: Number>(base: T, exponent: i64) -> T {
    if base == T::ONE {
        return base;
    }
    let negative_one = T::ONE.neg();
    if base < T::default() && base == negative_one {
        return if exponent % 2 == 0 { T::ONE } else { negative_one };
    }
    T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::evaluate;
    use crate::tensor::Element;

    fn power<A: Element, B: Element>(a: &[A], b: &[B]) -> Vec<A> {
        let a = Tensor::from_vec(&[a.len()], a.to_vec()).expect("a vector");
        let b = Tensor::from_vec(&[b.len()], b.to_vec()).expect("a vector");
        evaluate(&Pow.into(), &[&a, &b])[0].elements().expect("the type of the base").into_owned()
    }

    #[test]
    fn integers_stay_integers() {
        assert_eq!(power(&[3i64, -2, 0, 10], &[39i64, 3, 0, 64]), [4_052_555_153_018_976_267, -8, 1, 0]);
        assert_eq!(power(&[7u8], &[3u64]), [87]);
        assert_eq!(power(&[3u64], &[u64::MAX]), [12_297_829_382_473_034_411]);
    }

    #[test]
    fn negative_exponents_round_toward_zero() {
        assert_eq!(power(&[1i32, -1, -1, 2, 0], &[-1i32, -2, -3, -1, -1]), [1, 1, -1, 0, 0]);
        assert_eq!(power(&[u8::MAX], &[-1i8]), [0]);
    }

    #[test]
    fn mixed_types_are_computed_as_reals() {
        assert_eq!(power(&[2.0f32, 9.0, -8.0], &[-1i32, 2, 3]), [0.5, 81.0, -512.0]);
        assert_eq!(power(&[2i32, 9, 10], &[0.5f32, 0.5, -1.0]), [1, 3, 0]);
        assert_eq!(power(&[f32::NEG_INFINITY, -0.0, 4.0], &[0.5f32]), [f32::INFINITY, 0.0, 2.0]);
    }
}
