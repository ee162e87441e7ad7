//! Arithmetic of two operands: `y[i] = f(a[i], b[i])`, operands broadcast together.

use super::apply::{ELEMENTWISE, SYMMETRIC, zip_numbers};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::broadcast;
use crate::tensor::{Number, Sizes};
use crate::types::{DimExpr, SymTensor, TensorType};
use crate::with_number;

/// Declares arithmetic operations: two operands of one type, a result of that type.
///
/// The last column is the same arithmetic on polynomials of symbolic sizes; `None` where it is none.
macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $traits:expr, $compute:expr, $symbolic:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
            const TRAITS: OpTraits = $traits;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                infer_arithmetic(operands)
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                with_number!(types[0].dtype, T => zip_numbers::<T>(operands, &types[0], $compute))
            }

            fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
                zip_symbolic(operands, $symbolic)
            }
        }
    )*};
}

arithmetic! {
    /// `a + b`; integers wrap.
    Add = "add", SYMMETRIC, Number::add, DimExpr::add;
    /// `a - b`; integers wrap.
    Sub = "sub", ELEMENTWISE, Number::sub, DimExpr::sub;
    /// `a * b`; integers wrap.
    Mul = "mul", SYMMETRIC, Number::mul, DimExpr::mul;
    /// `a / b`; integers round toward zero, and a division by zero gives 0.
    Div = "div", ELEMENTWISE, Number::div, DimExpr::div_exact;
    /// The smaller one of `a` and `b`; NaN when either is.
    Min = "min", SYMMETRIC, Number::smaller, |_, _| None;
    /// The larger one of `a` and `b`; NaN when either is.
    Max = "max", SYMMETRIC, Number::larger, |_, _| None;
}

/// The remainder of `a / b`; of integers divided by zero, 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mod {
    /// Whether the quotient is rounded toward zero, so that the remainder has the sign of `a`. Otherwise it is rounded
    /// down, and the remainder has the sign of `b`.
    pub fmod: bool,
}

impl OpDef for Mod {
    const NAME: &'static str = "mod";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("fmod", &mut self.fmod)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        infer_arithmetic(operands)
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_number!(types[0].dtype, T => {
            if self.fmod {
                zip_numbers::<T>(operands, &types[0], Number::rem)
            } else {
                zip_numbers::<T>(operands, &types[0], floor_remainder)
            }
        })
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        // Where the quotient is exact, so that both roundings agree, nothing is left.
        zip_symbolic(operands, |a, b| a.div_exact(b).map(|_| DimExpr::constant(0)))
    }
}

fn infer_arithmetic(operands: &Operands<'_>) -> Result<Types, InferError> {
    rules::number(operands, 0)?;
    let dtype = operands.same_dtype(1, 0)?.dtype;
    Ok(single(dtype, rules::broadcast(operands, &[0, 1])?))
}

/// The remainder of a quotient that is rounded down: it has the sign of `b`, zeros included.
fn floor_remainder<T: Number>(a: T, b: T) -> T {
    let (zero, remainder) = (T::default(), a.rem(b));
    if remainder == zero {
        // An integer zero has no sign to lose.
        return if b < zero { zero.neg() } else { zero };
    }
    if (remainder < zero) == (b < zero) { remainder } else { remainder.add(b) }
}

/// Arithmetic on symbolic elements; `None` where an element does not stay a polynomial.
fn zip_symbolic(
    operands: &Operands<'_>,
    combine: impl Fn(&DimExpr, &DimExpr) -> Option<DimExpr> + Sync,
) -> Option<SymTensor> {
    let (a, b) = (operands.symbolic(0)?, operands.symbolic(1)?);
    let shape = rules::broadcast(operands, &[0, 1]).ok()?.as_known()?;
    let sizes: Sizes = shape.iter().map(|size| *size as usize).collect();
    let (left, right): (Vec<_>, Vec<_>) = (a.elements.iter().collect(), b.elements.iter().collect());
    let elements = broadcast::zip((&left, &a.sizes), (&right, &b.sizes), &sizes, combine);
    Some(SymTensor { dtype: a.dtype, sizes, elements: elements.into_iter().collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused};
    use crate::tensor::{Element, Tensor};

    fn combined<T: Element>(op: impl Into<Op>, a: &[T], b: &[T]) -> Vec<T> {
        let vector = |elements: &[T]| Tensor::from_vec(&[elements.len()], elements.to_vec()).expect("a vector");
        evaluate(&op.into(), &[&vector(a), &vector(b)])[0].elements().expect("the same type").into_owned()
    }

    #[test]
    fn integers_wrap_and_never_fail() {
        assert_eq!(combined(Add, &[i8::MAX], &[1]), [i8::MIN]);
        assert_eq!(combined(Mul, &[200u8], &[2]), [144]);
        assert_eq!(combined(Div, &[i64::MIN, 7, -7, 5], &[-1, 2, 2, 0]), [i64::MIN, 3, -3, 0]);
        assert_eq!(combined(Mod::default(), &[i64::MIN, 5], &[-1, 0]), [0, 0]);
    }

    #[test]
    fn remainders_take_the_sign_that_the_attribute_says() {
        let (a, b) = ([-4i32, 7, 5, 4, -7, 8], [2, -3, 8, -2, 3, 5]);
        assert_eq!(combined(Mod::default(), &a, &b), [0, -2, 5, 0, 2, 3]);
        assert_eq!(combined(Mod { fmod: true }, &a, &b), [0, 1, 5, 0, -1, 3]);
        let (a, b) = ([-4.3f32, 7.2, -1.0, 1.0], [2.1, -3.4, f32::INFINITY, f32::NEG_INFINITY]);
        let floored = combined(Mod::default(), &a, &b);
        assert_eq!(floored[2..], [f32::INFINITY, f32::NEG_INFINITY]);
        assert!((floored[0] - 2.0).abs() < 1e-6 && (floored[1] + 3.0).abs() < 1e-6, "{floored:?}");
        assert_eq!(combined(Mod { fmod: true }, &a, &b)[2..], [-1.0, 1.0]);
    }

    #[test]
    fn a_zero_remainder_has_the_sign_of_the_divisor() {
        let zeros = combined(Mod::default(), &[0.0f32, -0.0, 4.0], &[-1.0, 1.0, -2.0]);
        let negative: Vec<bool> = zeros.iter().map(|zero| zero.is_sign_negative()).collect();
        assert_eq!(negative, [true, false, true]);
        assert!(combined(Mod::default(), &[1.0f32, f32::INFINITY], &[0.0, 2.0]).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn extremes_keep_nan() {
        let (a, b) = ([1.0f32, f32::NAN, 2.0], [2.0, 1.0, f32::NAN]);
        assert_eq!(combined(Max, &a, &b)[0], 2.0);
        assert_eq!(combined(Min, &a, &b)[0], 1.0);
        assert!(combined(Max, &a, &b)[1..].iter().chain(&combined(Min, &a, &b)[1..]).all(|x| x.is_nan()));
    }

    #[test]
    fn operands_must_be_numbers_of_one_type() {
        let (floats, integers) = (Tensor::scalar(1.0f32), Tensor::scalar(1i64));
        assert_eq!(
            refused(&Add.into(), &[&floats, &integers]),
            "operand `b`: i64[] does not fit, expected elements of f32 like operand `a`"
        );
        let truth = Tensor::zeros(DType::Bool, &[]).expect("small");
        assert_eq!(refused(&Add.into(), &[&truth, &truth]), "operand `a`: bool[] does not fit, expected numbers");
    }
}
