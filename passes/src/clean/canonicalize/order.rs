//! One way of writing what can be written in two.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Mul, OpKind};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;

use crate::pattern::is_constant;
use crate::rule::{FnRule, Skip, because};

pub(super) const RULES: &[FnRule] = &[
    FnRule { name: "constant-second", roots: COMMUTATIVE, rewrite: constant_second },
    FnRule { name: "div-by-power-of-two", roots: &[OpKind::Div], rewrite: div_by_power_of_two },
];

/// Operations of two operands that may be exchanged.
const COMMUTATIVE: &[OpKind] = &[
    OpKind::Add,
    OpKind::Mul,
    OpKind::Min,
    OpKind::Max,
    OpKind::Equal,
    OpKind::And,
    OpKind::Or,
    OpKind::Xor,
    OpKind::BitwiseAnd,
    OpKind::BitwiseOr,
    OpKind::BitwiseXor,
];

/// `2 * x` is `x * 2`.
fn constant_second(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (a, b) = node.operand("a").zip(node.operand("b")).ok_or(Skip::NoMatch)?;
    if !is_constant(a) || is_constant(b) {
        return Err(Skip::NoMatch);
    }
    let new = patch.add_value(node.op().clone(), &[b.id(), a.id()])?;
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// The largest exponent: reciprocals are normal numbers of every type of 16 bits and more.
const MAX_EXPONENT: i32 = 14;

/// `x / 2^k` is `x * 2^-k`: exact, as both round the same number.
fn div_by_power_of_two(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let divisor = node.operand("b").and_then(ValueRef::constant).ok_or(Skip::NoMatch)?;
    let x = node.operand("a").filter(|a| !is_constant(*a)).ok_or(Skip::NoMatch)?;
    if !divisor.dtype().is_float() {
        return Err(Skip::NoMatch);
    }
    let elements = divisor.to_f64().map_err(WeightError::from)?;
    if !elements.iter().all(|element| is_power_of_two(element.abs())) {
        return Err(because(node, "the reciprocal of its divisor would be rounded"));
    }
    let reciprocals: Vec<f32> = elements.iter().map(|element| (1.0 / element) as f32).collect();
    let factor =
        Tensor::from_f32(divisor.dtype(), divisor.sizes(), &reciprocals).map_err(WeightError::from)?;
    if factor.to_f64().map_err(WeightError::from)?.iter().zip(&reciprocals).any(|(a, b)| *a != f64::from(*b))
    {
        return Err(because(node, "its element type has no such reciprocal"));
    }
    let factor = patch.add_constant(&factor)?;
    let new = patch.add_value(Mul, &[x.id(), factor])?;
    patch.replace(node.result().id(), new)?;
    Ok(())
}

fn is_power_of_two(number: f64) -> bool {
    let exponent = number.log2().round();
    exponent.abs() <= f64::from(MAX_EXPONENT) && 2f64.powi(exponent as i32) == number
}
