//! Resizing in all its older forms.

use quad_ir::graph::ValueId;
use quad_ir::ops::Resize;
use quad_ir::ops::resize::{Coordinates, Interpolation, NearestMode};

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

/// Before operator set 11 only scales and a mode were given.
pub(super) fn resize(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    if context.opset() < 11 {
        let (x, scales) = (context.operand(0)?, context.operand(1)?);
        let nearest_mode = nearest_by_scales(context, scales)?;
        return by_scales(context, x, scales, nearest_mode);
    }
    let op = context.op::<Resize>()?;
    let mut operands = context.operands().to_vec();
    // An empty tensor stands for an operand that is left out; a region is read by one mode only.
    for operand in operands.iter_mut().skip(1) {
        *operand =
            operand.filter(|value| context.ty(*value).shape.as_known().is_none_or(|sizes| sizes[..] != [0]));
    }
    if let (Some(region), true) =
        (operands.get_mut(1), op.coordinate_transformation_mode != Coordinates::TfCropAndResize)
    {
        *region = None;
    }
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// Resizing that only grows, by scales in an attribute or an operand.
pub(super) fn upsample(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let x = context.operand(0)?;
    let scales = match context.floats("scales")? {
        Some(scales) => {
            let tensor = quad_ir::tensor::Tensor::from_vec(&[scales.len()], scales);
            context.add_constant(&tensor.map_err(NodeError::Tensor)?)?
        }
        None => context.operand(1)?,
    };
    by_scales(context, x, scales, NearestMode::Floor)
}

/// Place `i` maps to `i / scale`. What "nearest" means was not written down; runtimes take the lower neighbor where an
/// axis grows and the upper one where it shrinks.
fn by_scales(
    context: &mut NodeContext<'_, '_>,
    x: ValueId,
    scales: ValueId,
    nearest_mode: NearestMode,
) -> Result<Values, NodeError> {
    let mode = match context.word("mode")?.as_deref() {
        None | Some("nearest") => Interpolation::Nearest,
        Some("linear" | "bilinear") => Interpolation::Linear,
        Some(other) => return Err(context.unsupported(format!("mode `{other}` before operator set 11"))),
    };
    let coordinate_transformation_mode = Coordinates::Asymmetric;
    let op = Resize { mode, coordinate_transformation_mode, nearest_mode, ..Resize::default() };
    let node = context.add(op, &[Some(x), None, Some(scales)])?;
    Ok(context.results(node))
}

/// Which neighbor is nearest, from whether axes grow or shrink.
fn nearest_by_scales(context: &NodeContext<'_, '_>, scales: ValueId) -> Result<NearestMode, NodeError> {
    let scales =
        context.constant(scales).map(|scales| scales.to_f64()).transpose().map_err(NodeError::Tensor)?;
    match scales {
        Some(scales) if scales.iter().all(|scale| *scale >= 1.0) => Ok(NearestMode::Floor),
        Some(scales) if scales.iter().all(|scale| *scale <= 1.0) => Ok(NearestMode::Ceil),
        Some(_) => Err(context.unsupported("axes that grow and others that shrink, before operator set 11")),
        None => Err(context.unsupported("scales that are not constant, before operator set 11")),
    }
}
