//! Merges factors and addends that are constants into the weights next to them.
//!
//! - A factor after a product, a convolution or a `gemm` with a constant weight goes into the weight and the bias, as one
//!   number or one per output channel.
//! - A factor before one goes into the weight, as one number or one per input channel. Padding stays zero.
//! - A factor or an addend after a normalization goes into its scale and bias.
//! - A factor of the queries or the keys goes into the `scale` of an `attention`.
//!
//! Weights become recipes. One that is read elsewhere too is left, since it would be stored twice; with `copy-weights` it
//! is copied. Weights of `f16` take factors from 1/64 to 1 only, so that none overflows or loses bits.
//!
//! Results differ by rounding: what was rounded twice is rounded once, elsewhere.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %half = weight 0.5 : f32[]
//!   %early = mul(%x, %half) : f32[2, 3]
//!   %w = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] : f32[3, 2]
//!   %product = matmul(%early, %w) : f32[2, 2]
//!   %late = weight [2.0, 4.0] : f32[2]
//!   %y = mul(%product, %late) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %0 = weight [1.0, 4.0, 3.0, 8.0, 5.0, 12.0] : f32[3, 2]
//!   %y = matmul(%x, %0) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```

mod attention;
mod factor;
pub(super) mod linear;
mod normalization;

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueId};

use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FoldScales {
    /// Whether a weight that is read elsewhere too is copied, so that the file has both.
    pub copy_weights: bool,
}

const INFO: PassInfo = PassInfo { name: "fold-scales", source: include_str!("fold_scales.rs") };

impl Pass for FoldScales {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("copy-weights", &mut self.copy_weights)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let after = linear::ScaleAfterLinear { copy_weights: self.copy_weights };
        let before = linear::ScaleBeforeLinear { copy_weights: self.copy_weights };
        let rules: [&dyn Rule; 4] = [&after, &before, &normalization::RULE, &attention::RULE];
        apply_rules(graph, &rules, cx)
    }
}

/// Adds `node` anew, with some operands changed: each is named as the operation declares it.
pub(super) fn rebuilt(
    node: NodeRef<'_>,
    changed: &[(&str, ValueId)],
    patch: &mut Patch<'_>,
) -> Result<NodeId, Skip> {
    let mut operands: Vec<Option<ValueId>> =
        node.operands().map(|operand| operand.map(quad_ir::graph::ValueRef::id)).collect();
    for (name, value) in changed {
        let declared = node.op().def().operands().iter().position(|operand| operand.name == *name);
        let index = declared.ok_or(Skip::NoMatch)?;
        operands.resize(operands.len().max(index + 1), None);
        operands[index] = Some(*value);
    }
    Ok(patch.add(node.op().clone(), &operands)?)
}
