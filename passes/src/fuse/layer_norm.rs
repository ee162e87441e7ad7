//! Recognizes layer normalization where it is spelled out, as `layer_norm`.
//!
//! `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + epsilon)` along the last axes, divided by the root or multiplied by its
//! reciprocal. A constant factor and addend of the sizes of those axes become scale and bias, also those that follow a
//! `layer_norm` that is one already.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3, 4]) {
//!   %last = weight [-1] : i64[1]
//!   %two = weight 2.0 : f32[]
//!   %epsilon = weight 1e-5 : f32[]
//!   %scale = weight [1.0, 2.0, 3.0, 4.0] : f32[4]
//!   %bias = weight [0.1, 0.2, 0.3, 0.4] : f32[4]
//!   %mean = reduce_mean(%x, %last) : f32[2, 3, 1]
//!   %0 = sub(%x, %mean) : f32[2, 3, 4]
//!   %1 = pow(%0, %two) : f32[2, 3, 4]
//!   %variance = reduce_mean(%1, %last) : f32[2, 3, 1]
//!   %2 = add(%variance, %epsilon) : f32[2, 3, 1]
//!   %3 = sqrt(%2) : f32[2, 3, 1]
//!   %4 = div(%0, %3) : f32[2, 3, 4]
//!   %5 = mul(%4, %scale) : f32[2, 3, 4]
//!   %y = add(%5, %bias) : f32[2, 3, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3, 4]) {
//!   %scale = weight [1.0, 2.0, 3.0, 4.0] : f32[4]
//!   %bias = weight [0.1, 0.2, 0.3, 0.4] : f32[4]
//!   %y, %0, %1 = layer_norm(%x, %scale, %bias) : f32[2, 3, 4], f32[2, 3, 1], f32[2, 3, 1]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::{LayerNorm, OpKind};
use quad_ir::types::Dim;

use super::affine::{AddendIntoNorm, FactorIntoNorm};
use super::narrow::NormBetweenCasts;
use super::standardized::{ROOTS, Standardized};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseLayerNorm;

const INFO: PassInfo = PassInfo { name: "fuse-layer-norm", source: include_str!("layer_norm.rs") };

impl Pass for FuseLayerNorm {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let (factor, addend) = (FactorIntoNorm(OpKind::LayerNorm), AddendIntoNorm(OpKind::LayerNorm));
        let casts = NormBetweenCasts(OpKind::LayerNorm);
        apply_rules(graph, &[&SpelledOutLayerNorm, &casts, &factor, &addend], cx)
    }
}

/// `y = (x - mean) / sqrt(variance + epsilon)`.
#[derive(Debug)]
struct SpelledOutLayerNorm;

impl Rule for SpelledOutLayerNorm {
    fn name(&self) -> &'static str {
        "spelled-out-layer-norm"
    }

    fn roots(&self) -> &'static [OpKind] {
        ROOTS
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = root.result();
        let standardized = Standardized::of(y).ok_or(Skip::NoMatch)?;
        let x = standardized.centered().ok_or(Skip::NoMatch)?;
        let first = standardized.first_axis(root)?;
        let sizes: Option<Vec<u64>> = x.ty().shape[first..].iter().map(Dim::known).collect();
        let sizes = sizes.ok_or_else(|| because(root, "the sizes of the normalized axes are not known"))?;
        let axis = first as i64 - x.ty().rank() as i64;
        let op = LayerNorm { axis, epsilon: (standardized.epsilon as f32).into(), ..LayerNorm::default() };
        let ones = patch.filled(x.ty().dtype, &sizes, 1.0)?;
        let normed = patch.op(op, &[Some(x.id()), Some(ones)])?;
        Ok(patch.replace(y.id(), normed)?)
    }
}
