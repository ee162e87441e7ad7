//! `matmul_integer`: matrix product of 8-bit integers less their zero points, summed in 32 bits.
//!
//! `y = (a - a_zero_point) . (b - b_zero_point)`, shapes as for `matmul`. A zero point is a single element, or one per
//! row of `a` and column of `b`. Sums that overflow wrap.

use super::centered::{Along, BYTES, centered, stretches_along};
use super::matmul::{as_columns, as_rows, product_shape};
use super::products::stacked;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional};
use super::{single, sizes_of};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatMulInteger;

impl OpDef for MatMulInteger {
    const NAME: &'static str = "matmul_integer";
    const OPERANDS: &'static [Operand] =
        &[one("a"), one("b"), optional("a_zero_point"), optional("b_zero_point")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        for (index, zero_point, along) in [(0, 2, Along::Rows), (1, 3, Along::Columns)] {
            let ty = operands.one_of(index, BYTES)?;
            if operands.has(zero_point) {
                operands.same_dtype(zero_point, index)?;
                stretches_along(operands, zero_point, &ty.shape, along)?;
            }
        }
        Ok(single(DType::I32, product_shape(operands, 0, 1)?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
        let sums = multiply((a, operands.optional(2)), (b, operands.optional(3)))?;
        Ok(only(Tensor::from_vec(&sizes_of(&types[0])?, sums)?))
    }
}

/// The sums of products of two operands less their zero points.
pub(crate) fn multiply(
    (a, a_zero_point): (&Tensor, Option<&Tensor>),
    (b, b_zero_point): (&Tensor, Option<&Tensor>),
) -> Result<Vec<i32>, EvalError> {
    let left = centered(a, a_zero_point, Along::Rows)?;
    let right = centered(b, b_zero_point, Along::Columns)?;
    Ok(stacked((&left, &as_rows(a.sizes())), (&right, &as_columns(b.sizes())))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused};

    fn bytes(sizes: &[usize], values: &[u8]) -> Tensor {
        Tensor::from_vec(sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn signs_may_differ_and_zero_points_too() {
        let a = bytes(&[2, 2], &[255, 0, 10, 20]);
        let b = Tensor::from_vec(&[2, 1], vec![-128i8, 127]).expect("two elements");
        let op = MatMulInteger.into();
        let integers = |values: &[i32]| Tensor::from_vec(&[2, 1], values.to_vec()).expect("two elements");
        assert_eq!(evaluate(&op, &[&a, &b])[0], integers(&[255 * -128, -1280 + 2540]));
        let per_row = evaluate(&op, &[&a, &b, &bytes(&[2], &[5, 10])]);
        assert_eq!(per_row[0], integers(&[250 * -128 - 5 * 127, 10 * 127]));
    }

    #[test]
    fn zero_points_must_match_the_rows() {
        let a = bytes(&[2, 2], &[0; 4]);
        assert!(refused(&MatMulInteger.into(), &[&a, &a, &bytes(&[3], &[0; 3])]).contains("`a_zero_point`"));
    }
}
