//! Recognizes normalization by the root mean square where it is spelled out, as `rms_norm`.
//!
//! `x / sqrt(mean(x^2) + epsilon)` along the last axes, divided by the root or multiplied by its reciprocal. A constant
//! factor of the sizes of those axes becomes the scale. Casts to a wider type before, and back afterwards, go: the sums are
//! formed in full precision anyway. What is centered first is a layer normalization, and is left to
//! `fuse-layer-norm`.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3, 4]) {
//!   %last = weight [-1] : i64[1]
//!   %epsilon = weight 1e-6 : f32[]
//!   %one = weight 1.0 : f32[]
//!   %scale = weight [1.0, 2.0, 3.0, 4.0] : f32[4]
//!   %0 = mul(%x, %x) : f32[2, 3, 4]
//!   %1 = reduce_mean(%0, %last) : f32[2, 3, 1]
//!   %2 = add(%epsilon, %1) : f32[2, 3, 1]
//!   %3 = sqrt(%2) : f32[2, 3, 1]
//!   %4 = div(%one, %3) : f32[2, 3, 1]
//!   %5 = mul(%x, %4) : f32[2, 3, 4]
//!   %y = mul(%scale, %5) : f32[2, 3, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3, 4]) {
//!   %scale = weight [1.0, 2.0, 3.0, 4.0] : f32[4]
//!   %y = rms_norm(%x, %scale) {epsilon = 1e-6} : f32[2, 3, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::{OpKind, RmsNorm};
use quad_ir::types::Dim;

use super::affine::FactorIntoNorm;
use super::narrow::NormBetweenCasts;
use super::standardized::{ROOTS, Standardized};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseRmsNorm;

const INFO: PassInfo = PassInfo { name: "fuse-rms-norm", source: include_str!("rms_norm.rs") };

impl Pass for FuseRmsNorm {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let casts = NormBetweenCasts(OpKind::RmsNorm);
        apply_rules(graph, &[&SpelledOutRmsNorm, &casts, &FactorIntoNorm(OpKind::RmsNorm)], cx)
    }
}

/// `y = x / sqrt(mean(x^2) + epsilon)`.
#[derive(Debug)]
struct SpelledOutRmsNorm;

impl Rule for SpelledOutRmsNorm {
    fn name(&self) -> &'static str {
        "spelled-out-rms-norm"
    }

    fn roots(&self) -> &'static [OpKind] {
        ROOTS
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = root.result();
        let standardized =
            Standardized::of(y).filter(|found| found.centered().is_none()).ok_or(Skip::NoMatch)?;
        let x = standardized.c;
        let first = standardized.first_axis(root)?;
        let sizes: Option<Vec<u64>> = x.ty().shape[first..].iter().map(Dim::known).collect();
        let sizes = sizes.ok_or_else(|| because(root, "the sizes of the normalized axes are not known"))?;
        let axis = first as i64 - x.ty().rank() as i64;
        let op = RmsNorm { axis, epsilon: (standardized.epsilon as f32).into() };
        let ones = patch.filled(x.ty().dtype, &sizes, 1.0)?;
        let normed = patch.add_value(op, &[x.id(), ones])?;
        Ok(patch.replace(y.id(), normed)?)
    }
}
