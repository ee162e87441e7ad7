//! Constants that a value is multiplied with, divided by, or added to.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Div, Mul, Op, Reshape};
use quad_ir::tensor::Tensor;
use quad_ir::types::Dim;
use quad_ir::weights::{WeightError, WeightId};

use crate::emit::weight_of;
use crate::pattern::{both_ways, is_constant};
use crate::rule::{Skip, because};

/// What is done to a value with a constant.
#[derive(Clone, Debug)]
pub(super) struct Factor<'g> {
    /// The value.
    pub(super) x: ValueRef<'g>,
    /// The constant, the second operand.
    pub(super) constant: ValueRef<'g>,
    /// The operation.
    pub(super) op: &'g Op,
}

/// Along which axes of a value a constant differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    /// None: it is one number.
    None,
    /// One.
    Axis(usize),
    /// Several.
    Several,
}

/// Factors that weights of `f16` take: the smallest and the largest.
const F16_FACTORS: [f64; 2] = [1.0 / 64.0, 1.0];

impl<'g> Factor<'g> {
    /// What `node` does with a constant, where it stretches nothing.
    pub(super) fn of(node: NodeRef<'g>) -> Option<Self> {
        let (x, constant) =
            both_ways(node).find(|(x, constant)| is_constant(*constant) && !is_constant(*x))?;
        let keeps_shape = x.ty() == node.result().ty() && constant.ty().shape.as_known().is_some();
        keeps_shape.then_some(Self { x, constant, op: node.op() })
    }

    /// As [`of`](Self::of), for products and quotients of floats. Quotients of integers are rounded.
    pub(super) fn scale(node: NodeRef<'g>) -> Option<Self> {
        let scales = |factor: &Self| matches!(factor.op, Op::Mul(Mul) | Op::Div(Div));
        Self::of(node).filter(|factor| scales(factor) && factor.x.ty().dtype.is_float())
    }

    /// The sizes of the constant along each axis of the value.
    pub(super) fn sizes(&self) -> Vec<u64> {
        let rank = self.x.ty().rank();
        let own = self.constant.ty().shape.iter().rev().map(|dim| dim.known().unwrap_or(1));
        let mut sizes: Vec<u64> = own.chain(std::iter::repeat(1)).take(rank).collect();
        sizes.reverse();
        sizes
    }

    /// Along which axes of the value the constant differs.
    pub(super) fn along(&self) -> Along {
        let sizes = self.sizes();
        let mut long = sizes.iter().enumerate().filter(|(_, size)| **size != 1).map(|(axis, _)| axis);
        match (long.next(), long.next()) {
            (None, _) => Along::None,
            (Some(axis), None) => Along::Axis(axis),
            _ => Along::Several,
        }
    }

    /// The constant with `sizes`, as a weight.
    pub(super) fn sized(&self, sizes: &[u64], patch: &mut Patch<'_>) -> Result<WeightId, Skip> {
        let constant = weight_of(self.constant, patch)?.ok_or(Skip::NoMatch)?;
        if self.constant.ty().shape.iter().map(Dim::known).eq(sizes.iter().map(|size| Some(*size))) {
            return Ok(constant);
        }
        let target: Vec<i64> = sizes.iter().map(|size| size.cast_signed()).collect();
        let target = Tensor::from_vec(&[target.len()], target).map_err(WeightError::from)?;
        let target = patch.weights_mut().add_tensor(&target)?;
        let reshape = Reshape { allowzero: sizes.contains(&0) };
        Ok(patch.weights_mut().derive(reshape, &[Some(constant), Some(target)])?)
    }

    /// What the operation makes of `weight` and the constant with `sizes`.
    pub(super) fn apply(
        &self,
        weight: WeightId,
        sizes: &[u64],
        patch: &mut Patch<'_>,
    ) -> Result<WeightId, Skip> {
        let constant = self.sized(sizes, patch)?;
        Ok(patch.weights_mut().derive(self.op.clone(), &[Some(weight), Some(constant)])?)
    }

    /// Passes when no element of a weight could overflow or lose bits; a near miss at `node` otherwise.
    pub(super) fn check_range(&self, node: NodeRef<'_>) -> Result<(), Skip> {
        if self.constant.ty().dtype != DType::F16 {
            return Ok(());
        }
        let elements =
            self.constant.constant().and_then(|elements| elements.to_f64().ok()).unwrap_or_default();
        let is_safe = |element: &f64| {
            let factor = if matches!(self.op, Op::Div(_)) { 1.0 / element.abs() } else { element.abs() };
            (F16_FACTORS[0]..=F16_FACTORS[1]).contains(&factor)
        };
        if !elements.is_empty() && elements.iter().all(is_safe) {
            return Ok(());
        }
        Err(because(node, "its factor is not known to keep weights of f16 in range"))
    }
}
