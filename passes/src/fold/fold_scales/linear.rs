//! Factors after and before products with a constant weight.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Op, OpKind};
use quad_ir::types::Dim;

use super::factor::{Along, Factor};
use super::rebuilt;
use crate::emit::weight_of;
use crate::pattern::{is_constant, only_read_by};
use crate::rule::{Rule, Skip, because};

/// A factor after a product goes into its weight and its bias.
#[derive(Debug)]
pub(super) struct ScaleAfterLinear {
    pub(super) copy_weights: bool,
}

/// A factor before a product goes into its weight.
#[derive(Debug)]
pub(super) struct ScaleBeforeLinear {
    pub(super) copy_weights: bool,
}

/// A node that is linear in its first operand, with a constant weight.
pub(in crate::fold) struct Linear<'g> {
    pub(in crate::fold) node: NodeRef<'g>,
    pub(in crate::fold) x: ValueRef<'g>,
    pub(in crate::fold) weight: ValueRef<'g>,
    pub(in crate::fold) weight_name: &'static str,
    pub(in crate::fold) bias_name: &'static str,
    /// The axis of `x` that is summed over, and the axis of the weight that goes with it, if there is one.
    pub(in crate::fold) input: (usize, Option<usize>),
    /// The axis of the result that is not an axis of `x`, and that of the weight.
    pub(in crate::fold) output: (usize, Option<usize>),
}

impl<'g> Linear<'g> {
    pub(in crate::fold) fn of(node: NodeRef<'g>) -> Option<Self> {
        let names = match node.op() {
            Op::MatMul(_) => ["a", "b", ""],
            Op::Gemm(_) => ["a", "b", "c"],
            Op::Conv(_) | Op::ConvTranspose(_) => ["x", "w", "b"],
            _ => return None,
        };
        let (x, weight) = node.operand(names[0]).zip(node.operand(names[1]))?;
        let (rank, last) = (weight.ty().rank(), node.result().ty().rank().checked_sub(1)?);
        let (input, output) = match node.op() {
            Op::MatMul(_) if rank >= 2 && x.ty().rank() >= 2 => {
                ((x.ty().rank() - 1, Some(rank - 2)), (last, Some(rank - 1)))
            }
            Op::Gemm(gemm) => {
                let rows = usize::from(gemm.transB);
                ((usize::from(!gemm.transA), Some(rows)), (1, Some(1 - rows)))
            }
            // Each group of output channels reads input channels of its own.
            Op::Conv(conv) => {
                let (channels, inputs) = match conv.layout {
                    DataLayout::Nchw => (1, 1),
                    DataLayout::Nhwc => (last, rank - 1),
                };
                ((channels, (conv.group == 1).then_some(inputs)), (channels, Some(0)))
            }
            Op::ConvTranspose(conv) => {
                let (channels, inputs, outputs) = match conv.layout {
                    DataLayout::Nchw => (1, 0, 1),
                    DataLayout::Nhwc => (last, rank - 1, 0),
                };
                ((channels, Some(inputs)), (channels, (conv.group == 1).then_some(outputs)))
            }
            _ => return None,
        };
        let is_linear = is_constant(weight) && !is_constant(x);
        let [_, weight_name, bias_name] = names;
        is_linear.then_some(Self { node, x, weight, weight_name, bias_name, input, output })
    }

    /// How many output channels the weight has.
    pub(in crate::fold) fn weight_channels(&self) -> Dim {
        self.output.1.map_or(Dim::Known(0), |axis| self.weight.ty().shape[axis].clone())
    }

    /// The weight with `factor` in it, whose elements go along `axis` of it.
    fn scaled(
        &self,
        factor: &Factor<'_>,
        axis: Option<usize>,
        patch: &mut Patch<'_>,
    ) -> Result<quad_ir::weights::WeightId, Skip> {
        let mut sizes = vec![1; self.weight.ty().rank()];
        if let Some(axis) = axis {
            sizes[axis] = self.weight.ty().shape[axis].known().ok_or(Skip::NoMatch)?;
        }
        let weight = weight_of(self.weight, patch)?.ok_or(Skip::NoMatch)?;
        factor.apply(weight, &sizes, patch)
    }

    fn check_shared(&self, copy_weights: bool) -> Result<(), Skip> {
        if copy_weights { Ok(()) } else { only_read_by(self.weight, self.node) }
    }
}

/// The axis of the weight along which `factor` goes, which differs along the axis of channels only, if at all.
fn weight_axis(
    factor: &Factor<'_>,
    (channels, of_weight): (usize, Option<usize>),
    node: NodeRef<'_>,
) -> Result<Option<usize>, Skip> {
    match factor.along() {
        Along::None => Ok(None),
        Along::Axis(axis) if axis == channels => match of_weight {
            Some(axis) => Ok(Some(axis)),
            None => Err(because(node, "its groups do not share their channels")),
        },
        _ => Err(because(node, "its factor differs along another axis than that of channels")),
    }
}

impl Rule for ScaleAfterLinear {
    fn name(&self) -> &'static str {
        "scale-after-linear"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Mul, OpKind::Div]
    }

    fn rewrite(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let factor = Factor::scale(node).ok_or(Skip::NoMatch)?;
        let linear = Linear::of(factor.x.producer()).ok_or(Skip::NoMatch)?;
        only_read_by(factor.x, node)?;
        let axis = weight_axis(&factor, linear.output, node)?;
        factor.check_range(node)?;
        linear.check_shared(self.copy_weights)?;
        let weight = linear.scaled(&factor, axis, patch)?;
        let mut changed = vec![(linear.weight_name, patch.add_weight(weight)?)];
        if let Some(bias) = linear.node.operand(linear.bias_name) {
            if !is_constant(bias) {
                return Err(because(linear.node, "its bias is computed"));
            }
            // The channels are the last axis of a bias, or the only one.
            let sizes: Vec<u64> = axis.iter().map(|_| factor.sizes()[linear.output.0]).collect();
            let bias = weight_of(bias, patch)?.ok_or(Skip::NoMatch)?;
            let bias = factor.apply(bias, &sizes, patch)?;
            changed.push((linear.bias_name, patch.add_weight(bias)?));
        }
        let new = rebuilt(linear.node, &changed, patch)?;
        patch.replace(node.result().id(), patch.results(new)[0])?;
        Ok(())
    }
}

impl Rule for ScaleBeforeLinear {
    fn name(&self) -> &'static str {
        "scale-before-linear"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::MatMul, OpKind::Gemm, OpKind::Conv, OpKind::ConvTranspose]
    }

    fn rewrite(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let linear = Linear::of(node).ok_or(Skip::NoMatch)?;
        let factor = Factor::scale(linear.x.producer()).ok_or(Skip::NoMatch)?;
        only_read_by(linear.x, node)?;
        let axis = weight_axis(&factor, linear.input, linear.x.producer())?;
        factor.check_range(linear.x.producer())?;
        linear.check_shared(self.copy_weights)?;
        let weight = linear.scaled(&factor, axis, patch)?;
        let weight = patch.add_weight(weight)?;
        let x_name = node.op().def().operands()[0].name;
        let new = rebuilt(node, &[(x_name, factor.x.id()), (linear.weight_name, weight)], patch)?;
        patch.replace(node.result().id(), patch.results(new)[0])?;
        Ok(())
    }
}
