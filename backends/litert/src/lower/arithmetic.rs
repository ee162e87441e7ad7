//! Arithmetic of one and two operands.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::OpKind;

use super::builder::{Kind, Lowering};
use super::values::{of_type, sizes};
use super::{Emit, EmitError, Settings, absorb};
use crate::schema::{Builtin, Value};

/// Element types of sums and products.
const NUMBERS: &[DType] = &[DType::F32, DType::I32, DType::I64];
/// Element types of everything that only floats have.
const FLOATS: &[DType] = &[DType::F32];
/// Axes up to which operands are broadcast.
const MAX_RANK: usize = 6;

type Row = OpRow<Settings, Emit>;

const fn row(
    kind: OpKind,
    becomes: &'static str,
    legality: fn(NodeRef<'_>, &Settings) -> Legality,
    emit: Emit,
) -> Row {
    OpRow { kind, becomes, asks: "", legality, emit }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        asks: "f32, i32, i64; at most 6 axes",
        ..row(OpKind::Add, "`ADD`", sum, |node, out| two(node, out, Builtin::Add))
    },
    Row {
        asks: "f32, i32, i64; at most 6 axes",
        ..row(OpKind::Sub, "`SUB`", sum, |node, out| two(node, out, Builtin::Sub))
    },
    Row {
        asks: "f32, i32, i64; at most 6 axes",
        ..row(OpKind::Mul, "`MUL`", sum, |node, out| two(node, out, Builtin::Mul))
    },
    Row { asks: "f32", ..row(OpKind::Div, "`DIV`; of a root, `RSQRT` and `MUL`", float, quotient) },
    Row {
        asks: "f32, i32, i64",
        ..row(OpKind::Max, "`MAXIMUM`, for each operand after the first", sum, |node, out| {
            many(node, out, Builtin::Maximum)
        })
    },
    Row {
        asks: "f32, i32, i64",
        ..row(OpKind::Min, "`MINIMUM`, for each operand after the first", sum, |node, out| {
            many(node, out, Builtin::Minimum)
        })
    },
    Row { asks: "f32", ..row(OpKind::Pow, "`POW`", float, |node, out| two(node, out, Builtin::Pow)) },
    Row { asks: "f32", ..row(OpKind::Reciprocal, "`DIV`; of a root, `RSQRT`", float, reciprocal) },
    Row { asks: "f32", ..row(OpKind::Clip, "`MAXIMUM`, `MINIMUM`", float, clip) },
    Row { asks: "f32", ..row(OpKind::Abs, "`ABS`", float, |node, out| one(node, out, Builtin::Abs)) },
    Row { asks: "f32", ..row(OpKind::Neg, "`NEG`", float, |node, out| one(node, out, Builtin::Neg)) },
    Row {
        asks: "f32",
        ..row(OpKind::Sqrt, "`SQRT`; below a quotient, `RSQRT`", float, |node, out| {
            one(node, out, Builtin::Sqrt)
        })
    },
    Row { asks: "f32", ..row(OpKind::Exp, "`EXP`", float, |node, out| one(node, out, Builtin::Exp)) },
    Row { asks: "f32", ..row(OpKind::Log, "`LOG`", float, |node, out| one(node, out, Builtin::Log)) },
    Row { asks: "f32", ..row(OpKind::Sin, "`SIN`", float, |node, out| one(node, out, Builtin::Sin)) },
    Row { asks: "f32", ..row(OpKind::Cos, "`COS`", float, |node, out| one(node, out, Builtin::Cos)) },
    Row { asks: "f32", ..row(OpKind::Floor, "`FLOOR`", float, |node, out| one(node, out, Builtin::Floor)) },
    Row { asks: "f32", ..row(OpKind::Ceil, "`CEIL`", float, |node, out| one(node, out, Builtin::Ceil)) },
];

fn sum(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    broadcast(node, NUMBERS, &mut reasons);
    reasons.legality()
}

fn float(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    broadcast(node, FLOATS, &mut reasons);
    reasons.legality()
}

fn broadcast(node: NodeRef<'_>, dtypes: &[DType], reasons: &mut Reasons) {
    of_type(node, 0, dtypes, reasons);
    let rank = node.result().ty().rank();
    reasons.require(node.operands().len() == 1 || rank <= MAX_RANK, || {
        format!("operands of {rank} axes are broadcast, the kernel takes {MAX_RANK}")
    });
}

