//! Reductions, and operations along one axis.

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{
    ArgMax, ArgMin, CumProd, CumSum, Hardmax, LogSoftmax, OpVariant, ReduceL1, ReduceL2, ReduceLogSum,
    ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, ReduceSumSquare, Reshape,
    ShapeOf, Softmax,
};

use super::{Row, op, read_regular, with_axes};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] = &[
    op::<ReduceSum>("ReduceSum").reading(with_axes::<ReduceSum>),
    op::<ReduceProd>("ReduceProd").reading(with_axes::<ReduceProd>),
    op::<ReduceMean>("ReduceMean").reading(with_axes::<ReduceMean>),
    op::<ReduceMax>("ReduceMax").reading(with_axes::<ReduceMax>).newer(truth_since_20),
    op::<ReduceMin>("ReduceMin").reading(with_axes::<ReduceMin>).newer(truth_since_20),
    op::<ReduceL1>("ReduceL1").reading(with_axes::<ReduceL1>),
    op::<ReduceL2>("ReduceL2").reading(with_axes::<ReduceL2>),
    op::<ReduceSumSquare>("ReduceSumSquare").reading(with_axes::<ReduceSumSquare>),
    op::<ReduceLogSum>("ReduceLogSum").reading(with_axes::<ReduceLogSum>),
    op::<ReduceLogSumExp>("ReduceLogSumExp").reading(with_axes::<ReduceLogSumExp>),
    op::<ArgMax>("ArgMax"),
    op::<ArgMin>("ArgMin"),
    op::<Softmax>("Softmax").reading(over_trailing_axes::<Softmax>),
    op::<LogSoftmax>("LogSoftmax").reading(over_trailing_axes::<LogSoftmax>),
    op::<Hardmax>("Hardmax").reading(over_trailing_axes::<Hardmax>),
    op::<CumSum>("CumSum"),
    op::<CumProd>("CumProd").since(26),
];

/// Before opset 13 all axes from `axis` on, by default from 1, were one: the operand is reshaped to make them one.
fn over_trailing_axes<O: OpVariant>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() >= 13 {
        return read_regular::<O>(context);
    }
    let x = context.operand(0)?;
    let rank = context.ty(x).rank() as i64;
    let given = context.int("axis")?.unwrap_or(1);
    let axis = if given < 0 { given.saturating_add(rank) } else { given };
    if !(0..=rank).contains(&axis) {
        return Err(context.unsupported(format!("axis {given} of an operand of rank {rank}")));
    }
    // By default the axis is the last one.
    if axis == rank - 1 {
        return Ok(Values::from_slice(&[context.value(O::default(), &[x])?]));
    }
    // Zeros keep the axes before it, -1 takes the rest.
    let mut shape = vec![0; axis as usize];
    shape.push(if axis == rank { 1 } else { -1 });
    let shape = context.integers(&shape)?;
    let joined = context.value(Reshape::default(), &[x, shape])?;
    let result = context.value(O::default(), &[joined])?;
    let sizes = context.value(ShapeOf::default(), &[x])?;
    Ok(Values::from_slice(&[context.value(Reshape::default(), &[result, sizes])?]))
}

/// Truth values have an order since operator set 20.
fn truth_since_20(node: NodeRef<'_>) -> i64 {
    if node.result().ty().dtype == DType::Bool { 20 } else { 18 }
}
