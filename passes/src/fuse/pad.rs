//! Makes zeros that are put around an image part of the convolution that reads it.
//!
//! Exporters write the padding of one side only, which downsampling convolutions have, as a `pad` before the `conv`, with
//! numbers that may be computed. A `conv` has its own for each side.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 1, 4, 4]) {
//!   %pads = weight [0, 0, 0, 0, 0, 0, 1, 1] : i64[8]
//!   %zero = weight 0.0 : f32[]
//!   %w = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0] : f32[1, 1, 3, 3]
//!   %0 = pad(%x, %pads, %zero) : f32[1, 1, 5, 5]
//!   %y = conv(%0, %w) {strides = [2, 2]} : f32[1, 1, 2, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 1, 4, 4]) {
//!   %w = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0] : f32[1, 1, 3, 3]
//!   %y = conv(%x, %w) {strides = [2, 2], pads = [0, 0, 1, 1]} : f32[1, 1, 2, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::{Conv, OpKind, Pad};

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{axis_of, integers, is_uniform, made_by};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FusePad;

const INFO: PassInfo = PassInfo { name: "fuse-pad", source: include_str!("pad.rs") };

impl Pass for FusePad {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let rule = FnRule { name: "pad-into-conv", roots: &[OpKind::Conv], rewrite: pad_into_conv };
        apply_rules(graph, &[&rule], cx)
    }
}

fn pad_into_conv(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let conv = root.is::<Conv>().ok_or(Skip::NoMatch)?;
    let (pad, _) = root.operand("x").and_then(made_by::<Pad>).ok_or(Skip::NoMatch)?;
    let x = pad.operand("x").ok_or(Skip::NoMatch)?;
    let first = if conv.layout == DataLayout::Nchw { 2 } else { 1 };
    let around = spatial_pads(pad, x, first)?;
    let own = conv.pads.iter().copied().chain(std::iter::repeat(0));
    let pads = around.into_iter().zip(own).map(|(around, own)| around + own).collect();
    let mut operands: Vec<Option<ValueId>> =
        root.operands().map(|operand| operand.map(ValueRef::id)).collect();
    operands[0] = Some(x.id());
    let padded = patch.op(Conv { pads, ..conv.clone() }, &operands)?;
    Ok(patch.replace(root.result().id(), padded)?)
}

/// What `pad` adds before each spatial axis of `x`, of which `first` is the first one, then after each.
fn spatial_pads(pad: NodeRef<'_>, x: ValueRef<'_>, first: usize) -> Result<Vec<u64>, Skip> {
    let left = |why: &'static str| because(pad, why);
    if pad.is::<Pad>().is_none_or(|pad| pad.mode != PadMode::Constant) {
        return Err(left("it repeats elements instead of adding zeros"));
    }
    if pad.operand("value").is_some_and(|value| !is_uniform(value, 0.0)) {
        return Err(left("what it adds is not known to be zero"));
    }
    let pads = pad.operand("pads").and_then(integers).ok_or_else(|| left("how much it adds is not known"))?;
    let rank = x.ty().rank();
    let axes: Vec<usize> = match pad.operand("axes") {
        Some(axes) => {
            let axes = integers(axes).ok_or_else(|| left("its axes are not known"))?;
            axes.into_iter().filter_map(|axis| axis_of(axis, x)).collect()
        }
        None => (0..rank).collect(),
    };
    let mut spatial = vec![0; 2 * (rank - 2)];
    for (place, amount) in pads.into_iter().enumerate() {
        let amount = u64::try_from(amount).map_err(|_| left("it removes elements"))?;
        let (axis, after) = (axes[place % axes.len()], place / axes.len());
        match axis.checked_sub(first).filter(|axis| *axis < rank - 2) {
            Some(axis) => spatial[after * (rank - 2) + axis] = amount,
            None if amount == 0 => {}
            None => return Err(left("it adds to the batch or to the channels")),
        }
    }
    Ok(spatial)
}
