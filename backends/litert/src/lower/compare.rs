//! Comparisons, logic, and choices by them.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::OpKind;

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings};
use crate::schema::Builtin;

type Row = OpRow<Settings, Emit>;

/// Axes up to which operands are broadcast.
const MAX_RANK: usize = 4;
/// Element types that are compared.
const COMPARED: &[DType] = &[DType::F32, DType::I32, DType::I64];

const fn row(
    kind: OpKind,
    becomes: &'static str,
    legality: fn(NodeRef<'_>, &Settings) -> Legality,
    emit: Emit,
) -> Row {
    OpRow { kind, becomes, asks: "f32, i32, i64; at most 4 axes", legality, emit }
}

pub(super) const ROWS: &[Row] = &[
    row(OpKind::Equal, "`EQUAL`", compared, |node, out| two(node, out, Builtin::Equal)),
    row(OpKind::Less, "`LESS`", compared, |node, out| two(node, out, Builtin::Less)),
    row(OpKind::LessOrEqual, "`LESS_EQUAL`", compared, |node, out| two(node, out, Builtin::LessEqual)),
    row(OpKind::Greater, "`GREATER`", compared, |node, out| two(node, out, Builtin::Greater)),
    row(OpKind::GreaterOrEqual, "`GREATER_EQUAL`", compared, |node, out| {
        two(node, out, Builtin::GreaterEqual)
    }),
    Row {
        asks: "bool",
        ..row(OpKind::And, "`LOGICAL_AND`", logical, |node, out| two(node, out, Builtin::LogicalAnd))
    },
    Row {
        asks: "bool",
        ..row(OpKind::Or, "`LOGICAL_OR`", logical, |node, out| two(node, out, Builtin::LogicalOr))
    },
    Row { asks: "bool", ..row(OpKind::Not, "`LOGICAL_NOT`", logical, not) },
    Row { asks: "f32", ..row(OpKind::IsNan, "`NOT_EQUAL` to itself", float, is_nan) },
    Row { asks: "f32, i32, i64, bool; at most 4 axes", ..row(OpKind::Where, "`SELECT_V2`", chosen, choose) },
];

fn check(node: NodeRef<'_>, operand: usize, dtypes: &[DType]) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, operand, dtypes, &mut reasons);
    let rank = node.result().ty().rank();
    reasons.require(rank <= MAX_RANK, || {
        format!("operands of {rank} axes are broadcast, the kernel takes {MAX_RANK}")
    });
    reasons.legality()
}

fn compared(node: NodeRef<'_>, _: &Settings) -> Legality {
    check(node, 0, COMPARED)
}

fn logical(node: NodeRef<'_>, _: &Settings) -> Legality {
    check(node, 0, &[DType::Bool])
}

fn float(node: NodeRef<'_>, _: &Settings) -> Legality {
    check(node, 0, &[DType::F32])
}

fn chosen(node: NodeRef<'_>, _: &Settings) -> Legality {
    check(node, 1, &[DType::F32, DType::I32, DType::I64, DType::Bool])
}

fn two(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let (a, b) = (out.operand(node, 0)?, out.operand(node, 1)?);
    out.compute(node, op, &[a, b], &[]);
    Ok(())
}

fn not(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, Builtin::LogicalNot, &[x], &[]);
    Ok(())
}

/// What is not a number is not equal to itself, and nothing else is so.
fn is_nan(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, Builtin::NotEqual, &[x, x], &[]);
    Ok(())
}

fn choose(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let (condition, x, y) = (out.operand(node, 0)?, out.operand(node, 1)?, out.operand(node, 2)?);
    out.compute(node, Builtin::SelectV2, &[condition, x, y], &[]);
    Ok(())
}
