//! `matmul`: matrix product over the last two axes, the others broadcast together, as NumPy's `matmul`.
//!
//! `y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]`. A vector `a` is a row, a vector `b` a column, and the axis
//! added for it is not in the result.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, rules, single};
use super::sizes_of;
use crate::tensor::{Number, Tensor};
use crate::types::{Shape, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatMul;

impl OpDef for MatMul {
    const NAME: &'static str = "matmul";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (a, b) = (operands.ty(0)?, operands.same_dtype(1, 0)?);
        let (a_rank, b_rank) = (a.rank(), b.rank());
        if a_rank == 0 || b_rank == 0 {
            return Err(operands.mismatch(usize::from(a_rank > 0), "at least one axis"));
        }
        let inner = &b.shape[b_rank.saturating_sub(2)];
        operands.same_dim(1, inner, &a.shape[a_rank - 1])?;
        let batch = |shape: &Shape| shape.iter().take(shape.rank().saturating_sub(2)).cloned().collect::<Shape>();
        let mut result = rules::broadcast_pair(operands, 1, &batch(&a.shape), &batch(&b.shape))?;
        if a_rank > 1 {
            result.0.push(a.shape[a_rank - 2].clone());
        }
        if b_rank > 1 {
            result.0.push(b.shape[b_rank - 1].clone());
        }
        Ok(single(a.dtype, result))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_number!(types[0].dtype, T => multiply::<T>(operands.tensor(0)?, operands.tensor(1)?, &types[0]))
    }
}

fn multiply<T: Number>(a: &Tensor, b: &Tensor, ty: &TensorType) -> Result<Results, EvalError> {
    let _ = (a, b, sizes_of(ty)?, T::ONE);
    Err(EvalError::Unsupported("stub".into()))
}
