//! Operations that move elements and compute nothing.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::{Concat, Gather, GatherNd, OpKind, Pad, Split, Transpose};
use quad_passes::pattern::{axis_of, integers, permutation, uniform};

use super::builder::Lowering;
use super::values::{of_type, sizes};
use super::{Emit, EmitError, Settings};
use crate::model::TensorId;
use crate::schema::{Builtin, Value};

type Row = OpRow<Settings, Emit>;

/// Element types that are moved.
const MOVED: &[DType] = &[DType::F32, DType::I32, DType::I64, DType::Bool];
/// The most axes that the kernels take which move along several of them.
const MAX_RANK: usize = 5;
/// Axes up to which a transposition is taken.
const MAX_TRANSPOSED: usize = 6;

const fn row(
    kind: OpKind,
    becomes: &'static str,
    asks: &'static str,
    legality: fn(NodeRef<'_>, &Settings) -> Legality,
    emit: Emit,
) -> Row {
    OpRow { kind, becomes, asks, legality, emit }
}

pub(super) const ROWS: &[Row] = &[
    row(OpKind::Reshape, "`RESHAPE`", "f32, i32, i64, bool", moved, reshape),
    row(OpKind::Squeeze, "`RESHAPE`", "f32, i32, i64, bool", moved, reshape),
    row(OpKind::Unsqueeze, "`RESHAPE`", "f32, i32, i64, bool", moved, reshape),
    row(OpKind::Flatten, "`RESHAPE`", "f32, i32, i64, bool", moved, reshape),
    row(
        OpKind::Transpose,
        "`TRANSPOSE`, or part of the product that reads it",
        "f32, i32, i64, bool; at most 6 axes",
        transposed,
        transpose,
    ),
    row(OpKind::Concat, "`CONCATENATION`", "f32, i32, i64, bool", moved, concat),
    row(
        OpKind::Slice,
        "`SLICE`, or `STRIDED_SLICE`",
        "f32, i32, i64, bool; known bounds, steps forward, at most 5 axes",
        sliced,
        slice,
    ),
    row(OpKind::Split, "`SLICE` for each part", "f32, i32, i64, bool; at most 5 axes", few_axes, split),
    row(
        OpKind::Pad,
        "`PAD`, or `PADV2` for another number than 0",
        "f32, i32, i64; known pads that add, one number, at most 5 axes",
        padded,
        pad,
    ),
    row(OpKind::Expand, "`BROADCAST_TO`", "f32, i32, i64, bool; at most 5 axes", few_axes, expand),
    row(OpKind::Gather, "`GATHER`", "f32, i32, i64, bool; indices from 0", gathered, gather),
    row(
        OpKind::GatherNd,
        "`GATHER_ND`",
        "f32, i32, i64; indices from 0, no batch axes",
        gathered_nd,
        gather_nd,
    ),
];

fn moved(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, MOVED, &mut reasons);
    reasons.legality()
}

fn at_most(node: NodeRef<'_>, most: usize, reasons: &mut Reasons) {
    of_type(node, 0, MOVED, reasons);
    let rank = node.operand("x").map_or(0, |x| x.ty().rank()).max(node.result().ty().rank());
    reasons.require(rank <= most, || format!("it has {rank} axes, the kernel takes {most}"));
}

fn few_axes(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    at_most(node, MAX_RANK, &mut reasons);
    reasons.legality()
}

fn transposed(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    at_most(node, MAX_TRANSPOSED, &mut reasons);
    reasons.legality()
}

/// The sizes of `value` as the operand of an operator.
fn shape_of(value: ValueRef<'_>, out: &mut Lowering<'_>) -> TensorId {
    let shape: Vec<i64> = sizes(value).iter().map(|size| *size as i64).collect();
    out.integers(&shape)
}

fn reshape(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let (x, shape) = (out.operand(node, 0)?, shape_of(node.result(), out));
    out.compute(node, Builtin::Reshape, &[x, shape], &[]);
    Ok(())
}

fn expand(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let (x, shape) = (out.operand(node, 0)?, shape_of(node.result(), out));
    out.compute(node, Builtin::BroadcastTo, &[x, shape], &[]);
    Ok(())
}

fn transpose(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let found = node.is::<Transpose>().zip(node.operand("x"));
    let (transpose, x) = found.ok_or_else(|| EmitError::Unchecked("no operand".to_owned()))?;
    let perm: Vec<i64> = permutation(transpose, x).iter().map(|axis| *axis as i64).collect();
    let (x, perm) = (out.read(x)?, out.integers(&perm));
    out.compute(node, Builtin::Transpose, &[x, perm], &[]);
    Ok(())
}

fn concat(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let axis = node.is::<Concat>().and_then(|concat| axis_of(concat.axis, node.result()));
    let axis = axis.ok_or_else(|| EmitError::Unchecked("no such axis".to_owned()))?;
    let parts: Vec<TensorId> =
        node.operands().flatten().map(|part| out.read(part)).collect::<Result<_, _>>()?;
    out.compute(node, Builtin::Concatenation, &parts, &[("axis", Value::Int(axis as i32))]);
    Ok(())
}

/// Where a slice begins along every axis, and its steps.
struct Bounds {
    begins: Vec<i64>,
    steps: Vec<i64>,
}

