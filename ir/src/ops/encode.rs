//! `quantize` and `dequantize`: between real numbers and the integers that they are stored as, where the types say how.
//!
//! Both are the identity on real numbers. The result of `quantize` states an encoding, and the numbers are rounded to it;
//! of an operand that is quantized already it makes another encoding. The result of `dequantize` is real numbers, whatever
//! the operand is. `quantize_linear` and `dequantize_linear` do the same with scales that are operands.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::tensor::Tensor;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantize;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dequantize;

impl OpDef for Quantize {
    const NAME: &'static str = "quantize";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        same(operands)
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(Tensor::clone(operands.tensor(0)?)))
    }
}

impl OpDef for Dequantize {
    const NAME: &'static str = "dequantize";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        same(operands)
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        Ok(only(Tensor::clone(operands.tensor(0)?)))
    }
}

/// The real numbers stay what they are.
fn same(operands: &Operands<'_>) -> Result<Types, InferError> {
    let x = operands.float(0)?;
    Ok(single(x.dtype, x.shape.clone()))
}