/// Options of operators that have an activation, which is written as an operator of its own.
fn options(op: Builtin) -> &'static [(&'static str, Value)] {
    match op {
        // The runtime's default asks for scales that are powers of two.
        Builtin::Add | Builtin::Sub => &[("pot_scale_int16", Value::Bool(false))],
        _ => &[],
    }
}

fn one(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    out.compute(node, op, &[x], &[]);
    Ok(())
}

fn two(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let (a, b) = (out.operand(node, 0)?, out.operand(node, 1)?);
    out.compute(node, op, &[a, b], options(op));
    Ok(())
}

/// An operation of any number of operands, two at a time.
fn many(node: NodeRef<'_>, out: &mut Lowering<'_>, op: Builtin) -> Result<(), EmitError> {
    let operands: Vec<_> = node.operands().flatten().collect();
    let mut so_far = out.operand(node, 0)?;
    let Some((last, middle)) = operands.get(1..).and_then(<[_]>::split_last) else {
        let shape: Vec<i64> = sizes(node.result()).iter().map(|size| *size as i64).collect();
        let shape = out.integers(&shape);
        out.compute(node, Builtin::Reshape, &[so_far, shape], &[]);
        return Ok(());
    };
    for operand in middle {
        let operand = out.read(*operand)?;
        let sizes = broadcast_sizes(&out.kind(so_far), &out.kind(operand));
        let kind = out.kind(so_far).sized(&sizes);
        let next = out.between(kind);
        out.emit(op, &[Some(so_far), Some(operand)], &[next], &[]);
        so_far = next;
    }
    let last = out.read(*last)?;
    out.compute(node, op, &[so_far, last], &[]);
    Ok(())
}

/// The sizes of what an operation on `a` and `b` gives.
fn broadcast_sizes(a: &Kind, b: &Kind) -> Vec<u64> {
    let rank = a.sizes.len().max(b.sizes.len());
    let size = |kind: &Kind, axis: usize| {
        let missing = rank - kind.sizes.len();
        if axis < missing { 1 } else { kind.sizes[axis - missing] }
    };
    (0..rank).map(|axis| size(a, axis).max(size(b, axis))).collect()
}

/// `a / b`; where `b` is a root that nothing else reads, `a` times its reciprocal.
fn quotient(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let Some(square) = node.operand("b").and_then(absorb::behind_root) else {
        return two(node, out, Builtin::Div);
    };
    let a = out.operand(node, 0)?;
    let square = out.read(square)?;
    let factor = out.between(out.kind(square));
    out.emit(Builtin::Rsqrt, &[Some(square)], &[factor], &[]);
    out.compute(node, Builtin::Mul, &[a, factor], &[]);
    Ok(())
}

fn reciprocal(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    if let Some(square) = node.operand("x").and_then(absorb::behind_root) {
        let square = out.read(square)?;
        out.compute(node, Builtin::Rsqrt, &[square], &[]);
        return Ok(());
    }
    let x = out.operand(node, 0)?;
    let one = out.number(DType::F32, 1.0)?;
    out.compute(node, Builtin::Div, &[one, x], &[]);
    Ok(())
}

fn clip(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let x = out.operand(node, 0)?;
    match (node.operand("min"), node.operand("max")) {
        (Some(low), Some(high)) => {
            let (low, high) = (out.read(low)?, out.read(high)?);
            let raised = out.between(out.kind(x));
            out.emit(Builtin::Maximum, &[Some(x), Some(low)], &[raised], &[]);
            out.compute(node, Builtin::Minimum, &[raised, high], &[]);
        }
        (Some(low), None) => {
            let low = out.read(low)?;
            out.compute(node, Builtin::Maximum, &[x, low], &[]);
        }
        (None, Some(high)) => {
            let high = out.read(high)?;
            out.compute(node, Builtin::Minimum, &[x, high], &[]);
        }
        (None, None) => return Err(EmitError::Unchecked("a clip without limits".to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_broadcast_from_the_last() {
        let kind = |sizes: &[u64]| Kind { sizes: sizes.into(), dtype: DType::F32, quant: None };
        assert_eq!(broadcast_sizes(&kind(&[4, 1, 3]), &kind(&[2, 1])), [4, 2, 3]);
        assert_eq!(broadcast_sizes(&kind(&[]), &kind(&[5])), [5]);
        assert_eq!(options(Builtin::Add).len(), 1);
    }
}
