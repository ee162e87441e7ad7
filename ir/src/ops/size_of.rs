//! `size_of`: the number of elements of a tensor as an `i64` without axes.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::dtype::DType;
use crate::tensor::{Sizes, Tensor};
use crate::types::{Shape, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeOf;

impl OpDef for SizeOf {
    const NAME: &'static str = "size_of";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        operands.ty(0)?;
        Ok(single(DType::I64, Shape::default()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(Tensor::scalar(operands.tensor(0)?.len() as i64)))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        let elements = operands.ty(0).ok()?.shape.elements()?;
        Some(SymTensor { dtype: DType::I64, sizes: Sizes::new(), elements: vec![elements] })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run_one};
    use super::*;

    #[test]
    fn elements_are_counted() {
        assert_eq!(run_one(SizeOf, &[floats(&[2, 3])]), (vec![], vec![6]));
        assert_eq!(run_one(SizeOf, &[floats(&[2, 0])]), (vec![], vec![0]));
        assert_eq!(run_one(SizeOf, &[floats(&[])]), (vec![], vec![1]));
    }
}
