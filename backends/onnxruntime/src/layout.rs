//! Channels first, as the runtime has them.

use quad_ir::interpret::compute;
use quad_ir::ops::layout::{AxisOrder, DataLayout, Role, layout_of, with_layout};
use quad_ir::ops::{EvalError, Op, Transpose};
use quad_ir::tensor::Tensor;

use crate::Computed;

/// What `kernel`, which is for channels first, computes for `op`.
pub(crate) fn channels_first(
    op: &Op,
    operands: &[Option<Tensor>],
    kernel: impl FnOnce(&Op, &[Option<Tensor>]) -> Computed,
) -> Computed {
    let (layout, roles) = layout_of(op)?;
    if layout == DataLayout::Nchw {
        return kernel(op, operands);
    }
    let mut first = operands.to_vec();
    for (index, role) in roles.operands {
        let tensor = first.get_mut(*index)?.as_mut()?;
        match transposed(tensor, &role.channels_first(tensor.rank())) {
            Ok(ordered) => *tensor = ordered,
            Err(error) => return Some(Err(error)),
        }
    }
    let result = kernel(&with_layout(op.clone(), DataLayout::Nchw), &first)?;
    Some(result.and_then(|tensor| transposed(&tensor, &Role::Features.channels_last(tensor.rank()))))
}

/// `tensor` with its axes in this order.
pub(crate) fn transposed(tensor: &Tensor, order: &AxisOrder) -> Result<Tensor, EvalError> {
    let transpose = Transpose { perm: Some(order.iter().map(|axis| *axis as i64).collect()) };
    Ok(compute(&transpose.into(), &[Some(tensor.clone())])?.swap_remove(0))
}
