//! Normalizations.

use quad_ir::graph::ValueId;
use quad_ir::ops::{
    BatchNorm, Expand, GroupNorm, InstanceNorm, LayerNorm, LpNorm, Lrn, MeanVarianceNorm, Reshape, RmsNorm,
};
use quad_ir::types::Dim;

use super::{Row, bf16_since_22, op, read_regular};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] = &[
    op::<BatchNorm>("BatchNormalization").reading(batch_norm),
    op::<InstanceNorm>("InstanceNormalization").newer(bf16_since_22),
    op::<LayerNorm>("LayerNormalization"),
    op::<GroupNorm>("GroupNormalization").reading(group_norm).since(21),
    op::<RmsNorm>("RMSNormalization").reading(rms_norm).since(23),
    op::<Lrn>("LRN"),
    op::<LpNorm>("LpNormalization").newer(bf16_since_22),
    op::<MeanVarianceNorm>("MeanVarianceNormalization").reading(mean_variance_norm),
];

/// Before opset 14 the number of outputs said whether statistics are taken from the batch.
fn batch_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() < 14 && context.output_count() > 1 {
        return Err(context.unsupported("training mode before opset 14"));
    }
    if context.int("spatial")?.is_some_and(|spatial| spatial != 1) {
        return Err(context.unsupported("statistics for each element, `spatial` other than 1"));
    }
    if context.opset() < 7 && !context.flag("is_test")? {
        return Err(context.unsupported("training mode before opset 14"));
    }
    context.ignore("consumed_inputs");
    read_regular::<BatchNorm>(context)
}

/// Before opset 21 scale and bias were those of groups, not of channels.
fn group_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    // Sums are formed in `f64` whatever precision this asks for.
    context.ignore("stash_type");
    let op = context.op::<GroupNorm>()?;
    let (x, mut scale, mut bias) = (context.operand(0)?, context.operand(1)?, context.operand(2)?);
    if context.opset() < 21 {
        scale = per_channel(context, scale, op.num_groups)?;
        bias = per_channel(context, bias, op.num_groups)?;
    }
    Ok(Values::from_slice(&[context.value(op, &[x, scale, bias])?]))
}

/// Repeats the element of each group for its channels.
fn per_channel(context: &mut NodeContext<'_, '_>, groups: ValueId, count: u64) -> Result<ValueId, NodeError> {
    let channels = context.ty(context.operand(0)?).shape.get(1).and_then(Dim::known);
    let channels = channels.filter(|channels| count > 0 && channels % count == 0);
    let Some(channels) = channels else {
        return Err(context
            .unsupported("a number of channels that is not known, or that the groups do not share evenly"));
    };
    if channels == count {
        return Ok(groups);
    }
    let [column, table, row] = [[count, 1].as_slice(), &[count, channels / count], &[channels]]
        .map(|sizes| sizes.iter().map(|size| size.cast_signed()).collect::<Vec<i64>>());
    let (column, table, row) =
        (context.integers(&column)?, context.integers(&table)?, context.integers(&row)?);
    let column = context.value(Reshape::default(), &[groups, column])?;
    let table = context.value(Expand, &[column, table])?;
    context.value(Reshape::default(), &[table, row])
}

/// Sums are formed in `f64` whatever precision the node asks for.
fn rms_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    context.ignore("stash_type");
    read_regular::<RmsNorm>(context)
}

/// An empty list of axes means all.
fn mean_variance_norm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<MeanVarianceNorm>()?;
    let x = context.operand(0)?;
    if op.axes.is_empty() {
        op.axes = (0..context.ty(x).rank() as i64).collect();
    }
    Ok(Values::from_slice(&[context.value(op, &[x])?]))
}
