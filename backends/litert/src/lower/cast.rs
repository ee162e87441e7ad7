//! Conversions of element types.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{Cast, OpKind};

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings};
use crate::schema::{Builtin, Value, element_code};

/// Element types that are converted to one another.
const CONVERTED: &[DType] =
    &[DType::F32, DType::F16, DType::I64, DType::I32, DType::I16, DType::I8, DType::U8, DType::Bool];

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[OpRow {
    kind: OpKind::Cast,
    becomes: "`CAST`",
    asks: "f32, f16, i64, i32, i16, i8, u8, bool",
    legality,
    emit,
}];

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, CONVERTED, &mut reasons);
    let to = node.result().ty().dtype;
    reasons.require(CONVERTED.contains(&to), || format!("it converts to {to}, which no kernel makes"));
    reasons.legality()
}

fn emit(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    let from = out.kind(x).dtype;
    let to = node.is::<Cast>().map_or(from, |cast| cast.to);
    let code = |dtype| Value::Byte(element_code(dtype).unwrap_or_default());
    out.compute(node, Builtin::Cast, &[x], &[("in_data_type", code(from)), ("out_data_type", code(to))]);
    Ok(())
}
