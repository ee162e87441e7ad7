//! Channels first, as the runtime has them.

use quad_ir::ops::Op;
use quad_ir::ops::layout::{DataLayout, Role, layout_of, transposed, with_layout};
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
            Err(error) => return Some(Err(error.into())),
        }
    }
    let result = kernel(&with_layout(op.clone(), DataLayout::Nchw), &first)?;
    let last = |tensor: Tensor| Ok(transposed(&tensor, &Role::Features.channels_last(tensor.rank()))?);
    Some(result.and_then(last))
}
