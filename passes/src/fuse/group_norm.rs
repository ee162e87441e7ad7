//! Recognizes group normalization where it is spelled out, as `group_norm`.
//!
//! Exporters write it as an instance normalization, without scale and bias, of the channels of a group taken together:
//! reshape, `instance_norm`, reshape, multiply, add. Others write mean and variance out, too. The shapes may be computed
//! when the graph runs; what counts is that the first reshape keeps the batch, and that the last makes channels of the
//! groups again. A constant factor and addend, one number for each channel, become scale and bias.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[batch, 6, 4, 4]) {
//!   %grouped = weight [0, 2, -1] : i64[3]
//!   %ones = weight [1.0, 1.0] : f32[2]
//!   %zeros = weight [0.0, 0.0] : f32[2]
//!   %scale = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] : f32[6, 1, 1]
//!   %bias = weight [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] : f32[6, 1, 1]
//!   %0 = reshape(%x, %grouped) : f32[batch, 2, 48]
//!   %1 = instance_norm(%0, %ones, %zeros) : f32[batch, 2, 48]
//!   %shape = shape_of(%x) : i64[4]
//!   %2 = reshape(%1, %shape) : f32[batch, 6, 4, 4]
//!   %3 = mul(%2, %scale) : f32[batch, 6, 4, 4]
//!   %y = add(%3, %bias) : f32[batch, 6, 4, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[batch, 6, 4, 4]) {
//!   %0 = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] : f32[6]
//!   %1 = weight [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] : f32[6]
//!   %y = group_norm(%x, %0, %1) {num_groups = 2} : f32[batch, 6, 4, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{GroupNorm, InstanceNorm, OpKind, Reshape};
use quad_ir::types::Dim;

use super::affine::{AddendIntoNorm, FactorIntoNorm};
use super::standardized::{ROOTS, Standardized};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{made_by, only_read_by, uniform};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseGroupNorm;

const INFO: PassInfo = PassInfo { name: "fuse-group-norm", source: include_str!("group_norm.rs") };

impl Pass for FuseGroupNorm {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let (factor, addend) = (FactorIntoNorm(OpKind::GroupNorm), AddendIntoNorm(OpKind::GroupNorm));
        apply_rules(graph, &[&GroupedInstanceNorm, &GroupedMoments, &factor, &addend], cx)
    }
}

/// `instance_norm` of groups, between two reshapes.
#[derive(Debug)]
struct GroupedInstanceNorm;

impl Rule for GroupedInstanceNorm {
    fn name(&self) -> &'static str {
        "grouped-instance-norm"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::InstanceNorm]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let norm = root.is::<InstanceNorm>().ok_or(Skip::NoMatch)?;
        let grouped = root.operand("x").ok_or(Skip::NoMatch)?;
        let groups = Groups::between(grouped, root)?;
        if norm.layout != DataLayout::Nchw {
            return Err(because(root, "it has the channels last, where they are no neighbors in memory"));
        }
        let parameter = |name: &str| {
            let differs = || because(root, format!("its {name} is not the same for all groups"));
            root.operand(name).and_then(uniform).ok_or_else(differs)
        };
        groups.normalize(norm.epsilon.get(), parameter("scale")?, parameter("bias")?, patch)
    }
}

/// `(x - mean) / sqrt(variance + epsilon)` of groups, between two reshapes.
#[derive(Debug)]
struct GroupedMoments;

impl Rule for GroupedMoments {
    fn name(&self) -> &'static str {
        "grouped-moments"
    }

    fn roots(&self) -> &'static [OpKind] {
        ROOTS
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let standardized = Standardized::of(root.result()).ok_or(Skip::NoMatch)?;
        let grouped = standardized.centered().ok_or(Skip::NoMatch)?;
        if !standardized.axes.iter().copied().eq(2..grouped.ty().rank()) {
            return Err(Skip::NoMatch);
        }
        let groups = Groups::between(grouped, root)?;
        groups.normalize(standardized.epsilon as f32, 1.0, 0.0, patch)
    }
}

/// Channels in groups.
struct Groups<'g> {
    x: ValueRef<'g>,
    /// The reshape that makes channels of the groups again.
    apart: NodeRef<'g>,
    count: u64,
    channels: u64,
}

impl<'g> Groups<'g> {
    /// What is reshaped to `grouped`, which is `[batch, groups, ..]`, and after `norm` to `[batch, channels, ..]`.
    fn between(grouped: ValueRef<'g>, norm: NodeRef<'g>) -> Result<Self, Skip> {
        let (taken_together, _) = made_by::<Reshape>(grouped).ok_or(Skip::NoMatch)?;
        let x = taken_together.operand("x").ok_or(Skip::NoMatch)?;
        let readers = norm.result().readers().map(|(reader, _)| reader);
        let apart =
            readers.into_iter().find(|reader| reader.is::<Reshape>().is_some()).ok_or(Skip::NoMatch)?;
        only_read_by(norm.result(), apart)?;
        let (groups, result) = (&grouped.ty().shape, &apart.result().ty().shape);
        let (Some(count), Some(channels)) =
            (groups.get(1).and_then(Dim::known), result.get(1).and_then(Dim::known))
        else {
            return Err(because(apart, "the numbers of channels and groups are not known"));
        };
        if groups[0] != result[0] || count == 0 || channels % count != 0 {
            let (found, grouped) = (apart.result().ty(), grouped.ty());
            return Err(because(apart, format!("{grouped} are no groups of the channels of {found}")));
        }
        Ok(Self { x, apart, count, channels })
    }

    /// Puts a group normalization with uniform scale and bias in the place of all.
    fn normalize(&self, epsilon: f32, scale: f64, bias: f64, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = self.apart.result();
        let mut x = self.x.id();
        if self.x.ty() != y.ty() {
            // The spatial axes may have been laid together before; that is one reshape with the one into groups.
            let shape = self.apart.operand("shape").ok_or(Skip::NoMatch)?;
            x = patch.add_value(self.apart.op().clone(), &[x, shape.id()])?;
        }
        if patch.ty(x) != Some(y.ty()) {
            return Err(because(
                self.apart,
                "its shape operand would mean another shape before the groups are made",
            ));
        }
        let dtype = y.ty().dtype;
        let scale = patch.filled(dtype, &[self.channels], scale)?;
        let bias = patch.filled(dtype, &[self.channels], bias)?;
        let op = GroupNorm { num_groups: self.count, epsilon: epsilon.into(), ..GroupNorm::default() };
        let normed = patch.add_value(op, &[x, scale, bias])?;
        Ok(patch.replace(y.id(), normed)?)
    }
}
