//! Quotients, negations and powers as products.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Mul, OpKind, Reciprocal, Sqrt};

use super::replace;
use crate::emit::Emit;
use crate::pattern::{is_constant, uniform};
use crate::rule::{FnRule, Skip, because};

pub(super) const DIV: FnRule = FnRule { name: "div-to-mul", roots: &[OpKind::Div], rewrite: div_to_mul };
pub(super) const NEG: FnRule = FnRule { name: "neg-to-mul", roots: &[OpKind::Neg], rewrite: neg_to_mul };
pub(super) const POW: FnRule =
    FnRule { name: "pow-to-products", roots: &[OpKind::Pow], rewrite: pow_to_products };

/// `x / c` as `x * (1 / c)`. A large `c` becomes a recipe.
fn div_to_mul(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, divisor) = node.operand("a").zip(node.operand("b")).ok_or(Skip::NoMatch)?;
    if !divisor.ty().dtype.is_float() {
        return Err(Skip::NoMatch);
    }
    if !is_constant(divisor) {
        return Err(because(node, "its divisor is computed"));
    }
    let is_narrow = divisor.ty().dtype.bits() < 32 && divisor.ty().dtype != DType::BF16;
    if is_narrow && !has_exact_reciprocals(divisor) {
        return Err(because(
            node,
            format!("{} may not hold the reciprocal of its divisor", divisor.ty().dtype),
        ));
    }
    let factor = patch.derived(Reciprocal, &[divisor.id()])?;
    let new = patch.add_value(Mul, &[x.id(), factor])?;
    replace(node, new, patch)
}

/// Whether `divisor` is known, and so moderate that its reciprocal is as exact as itself in 16 bits.
fn has_exact_reciprocals(divisor: ValueRef<'_>) -> bool {
    let elements = divisor.constant().and_then(|tensor| tensor.to_f64().ok());
    let is_moderate = |element: &f64| (1.0 / 256.0..=256.0).contains(&element.abs());
    elements.is_some_and(|elements| elements.iter().all(is_moderate))
}

/// `-x` as `x * -1`; of an unsigned type, times its largest number, which wraps to the same.
fn neg_to_mul(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let factor = patch.scalar(x.ty().dtype, -1.0)?;
    let new = patch.add_value(Mul, &[x.id(), factor])?;
    replace(node, new, patch)
}

/// Powers that are products, roots or reciprocals.
fn pow_to_products(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, exponent) = node.operand("a").zip(node.operand("b")).ok_or(Skip::NoMatch)?;
    let power = uniform(exponent).ok_or_else(|| because(node, "its exponent is not one number"))?;
    if x.ty() != node.result().ty() {
        return Err(because(node, "its exponent stretches the result"));
    }
    let is_float = x.ty().dtype.is_float() && x.ty().dtype != DType::F8E8M0;
    let x = x.id();
    let new = match power {
        2.0 => patch.add_value(Mul, &[x, x])?,
        3.0 => {
            let square = patch.add_value(Mul, &[x, x])?;
            patch.add_value(Mul, &[square, x])?
        }
        0.5 if is_float => patch.add_value(Sqrt, &[x])?,
        -0.5 if is_float => {
            let root = patch.add_value(Sqrt, &[x])?;
            patch.add_value(Reciprocal, &[root])?
        }
        -1.0 if is_float => patch.add_value(Reciprocal, &[x])?,
        _ => return Err(because(node, format!("the power of {} is no short product", power as f32))),
    };
    replace(node, new, patch)
}
