//! `cum_sum` and `cum_prod`: the sum or product of all elements up to each one, along an axis.
//!
//! `axis` is a single integer operand. Floats are accumulated in `f64`, and each result is rounded; integers wrap.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::along_axis::map_along;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, TensorType};
use crate::with_number;

/// Declares the two: start and step in floats, start and step in integers.
macro_rules! running {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $start:literal, $float:expr, $integer:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Whether an element is left out of its own result.
            pub exclusive: bool,
            /// Whether accumulation starts at the end of the axis.
            pub reverse: bool,
        }

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x"), one("axis")];

            fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
                visitor.attr("exclusive", &mut self.exclusive)?;
                visitor.attr("reverse", &mut self.reverse)
            }

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                infer(operands)
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                let (x, axis) = (operands.tensor(0)?, operands.tensor(1)?.to_i64()?);
                let axis = axis.first().map_or(Ok(0), |axis| rules::axis("axis", *axis, x.rank()))?;
                let order = Order { exclusive: self.exclusive, reverse: self.reverse };
                let result = with_number!(types[0].dtype, T => {
                    let values = map_along(&x.to_compute::<T>()?, x.sizes(), axis, x.sizes()[axis], &|line, result| {
                        if T::IS_FLOAT {
                            order.run(line, result, f64::from($start), |sum, x: T| $float(sum, x.to_f64()), T::from_f64);
                        } else {
                            order.run(line, result, i64::from($start), |sum, x: T| $integer(sum, x.to_i64()), T::from_i64);
                        }
                    });
                    Tensor::from_compute(x.dtype(), x.sizes(), values)?
                });
                Ok(only(result))
            }
        }
    )*};
}

running! {
    /// The sum of all elements up to each one.
    CumSum = "cum_sum", 0i32, |sum: f64, x: f64| sum + x, i64::wrapping_add;
    /// The product of all elements up to each one.
    CumProd = "cum_prod", 1i32, |product: f64, x: f64| product * x, i64::wrapping_mul;
}

fn infer(operands: &Operands<'_>) -> Result<Types, InferError> {
    let x = rules::number(operands, 0)?;
    let axis = operands.one_of(1, &[DType::I64, DType::I32])?;
    if axis.shape.iter().any(|dim| *dim != Dim::Known(1)) {
        return Err(operands.mismatch(1, "a single integer"));
    }
    if x.rank() == 0 {
        return Err(operands.mismatch(0, "at least one axis"));
    }
    if let Some(axis) = operands.integers(1).and_then(|axis| axis.first().copied()) {
        rules::axis("axis", axis, x.rank())?;
    }
    Ok(single(x.dtype, x.shape.clone()))
}

/// In which order elements are accumulated, and when the result is taken.
struct Order {
    exclusive: bool,
    reverse: bool,
}

impl Order {
    fn run<T: Copy, A: Copy>(
        &self,
        line: &[T],
        result: &mut [T],
        start: A,
        step: impl Fn(A, T) -> A,
        finish: impl Fn(A) -> T,
    ) {
        let mut sum = start;
        for place in 0..line.len() {
            let place = if self.reverse { line.len() - 1 - place } else { place };
            let before = sum;
            sum = step(sum, line[place]);
            result[place] = finish(if self.exclusive { before } else { sum });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn running(op: impl Into<Op>, x: &Tensor, axis: i64) -> Vec<f64> {
        evaluate(&op.into(), &[x, &Tensor::scalar(axis)])[0].to_f64().expect("numbers")
    }

    #[test]
    fn all_four_orders() {
        let x = tensor(&[3], &[1.0, 2.0, 3.0]);
        let sum = |exclusive, reverse| running(CumSum { exclusive, reverse }, &x, 0);
        assert_eq!(sum(false, false), [1.0, 3.0, 6.0]);
        assert_eq!(sum(true, false), [0.0, 1.0, 3.0]);
        assert_eq!(sum(false, true), [6.0, 5.0, 3.0]);
        assert_eq!(sum(true, true), [5.0, 3.0, 0.0]);
        let product = |exclusive, reverse| running(CumProd { exclusive, reverse }, &x, 0);
        assert_eq!(product(false, false), [1.0, 2.0, 6.0]);
        assert_eq!(product(true, true), [6.0, 3.0, 1.0]);
    }

    #[test]
    fn the_axis_may_count_from_the_end() {
        let x = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(running(CumSum::default(), &x, -2), [1.0, 2.0, 4.0, 6.0]);
        assert_eq!(running(CumSum::default(), &x, -1), [1.0, 3.0, 3.0, 7.0]);
        let refused = refused(&CumSum::default().into(), &[&x, &Tensor::scalar(2i64)]);
        assert_eq!(refused, "attribute `axis`: 2 does not fit, expected an axis from -2 to 1");
    }

    #[test]
    fn integers_wrap() {
        let x = Tensor::from_vec(&[3], vec![i64::MAX, 1, 1]).expect("three");
        let sums = evaluate(&CumSum::default().into(), &[&x, &Tensor::scalar(0i64)]);
        assert_eq!(sums[0].to_i64().expect("integers"), [i64::MAX, i64::MIN, i64::MIN + 1]);
    }
}
