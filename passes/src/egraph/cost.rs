//! What operations cost on a target, as far as choosing between equal expressions needs it.

use quad_ir::ops::{Op, OpKind};
use quad_ir::types::TensorType;

/// Weighs operations. A target has its own, where it knows better than [`ElementCosts`].
pub trait CostModel {
    /// The cost of `op` on operands and with a result of these types; `None` is an operand that is left out. The unit is
    /// up to the model. Operations on constants only are not asked for: they become recipes of weights.
    fn cost(&self, op: &Op, operands: &[Option<&TensorType>], result: &TensorType) -> u64;
}

/// Costs for a machine of which nothing is known: the unit is an element that is read or written in order.
///
/// * a transpose reads and writes out of order: 4 for each element;
/// * a reshape reads and writes in order, where it is not free: 2 for each element;
/// * sums of products take 1 for [`PRODUCTS`](Self::PRODUCTS) of them, beside what they read and write;
/// * everything else takes 1 for each element of operands and results.
///
/// Every operation takes [`START`](Self::START) to start. A size that is not known counts as [`SIZE`](Self::SIZE).
#[derive(Clone, Copy, Debug, Default)]
pub struct ElementCosts;

impl ElementCosts {
    /// Products that take as long as moving an element.
    pub const PRODUCTS: u64 = 16;
    /// What starting an operation takes.
    pub const START: u64 = 16;
    /// What a symbolic size counts as.
    pub const SIZE: u64 = 16;

    fn elements(ty: &TensorType) -> u64 {
        let sizes = ty.shape.iter().map(|dim| dim.known().unwrap_or(Self::SIZE));
        sizes.fold(1, u64::saturating_mul)
    }
}

impl CostModel for ElementCosts {
    fn cost(&self, op: &Op, operands: &[Option<&TensorType>], result: &TensorType) -> u64 {
        let written = Self::elements(result);
        let read = operands.iter().flatten().map(|ty| Self::elements(ty)).fold(0, u64::saturating_add);
        let moved = match op.kind() {
            OpKind::Transpose => written.saturating_mul(4),
            OpKind::Reshape | OpKind::Squeeze | OpKind::Unsqueeze | OpKind::Flatten => {
                written.saturating_mul(2)
            }
            _ => written.saturating_add(read),
        };
        let products = written.saturating_mul(terms(op, operands)) / Self::PRODUCTS;
        moved.saturating_add(products).saturating_add(Self::START)
    }
}

/// How many products each element of the result is the sum of.
fn terms(op: &Op, operands: &[Option<&TensorType>]) -> u64 {
    let size = |operand: usize, axis_from_end: usize| {
        let shape = &operands.get(operand).copied().flatten()?.shape;
        let axis = shape.rank().checked_sub(axis_from_end)?;
        Some(shape[axis].known().unwrap_or(ElementCosts::SIZE))
    };
    let terms = match op {
        Op::MatMul(_) => size(0, 1),
        Op::Gemm(gemm) => size(0, if gemm.transA { 2 } else { 1 }),
        Op::Conv(_) => operands.get(1).copied().flatten().map(|kernel| {
            let sizes = kernel.shape.iter().skip(1).map(|dim| dim.known().unwrap_or(ElementCosts::SIZE));
            sizes.fold(1, u64::saturating_mul)
        }),
        _ => Some(0),
    };
    terms.unwrap_or(0)
}
