//! Constants, shapes and data movement.

use quad_ir::ops::{Reshape, ShapeOf};
use quad_ir::tensor::Tensor;

use super::{Row, import, op};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] =
    &[import("Constant", constant), op::<Reshape>("Reshape").reading(reshape), op::<ShapeOf>("Shape")];

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