/// The bounds of the slice `node`; `None` where they are computed or go backward.
fn bounds(node: NodeRef<'_>) -> Option<Bounds> {
    let x = node.operand("x")?;
    let from = sizes(x);
    let starts = integers(node.operand("starts")?)?;
    let axes: Vec<i64> = match node.operand("axes") {
        Some(axes) => integers(axes)?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match node.operand("steps") {
        Some(steps) => integers(steps)?,
        None => vec![1; starts.len()],
    };
    let mut bounds = Bounds { begins: vec![0; from.len()], steps: vec![1; from.len()] };
    for ((start, axis), step) in starts.iter().zip(&axes).zip(&steps) {
        let axis = axis_of(*axis, x).filter(|_| *step > 0)?;
        let size = from[axis] as i64;
        let from_start = if *start < 0 { start.saturating_add(size) } else { *start };
        bounds.begins[axis] = from_start.clamp(0, size);
        bounds.steps[axis] = *step;
    }
    Some(bounds)
}

fn sliced(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    at_most(node, MAX_RANK, &mut reasons);
    reasons
        .require(bounds(node).is_some(), || "its bounds are computed, or its steps go backward".to_owned());
    reasons.legality()
}

fn slice(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let Bounds { begins, steps } =
        bounds(node).ok_or_else(|| EmitError::Unchecked("bounds that are computed".to_owned()))?;
    let x = out.operand(node, 0)?;
    let counts: Vec<i64> = sizes(node.result()).iter().map(|size| *size as i64).collect();
    let begin = out.integers(&begins);
    if steps.iter().all(|step| *step == 1) {
        let size = out.integers(&counts);
        out.compute(node, Builtin::Slice, &[x, begin, size], &[]);
        return Ok(());
    }
    let end = |axis: usize| begins[axis] + (counts[axis] - 1) * steps[axis] + 1;
    let ends: Vec<i64> = (0..counts.len()).map(end).collect();
    let (end, stride) = (out.integers(&ends), out.integers(&steps));
    out.compute(node, Builtin::StridedSlice, &[x, begin, end, stride], &[]);
    Ok(())
}

fn split(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let found = node.is::<Split>().zip(node.operand("x"));
    let axis = found.and_then(|(split, x)| axis_of(split.axis, x));
    let axis = axis.ok_or_else(|| EmitError::Unchecked("no such axis".to_owned()))?;
    let x = out.operand(node, 0)?;
    let mut begins = vec![0i64; out.kind(x).sizes.len()];
    for part in node.results() {
        let counts: Vec<i64> = sizes(part).iter().map(|size| *size as i64).collect();
        if part.is_read() || part.is_output() {
            let (begin, size) = (out.integers(&begins), out.integers(&counts));
            let result = out.result(part);
            out.emit(Builtin::Slice, &[Some(x), Some(begin), Some(size)], &[result], &[]);
        }
        begins[axis] += counts[axis];
    }
    Ok(())
}

/// Elements added before and after each axis; `None` where their number is computed.
fn pads(node: NodeRef<'_>) -> Option<Vec<[i64; 2]>> {
    let x = node.operand("x")?;
    let given = integers(node.operand("pads")?)?;
    let axes: Vec<i64> = match node.operand("axes") {
        Some(axes) => integers(axes)?,
        None => (0..x.ty().rank() as i64).collect(),
    };
    let mut pads = vec![[0; 2]; x.ty().rank()];
    for (index, axis) in axes.iter().enumerate() {
        pads[axis_of(*axis, x)?] = [*given.get(index)?, *given.get(index + axes.len())?];
    }
    Some(pads)
}

fn padded(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    at_most(node, MAX_RANK, &mut reasons);
    let is_constant = node.is::<Pad>().is_some_and(|pad| pad.mode == PadMode::Constant);
    reasons.require(is_constant, || "it does not pad with one number".to_owned());
    let pads = pads(node);
    reasons.require(pads.is_some(), || "its pads are computed".to_owned());
    let adds = pads.is_none_or(|pads| pads.iter().flatten().all(|pad| *pad >= 0));
    reasons.require(adds, || "it removes elements".to_owned());
    reasons.legality()
}

fn pad(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let pads = pads(node).ok_or_else(|| EmitError::Unchecked("pads that are computed".to_owned()))?;
    let x = out.operand(node, 0)?;
    let amounts = out.numbers(&[pads.len() as u64, 2], pads.as_flattened());
    match node.operand("value").filter(|value| uniform(*value) != Some(0.0)) {
        None => out.compute(node, Builtin::Pad, &[x, amounts], &[]),
        Some(value) => {
            let value = out.read(value)?;
            out.compute(node, Builtin::PadV2, &[x, amounts, value], &[]);
        }
    }
    Ok(())
}

/// Indices that the kernel takes: known ones must not count from the end.
fn from_start(node: NodeRef<'_>, reasons: &mut Reasons) {
    of_type(node, 1, &[DType::I32, DType::I64], reasons);
    let known = node.operand("indices").and_then(integers).unwrap_or_default();
    reasons.require(known.iter().all(|index| *index >= 0), || "its indices count from the end".to_owned());
}

fn gathered(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, MOVED, &mut reasons);
    from_start(node, &mut reasons);
    reasons.legality()
}

fn gathered_nd(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32, DType::I32, DType::I64], &mut reasons);
    from_start(node, &mut reasons);
    let is_plain = node.is::<GatherNd>().is_some_and(|gather| gather.batch_dims == 0);
    reasons.require(is_plain, || "it has batch axes, the kernel has none".to_owned());
    reasons.legality()
}

fn gather(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let found = node.is::<Gather>().zip(node.operand("x"));
    let axis = found.and_then(|(gather, x)| axis_of(gather.axis, x));
    let axis = axis.ok_or_else(|| EmitError::Unchecked("no such axis".to_owned()))?;
    let (x, indices) = (out.operand(node, 0)?, out.operand(node, 1)?);
    out.compute(node, Builtin::Gather, &[x, indices], &[("axis", Value::Int(axis as i32))]);
    Ok(())
}

fn gather_nd(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let (x, indices) = (out.operand(node, 0)?, out.operand(node, 1)?);
    out.compute(node, Builtin::GatherNd, &[x, indices], &[]);
    Ok(())
}
