//! All rows of the table.

use std::sync::LazyLock;

use quad_backends::legality::Legality;
use quad_backends::table::{OpRow, OpTable};
use quad_ir::graph::NodeRef;
use quad_ir::ops::OpKind;

use super::{
    Emit, EmitError, Lowering, Settings, Table, activation, arithmetic, cast, compare, conv, encode, matmul,
    movement, reduce, resize, softmax,
};

/// The table of this backend.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        let families = [
            SOURCES,
            activation::ROWS,
            arithmetic::ROWS,
            cast::ROWS,
            compare::ROWS,
            conv::ROWS,
            encode::ROWS,
            matmul::ROWS,
            movement::ROWS,
            reduce::ROWS,
            resize::ROWS,
            softmax::ROWS,
        ];
        OpTable::new(families.into_iter().flatten().copied())
    });
    &TABLE
}

/// Inputs and constants, which become tensors and no operators.
const SOURCES: &[OpRow<Settings, Emit>] = &[source(OpKind::Input), source(OpKind::Weight)];

const fn source(kind: OpKind) -> OpRow<Settings, Emit> {
    OpRow { kind, becomes: "a tensor", asks: "", legality: always, emit: nothing }
}

fn always(_: NodeRef<'_>, _: &Settings) -> Legality {
    Legality::Legal
}

#[expect(clippy::unnecessary_wraps, reason = "what a row of the table has")]
fn nothing(_: NodeRef<'_>, _: &mut Lowering<'_>) -> Result<(), EmitError> {
    Ok(())
}
