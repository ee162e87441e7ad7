//! Makes a constant that is added to the result of a layer its bias.
//!
//! - `conv(x, w) + c` with a number per channel is `conv(x, w, c)`.
//! - `gemm(a, b) + c` with a number per column is `gemm(a, b, c)`.
//! - `matmul(a, b) + c` is a `gemm`, too, where both operands have two axes; other products have no bias operand.
//!
//! A bias that is there already is added to.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 2, 4, 4]) {
//!   %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2, 1, 1]
//!   %c = weight [0.5, 0.25] : f32[1, 2, 1, 1]
//!   %0 = conv(%x, %w) : f32[1, 2, 4, 4]
//!   %y = add(%c, %0) : f32[1, 2, 4, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 2, 4, 4]) {
//!   %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2, 1, 1]
//!   %0 = weight [0.5, 0.25] : f32[2]
//!   %y = conv(%x, %w, %0) : f32[1, 2, 4, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Gemm, OpKind};

use super::affine::sizes_along;
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{both_ways, channel_axis, is_constant, only_read_by};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseConvBias;

const INFO: PassInfo = PassInfo { name: "fuse-conv-bias", source: include_str!("conv_bias.rs") };

impl Pass for FuseConvBias {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let rule = FnRule { name: "addend-into-bias", roots: &[OpKind::Add], rewrite: addend_into_bias };
        apply_rules(graph, &[&rule], cx)
    }
}

fn addend_into_bias(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let biased =
        both_ways(root).find(|(y, addend)| is_constant(*addend) && bias_axis(y.producer()).is_some());
    let (y, addend) = biased.ok_or(Skip::NoMatch)?;
    let layer = y.producer();
    let axis = bias_axis(layer).ok_or(Skip::NoMatch)?;
    let sizes = sizes_along(addend, y, axis..axis + 1).ok_or_else(|| {
        because(
            root,
            format!("its constant, {}, is not one number for each of axis {axis} of {}", addend.ty(), y.ty()),
        )
    })?;
    only_read_by(y, root)?;
    let addend = patch.sized(addend.id(), &sizes)?;
    let mut operands: Vec<Option<ValueId>> =
        layer.operands().map(|operand| operand.map(ValueRef::id)).collect();
    operands.resize(3, None);
    operands[2] = Some(match operands[2] {
        Some(bias) => patch.derived(Add, &[bias, addend])?,
        None => addend,
    });
    let op = match layer.op().kind() {
        OpKind::MatMul => Gemm::default().into(),
        _ => layer.op().clone(),
    };
    let biased = patch.op(op, &operands)?;
    Ok(patch.replace(root.result().id(), biased)?)
}

/// The axis of the channels of `layer`, when it has or can have a bias that is constant.
fn bias_axis(layer: NodeRef<'_>) -> Option<usize> {
    let has_two_axes = |name: &str| layer.operand(name).is_some_and(|value| value.ty().rank() == 2);
    let bias_is_constant = |name: &str| layer.operand(name).is_none_or(is_constant);
    match layer.op().kind() {
        OpKind::Conv | OpKind::ConvTranspose => channel_axis(layer).filter(|_| bias_is_constant("b")),
        OpKind::MatMul => (has_two_axes("a") && has_two_axes("b")).then_some(1),
        OpKind::Gemm => {
            let gemm = layer.is::<Gemm>()?;
            // Of integers, what is multiplied by `alpha` is rounded together with the bias.
            let is_exact = gemm.alpha.get() == 1.0 || layer.result().ty().dtype.is_float();
            (is_exact && gemm.beta.get() == 1.0 && bias_is_constant("c")).then_some(1)
        }
        _ => None,
    }
}
