//! Softmax along the last axis.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{OpKind, Softmax};
use quad_passes::pattern::axis_of;

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings};
use crate::schema::{Builtin, Value};

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[OpRow {
    kind: OpKind::Softmax,
    becomes: "`SOFTMAX`",
    asks: "f32; along the last axis",
    legality,
    emit,
}];

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32], &mut reasons);
    let Some((softmax, x)) = node.is::<Softmax>().zip(node.operand("x")) else { return reasons.legality() };
    let rank = x.ty().rank();
    let is_last = axis_of(softmax.axis, x).is_some_and(|axis| axis + 1 == rank);
    reasons.require(is_last, || {
        format!("it is along axis {} of {rank}, the kernel works along the last", softmax.axis)
    });
    reasons.legality()
}

fn emit(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, Builtin::Softmax, &[x], &[("beta", Value::Float(1.0))]);
    Ok(())
}
