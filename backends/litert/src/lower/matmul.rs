//! Matrix products.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::OpKind;

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings, absorb};
use crate::schema::{Builtin, Value};

/// Axes of a product's operands.
const RANKS: std::ops::RangeInclusive<usize> = 2..=5;

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[OpRow {
    kind: OpKind::MatMul,
    becomes: "`BATCH_MATMUL`, with `adj_y` where the second factor is transposed for it",
    asks: "f32; 2 to 5 axes",
    legality,
    emit,
}];

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32], &mut reasons);
    for operand in node.operands().flatten() {
        let rank = operand.ty().rank();
        reasons.require(RANKS.contains(&rank), || {
            format!("an operand has {rank} axes, the kernel takes 2 to 5")
        });
    }
    reasons.legality()
}

fn emit(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let a = out.operand(node, 0)?;
    let behind = node.operand("b").and_then(absorb::behind_transpose);
    let b = match behind {
        Some(behind) => out.read(behind)?,
        None => out.operand(node, 1)?,
    };
    out.compute(node, Builtin::BatchMatMul, &[a, b], &[("adj_y", Value::Bool(behind.is_some()))]);
    Ok(())
}
