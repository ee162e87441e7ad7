//! A convolution along time that carries what it needs of the past from call to call.

use quad_ir::ops::{Concat, Conv, Pad, Slice, Swish};

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

/// The past, or zeros, before the input; a convolution of each channel alone; and the end of the input for next time.
pub(super) fn read(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (x, weight) = (context.operand(0)?, context.operand(1)?);
    let (bias, past) = (context.optional(2), context.optional(3));
    let fixed = |axis: usize| context.ty(weight).shape.get(axis)?.known();
    let (Some(channels), Some(width)) = (fixed(0), fixed(2).filter(|width| *width > 0)) else {
        return Err(context.unsupported("a kernel whose sizes are not fixed"));
    };
    let kept = i64::try_from(width - 1).unwrap_or(i64::MAX);
    let padded = if let Some(past) = past {
        context.value(Concat { axis: 2 }, &[past, x])?
    } else {
        let pads = context.integers(&[0, 0, kept, 0, 0, 0])?;
        context.value(Pad::default(), &[x, pads])?
    };
    let conv =
        context.add(Conv { group: channels, ..Conv::default() }, &[Some(padded), Some(weight), bias])?;
    let mut y = context.results(conv)[0];
    match context.word("activation")?.as_deref() {
        None | Some("none") => {}
        Some("silu" | "swish") => y = context.value(Swish::default(), &[y])?,
        Some(other) => return Err(context.unsupported(format!("activation `{other}`"))),
    }
    // A kernel of one element keeps nothing: a start beyond the end.
    let start = context.integers(&[if kept == 0 { i64::MAX } else { -kept }])?;
    let (end, axis) = (context.integers(&[i64::MAX])?, context.integers(&[2])?);
    let present = context.value(Slice, &[padded, start, end, axis])?;
    Ok(Values::from_slice(&[y, present]))
}
