//! Between real numbers and stored integers.

use quad_backends::legality::Legality;
use quad_backends::table::OpRow;
use quad_ir::graph::NodeRef;
use quad_ir::ops::OpKind;

use super::builder::Lowering;
use super::{Emit, EmitError, Settings};
use crate::schema::Builtin;

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[
    OpRow {
        kind: OpKind::Quantize,
        becomes: "`QUANTIZE`",
        asks: "to i8, or to i16 with zero point 0; one scale",
        legality: always,
        emit: |node, out| convert(node, out, Builtin::Quantize),
    },
    OpRow {
        kind: OpKind::Dequantize,
        becomes: "`DEQUANTIZE`",
        asks: "of i8, or of i16 with zero point 0; one scale, or several of a constant",
        legality: always,
        emit: |node, out| convert(node, out, Builtin::Dequantize),
    },
];

/// Encodings are looked at for all operations alike.
fn always(_: NodeRef<'_>, _: &Settings) -> Legality {
    Legality::Legal
}

fn convert(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, op, &[x], &[]);
    Ok(())
}
