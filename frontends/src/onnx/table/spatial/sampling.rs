//! Sampling at computed places.

use quad_ir::ops::grid_sample::SampleMode;
use quad_ir::ops::roi_align::RoiCoordinates;
use quad_ir::ops::{DeformConv, GridSample, RoiAlign};

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::table::read_regular;
use crate::onnx::table::windows::check_kernel_shape;

/// Before operator set 20 the modes were named for two axes.
pub(super) fn grid_sample(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let older = match context.word("mode")?.as_deref() {
        Some("bilinear") => Some(SampleMode::Linear),
        Some("bicubic") => Some(SampleMode::Cubic),
        _ => None,
    };
    let op = match older {
        // No attribute has an empty name: the mode is the one read above.
        Some(mode) => GridSample { mode, ..context.op_renamed(&[("mode", "")])? },
        None => context.op()?,
    };
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// Before operator set 16 places were not shifted by half an element.
pub(super) fn roi_align(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<RoiAlign>()?;
    if context.opset() < 16 {
        op.coordinate_transformation_mode = RoiCoordinates::OutputHalfPixel;
    }
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// The kernel shape repeats the sizes of the kernel.
pub(super) fn deform_conv(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    check_kernel_shape(context, 1)?;
    read_regular::<DeformConv>(context)
}
