//! One operation on tensors, without a graph around it.

use crate::ops::{EvalError, Fact, InferError, Inputs, Op, Operands, Results, Types};
use crate::tensor::Tensor;
use crate::types::Known;

/// What `op` computes of `operands` by its reference semantics: one tensor for each operand that it can have, `None` for those
/// that are left out.
///
/// # Errors
/// When the operands do not fit the operation, or have elements for which it is not defined.
///
/// ```
/// use quad_ir::interpret::compute;
/// use quad_ir::ops::Transpose;
/// use quad_ir::tensor::Tensor;
///
/// let x = Tensor::from_vec(&[2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let results = compute(&Transpose { perm: None }.into(), &[Some(x)])?;
/// assert_eq!(*results[0].to_f32()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn compute(op: &Op, operands: &[Option<Tensor>]) -> Result<Results, EvalError> {
    let types = infer_run_time(op, operands)?;
    op.def().eval(&Inputs::new(op.def().operands(), operands), &types)
}

/// Result types of `op` for operands whose elements are all there.
pub(crate) fn infer_run_time(op: &Op, tensors: &[Option<Tensor>]) -> Result<Types, InferError> {
    let fact = |tensor: &Tensor| Fact { ty: tensor.ty(), known: Some(Known::Constant(tensor.clone())) };
    let facts: Vec<Option<Fact>> = tensors.iter().map(|tensor| tensor.as_ref().map(fact)).collect();
    infer_with(op, &facts)
}

/// Result types of `op` for operands of which `facts` are known.
pub(crate) fn infer_with(op: &Op, facts: &[Option<Fact>]) -> Result<Types, InferError> {
    let types = op.def().infer(&Operands::new(op.def().operands(), facts, 0))?;
    match types.iter().find(|ty| !ty.is_representable()) {
        Some(ty) => Err(InferError::TooLarge { ty: ty.to_string() }),
        None => Ok(types),
    }
}
