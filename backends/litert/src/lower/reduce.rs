//! Reductions along axes that are known.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{Op, OpKind};
use quad_passes::pattern::{axis_of, integers};

use super::builder::Lowering;
use super::values::of_type;
use super::{Emit, EmitError, Settings};
use crate::schema::{Builtin, Value, element_code};

type Row = OpRow<Settings, Emit>;

const fn row(kind: OpKind, becomes: &'static str, emit: Emit) -> Row {
    OpRow { kind, becomes, asks: "f32; known axes", legality: over_axes, emit }
}

pub(super) const ROWS: &[Row] = &[
    row(OpKind::ReduceMean, "`MEAN`", |node, out| reduce(node, out, Builtin::Mean)),
    row(OpKind::ReduceSum, "`SUM`", |node, out| reduce(node, out, Builtin::Sum)),
    row(OpKind::ReduceMax, "`REDUCE_MAX`", |node, out| reduce(node, out, Builtin::ReduceMax)),
    row(OpKind::ReduceMin, "`REDUCE_MIN`", |node, out| reduce(node, out, Builtin::ReduceMin)),
    Row {
        asks: "f32, i32; the first of equal elements",
        legality: place,
        ..row(OpKind::ArgMax, "`ARG_MAX`", |node, out| extreme(node, out, Builtin::ArgMax))
    },
    Row {
        asks: "f32, i32; the first of equal elements",
        legality: place,
        ..row(OpKind::ArgMin, "`ARG_MIN`", |node, out| extreme(node, out, Builtin::ArgMin))
    },
];

/// Whether reduced axes stay, and whether no axes means none.
fn settings(op: &Op) -> (bool, bool) {
    match op {
        Op::ReduceMean(op) => (op.keepdims, op.noop_with_empty_axes),
        Op::ReduceSum(op) => (op.keepdims, op.noop_with_empty_axes),
        Op::ReduceMax(op) => (op.keepdims, op.noop_with_empty_axes),
        Op::ReduceMin(op) => (op.keepdims, op.noop_with_empty_axes),
        _ => (true, false),
    }
}

/// The axes that `node` reduces; `None` where they are computed.
fn axes(node: NodeRef<'_>) -> Option<Vec<i64>> {
    let x = node.operand("x")?;
    let given = node.operand("axes").map_or(Some(Vec::new()), integers)?;
    if given.is_empty() {
        let is_none = settings(node.op()).1;
        return Some(if is_none { Vec::new() } else { (0..x.ty().rank() as i64).collect() });
    }
    given.iter().map(|axis| axis_of(*axis, x).map(|axis| axis as i64)).collect()
}

fn over_axes(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32], &mut reasons);
    let axes = axes(node);
    reasons.require(axes.is_some(), || "its axes are computed".to_owned());
    reasons.require(axes.is_none_or(|axes| !axes.is_empty()), || "it reduces no axis".to_owned());
    reasons.legality()
}

fn reduce(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let axes = axes(node).ok_or_else(|| EmitError::Unchecked("axes that are computed".to_owned()))?;
    let (x, axes) = (out.operand(node, 0)?, out.integers(&axes));
    out.compute(node, op, &[x, axes], &[("keep_dims", Value::Bool(settings(node.op()).0))]);
    Ok(())
}

/// Axis, whether it stays, and whether the last of equal elements counts.
fn sought(op: &Op) -> (i64, bool, bool) {
    match op {
        Op::ArgMax(op) => (op.axis, op.keepdims, op.select_last_index),
        Op::ArgMin(op) => (op.axis, op.keepdims, op.select_last_index),
        _ => (0, true, false),
    }
}

fn place(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32, DType::I32], &mut reasons);
    reasons.require(!sought(node.op()).2, || {
        "it is after the last of equal elements, the kernel gives the first".to_owned()
    });
    reasons.legality()
}

/// The place of an extreme element. The kernel always drops the axis.
fn extreme(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let (axis, keeps, _) = sought(node.op());
    let operand = node.operand("x").ok_or_else(|| EmitError::Unchecked("no operand".to_owned()))?;
    let axis = axis_of(axis, operand).ok_or_else(|| EmitError::Unchecked("no such axis".to_owned()))?;
    let (x, number) = (out.operand(node, 0)?, out.integer(axis as i64));
    let options = [("output_type", Value::Byte(element_code(DType::I64).unwrap_or_default()))];
    if !keeps {
        out.compute(node, op, &[x, number], &options);
        return Ok(());
    }
    let mut dropped = out.kind(x);
    dropped.dtype = DType::I64;
    dropped.sizes.remove(axis);
    let places = out.between(dropped);
    out.emit(op, &[Some(x), Some(number)], &[places], &options);
    let shape: Vec<i64> = super::values::sizes(node.result()).iter().map(|size| *size as i64).collect();
    let shape = out.integers(&shape);
    out.compute(node, Builtin::Reshape, &[places, shape], &[]);
    Ok(())
}
