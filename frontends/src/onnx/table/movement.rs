//! Constants, shapes and data movement.

use quad_ir::dtype::DType;
use quad_ir::ops::depth_to_space::DepthOrder;
use quad_ir::ops::{
    CenterCropPad, Compress, Concat, DepthToSpace, Expand, EyeLike, Flatten, Gather, GatherElements,
    GatherNd, NonMaxSuppression, NonZero, OneHot, Pad, Range, Reshape, ReverseSequence, ScatterElements,
    ScatterNd, ShapeOf, SizeOf, Slice, SpaceToDepth, Split, Squeeze, TensorScatter, Tile, TopK, Transpose,
    Trilu, Unique, Unsqueeze,
};
use quad_ir::tensor::Tensor;

use super::{Row, import, list_attribute, op, read_regular, with_axes};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::export::WriteError;
use crate::onnx::write_node::WriteNode;

pub(super) const ROWS: &[Row] = &[
    op::<CenterCropPad>("CenterCropPad"),
    op::<Compress>("Compress"),
    op::<Concat>("Concat").reading(concat),
    import("Constant", constant),
    import("ConstantOfShape", constant_of_shape),
    op::<DepthToSpace>("DepthToSpace"),
    op::<Expand>("Expand"),
    op::<EyeLike>("EyeLike"),
    op::<Flatten>("Flatten"),
    op::<Gather>("Gather"),
    op::<GatherElements>("GatherElements"),
    op::<GatherNd>("GatherND"),
    op::<NonMaxSuppression>("NonMaxSuppression"),
    op::<NonZero>("NonZero"),
    op::<OneHot>("OneHot"),
    op::<Pad>("Pad").reading(pad).since(19),
    op::<Range>("Range").reading(range),
    op::<Reshape>("Reshape").reading(reshape),
    op::<ReverseSequence>("ReverseSequence"),
    op::<ScatterElements>("ScatterElements"),
    op::<ScatterNd>("ScatterND"),
    import("Scatter", read_regular::<ScatterElements>),
    op::<ShapeOf>("Shape"),
    op::<SizeOf>("Size"),
    op::<Slice>("Slice").reading(slice),
    op::<SpaceToDepth>("SpaceToDepth").writing(write_space_to_depth),
    op::<Split>("Split").reading(split),
    op::<Squeeze>("Squeeze").reading(with_axes::<Squeeze>),
    op::<TensorScatter>("TensorScatter").since(24),
    op::<Tile>("Tile").reading(tile),
    op::<TopK>("TopK").reading(top_k),
    op::<Transpose>("Transpose"),
    op::<Trilu>("Trilu"),
    op::<Unique>("Unique"),
    op::<Unsqueeze>("Unsqueeze").reading(with_axes::<Unsqueeze>),
];

/// A constant in one of the attributes that may hold it.
fn constant(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let tensor = if let Some(tensor) = context.tensor("value")? {
        tensor
    } else if let Some(value) = context.float("value_float")? {
        Tensor::scalar(value)
    } else if let Some(value) = context.int("value_int")? {
        Tensor::scalar(value)
    } else if let Some(values) = context.floats("value_floats")? {
        Tensor::from_vec(&[values.len()], values).map_err(NodeError::Tensor)?
    } else if let Some(values) = context.ints("value_ints")? {
        Tensor::from_vec(&[values.len()], values).map_err(NodeError::Tensor)?
    } else {
        return Err(context.unsupported("a constant of strings or a sparse constant"));
    };
    Ok(Values::from_slice(&[context.add_constant(&tensor)?]))
}

/// Before opset 5 the shape was an attribute.
fn reshape(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let op = context.op::<Reshape>()?;
    let shape = match context.ints("shape")? {
        Some(shape) => context.integers(&shape)?,
        None => context.operand(1)?,
    };
    let x = context.operand(0)?;
    Ok(Values::from_slice(&[context.value(op, &[x, shape])?]))
}

/// One number, by default the `f32` 0, expanded to the sizes of the operand.
fn constant_of_shape(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let value = match context.tensor("value")? {
        Some(value) => value.reshaped(&[]),
        None => Tensor::zeros(DType::F32, &[]),
    };
    let (value, shape) = (context.add_constant(&value.map_err(NodeError::Tensor)?)?, context.operand(0)?);
    Ok(Values::from_slice(&[context.value(Expand, &[value, shape])?]))
}

/// Before opset 4 the axis was 1 by default.
fn concat(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<Concat>()?;
    if !context.has("axis") && context.opset() < 4 {
        op.axis = 1;
    }
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// Before opset 10 starts, ends and axes were attributes, and there were no steps.
fn slice(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut operands = context.operands().to_vec();
    if context.opset() < 10 {
        operands.truncate(1);
        for name in ["starts", "ends", "axes"] {
            operands.push(list_attribute(context, name)?);
        }
    }
    let node = context.add(Slice, &operands)?;
    Ok(context.results(node))
}

/// Before opset 13 the sizes of the parts were an attribute, and before 18 equal parts were as many as the outputs.
fn split(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<Split>()?;
    let sizes = match list_attribute(context, "split")? {
        Some(sizes) => Some(sizes),
        None => context.optional(1),
    };
    if sizes.is_some() {
        op.num_outputs = None;
    } else if op.num_outputs.is_none() {
        op.num_outputs = Some(context.output_count() as u64);
    }
    let node = context.add(op, &[Some(context.operand(0)?), sizes])?;
    let parts = context.results(node);
    if parts.len() != context.output_count() {
        let (found, expected) = (context.output_count(), parts.len().to_string());
        return Err(NodeError::Outputs { found, expected });
    }
    Ok(parts)
}

/// Before opset 11 the pads and the value were attributes, and opset 1 called the pads `paddings`.
fn pad(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let op = context.op::<Pad>()?;
    let mut operands = context.operands().to_vec();
    if context.opset() < 11 {
        let x = context.operand(0)?;
        let name = if context.opset() < 2 { "paddings" } else { "pads" };
        let (pads, value) = (list_attribute(context, name)?, context.float("value")?.unwrap_or(0.0));
        let value = context.scalar_of(context.ty(x).dtype, f64::from(value))?;
        operands = vec![Some(x), pads, Some(value)];
    }
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// `stash_type` says in which type narrow floats are computed; ours are computed in a wider one.
fn range(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    context.ignore("stash_type");
    read_regular::<Range>(context)
}

/// Opset 1 repeated one axis only.
fn tile(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() < 6 {
        return Err(context.unsupported("the form before opset 6, which repeats a single axis"));
    }
    read_regular::<Tile>(context)
}

/// Before opset 10 `k` was an attribute.
fn top_k(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (op, x) = (context.op::<TopK>()?, context.operand(0)?);
    let k = match context.int("k")? {
        Some(k) => context.integers(&[k])?,
        None => context.operand(1)?,
    };
    let node = context.add(op, &[Some(x), Some(k)])?;
    Ok(context.results(node))
}

/// Operator sets before 28 know one order of channels and have no attribute for it.
fn write_space_to_depth(node: &mut WriteNode<'_>) -> Result<(), WriteError> {
    let mut attributes = node.attributes(&[])?;
    let regular = node.node.is::<SpaceToDepth>().is_some_and(|op| op.mode == DepthOrder::Dcr);
    if !regular {
        return Err(WriteError::NoForm { op: "space_to_depth", loc: node.node.loc().to_string() });
    }
    attributes.retain(|attribute| attribute.name != "mode");
    node.emit(attributes);
    Ok(())
}
