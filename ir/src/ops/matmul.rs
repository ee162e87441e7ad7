//! `matmul`: matrix product over the last two axes, the others broadcast together, as `matmul` of `NumPy`.
//!
//! `y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]`. A vector `a` is a row, a vector `b` a column, and the axis
//! added for it is not in the result. Integers wrap.

use super::products::{Term, stacked, with_term};
use super::sizes_of;
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single,
};
use crate::tensor::Sizes;
use crate::types::{Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatMul;

impl OpDef for MatMul {
    const NAME: &'static str = "matmul";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (a, _) = (rules::number(operands, 0)?, operands.same_dtype(1, 0)?);
        Ok(single(a.dtype, product_shape(operands, 0, 1)?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_term!(types[0].dtype, T => multiply::<T>(operands, &types[0]))
    }
}

fn multiply<T: Term>(operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
    let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
    let (rows, columns) = (as_rows(a.sizes()), as_columns(b.sizes()));
    let terms = stacked((&T::load(a)?, &rows), (&T::load(b)?, &columns))?;
    Ok(only(T::store(ty.dtype, &sizes_of(ty)?, terms)?))
}

/// The sizes of a left operand with a vector seen as a row.
pub(crate) fn as_rows(sizes: &[usize]) -> Sizes {
    if let [depth] = sizes { Sizes::from_slice(&[1, *depth]) } else { sizes.into() }
}

/// The sizes of a right operand with a vector seen as a column.
pub(crate) fn as_columns(sizes: &[usize]) -> Sizes {
    if let [depth] = sizes { Sizes::from_slice(&[*depth, 1]) } else { sizes.into() }
}

/// The shape of the product of the operands at `left` and `right`.
pub(crate) fn product_shape(operands: &Operands<'_>, left: usize, right: usize) -> Result<Shape, InferError> {
    let (a, b) = (&operands.ty(left)?.shape, &operands.ty(right)?.shape);
    let (a_rank, b_rank) = (a.rank(), b.rank());
    for (index, rank) in [(left, a_rank), (right, b_rank)] {
        if rank == 0 {
            return Err(operands.mismatch(index, "at least one axis"));
        }
    }
    let inner = &b[b_rank.saturating_sub(2)];
    operands.same_dim(right, inner, &a[a_rank - 1])?;
    let batch = |shape: &Shape| shape.iter().take(shape.rank().saturating_sub(2)).cloned().collect::<Shape>();
    let mut result = rules::broadcast_pair(operands, right, &batch(a), &batch(b))?;
    if a_rank > 1 {
        result.0.push(a[a_rank - 2].clone());
    }
    if b_rank > 1 {
        result.0.push(b[b_rank - 1].clone());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::{evaluate, refused, tensor};
    use crate::tensor::Tensor;

    #[test]
    fn a_vector_is_a_row_or_a_column() {
        let matrix = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let vector = tensor(&[2], &[10.0, 1.0]);
        assert_eq!(evaluate(&MatMul.into(), &[&matrix, &vector])[0], tensor(&[2], &[12.0, 34.0]));
        assert_eq!(evaluate(&MatMul.into(), &[&vector, &matrix])[0], tensor(&[2], &[13.0, 24.0]));
        assert_eq!(evaluate(&MatMul.into(), &[&vector, &vector])[0], tensor(&[], &[101.0]));
    }

    #[test]
    fn integers_wrap_in_their_own_width() {
        let large = Tensor::from_vec(&[1, 2], vec![u32::MAX, 2]).expect("two elements");
        let column = Tensor::from_vec(&[2, 1], vec![2u32, 3]).expect("two elements");
        let product = evaluate(&MatMul.into(), &[&large, &column]);
        assert_eq!(product[0], Tensor::from_vec(&[1, 1], vec![4u32]).expect("one element"));
    }

    #[test]
    fn half_precision_is_rounded_once() {
        // In f16, 2048 + 1 is 2048: adding ones one at a time would never leave 2048.
        let row = Tensor::from_f32(DType::F16, &[1, 3], &[2048.0, 1.0, 1.0]).expect("three elements");
        let ones = Tensor::from_f32(DType::F16, &[3, 1], &[1.0; 3]).expect("three elements");
        assert_eq!(evaluate(&MatMul.into(), &[&row, &ones])[0].to_f64().expect("numbers"), [2050.0]);
    }

    #[test]
    fn sizes_that_do_not_meet_are_refused() {
        let (a, b) = (tensor(&[2, 2], &[0.0; 4]), tensor(&[3, 1], &[0.0; 3]));
        assert!(refused(&MatMul.into(), &[&a, &b]).contains("`b`"));
        assert!(refused(&MatMul.into(), &[&a, &tensor(&[], &[1.0])]).contains("at least one axis"));
    }
}
