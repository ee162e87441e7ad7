//! What is asked of the values of every node, whatever it computes.

use quad_backends::legality::{Legality, Reasons};
use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::OpKind;

use crate::schema::element_code;

/// The most axes of a tensor that any kernel takes.
const MAX_RANK: usize = 8;

/// Whether the values that `node` makes can be tensors of a model.
pub(super) fn legality(node: NodeRef<'_>) -> Legality {
    let mut reasons = Reasons::default();
    // A constant that no operator reads as a tensor (a list of axes) is not written.
    let is_source = node.op().kind() == OpKind::Weight;
    for value in node.results().filter(|value| value.port() == 0 || value.is_read() || value.is_output()) {
        let ty = value.ty();
        let symbols = node.graph().symbols();
        match ty.shape.as_known() {
            None => {
                let shape = symbols.show(&ty.shape).to_string();
                reasons.require(false, || format!("its sizes {shape} are not all numbers"));
            }
            Some(sizes) => {
                let fits = sizes.iter().all(|size| i32::try_from(*size).is_ok());
                reasons.require(fits, || "it has a size beyond 2^31".to_owned());
                reasons.require(is_source || !sizes.contains(&0), || "it has no elements".to_owned());
            }
        }
        reasons.require(ty.rank() <= MAX_RANK, || {
            format!("it has {} axes, {MAX_RANK} at most are taken", ty.rank())
        });
        reasons
            .require(element_code(ty.dtype).is_some(), || format!("elements of {} are not taken", ty.dtype));
    }
    reasons.legality()
}

/// Asks that `node`'s operand `index` be of one of `dtypes`. Stored integers count as the floats that they stand for: which
/// of them a kernel takes is a matter of their encodings.
pub(super) fn of_type(node: NodeRef<'_>, index: usize, dtypes: &[DType], reasons: &mut Reasons) {
    let Some(value) = node.operands().nth(index).flatten() else { return };
    let found = value.ty().quant.as_ref().map_or(value.ty().dtype, |quant| quant.expressed);
    reasons.require(dtypes.contains(&found), || {
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
        format!("operand {index} is {found}, the kernel takes {}", names.join(", "))
    });
}

/// The sizes of `value`; empty for one whose sizes are not numbers, which is never emitted.
pub(super) fn sizes(value: ValueRef<'_>) -> Vec<u64> {
    value.ty().shape.as_known().map(|sizes| sizes.to_vec()).unwrap_or_default()
}
