//! Operations of which one operand leaves the other as it is.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::OpKind;

use super::becomes;
use crate::pattern::{both_ways, uniform};
use crate::rule::{FnRule, Skip};

pub(super) const RULES: &[FnRule] = &[
    FnRule { name: "add-zero", roots: &[OpKind::Add], rewrite: add_zero },
    FnRule { name: "sub-zero", roots: &[OpKind::Sub], rewrite: sub_zero },
    FnRule { name: "mul-one", roots: &[OpKind::Mul], rewrite: mul_one },
    FnRule { name: "div-one", roots: &[OpKind::Div, OpKind::Pow], rewrite: second_is_one },
    FnRule { name: "clip-unbounded", roots: &[OpKind::Clip], rewrite: clip_unbounded },
    FnRule { name: "where-constant", roots: &[OpKind::Where], rewrite: where_constant },
    FnRule { name: "where-same", roots: &[OpKind::Where], rewrite: where_same },
];

/// Whether all elements of `value` are known to be exactly `number`.
fn is_exactly(value: ValueRef<'_>, number: f64) -> bool {
    uniform(value) == Some(number)
}

/// `x + 0`: exact, but that -0 + 0 would be 0.
fn add_zero(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, _) = both_ways(node).find(|(_, zero)| is_exactly(*zero, 0.0)).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// `x - 0`: exact; -0 - 0 is -0.
fn sub_zero(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, _) = both_ways(node).find(|(_, zero)| is_exactly(*zero, 0.0)).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// `x * 1`: exact, infinities and NaN included.
fn mul_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, _) = both_ways(node).find(|(_, one)| is_exactly(*one, 1.0)).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// `x / 1` and `x ^ 1`: exact, infinities and NaN included.
fn second_is_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, _) = both_ways(node).find(|(_, one)| is_exactly(*one, 1.0)).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// `clip` whose bounds are infinite or left out: exact, as the interpreter and ONNX keep NaN.
fn clip_unbounded(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let beyond =
        |name: &str, infinity: f64| node.operand(name).is_none_or(|bound| is_exactly(bound, infinity));
    if !beyond("min", f64::NEG_INFINITY) || !beyond("max", f64::INFINITY) {
        return Err(Skip::NoMatch);
    }
    becomes(node, x, patch)
}

/// `where` that takes all elements from the same operand.
fn where_constant(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let condition = node.operand("condition").and_then(uniform).ok_or(Skip::NoMatch)?;
    let taken = node.operand(if condition == 0.0 { "y" } else { "x" }).ok_or(Skip::NoMatch)?;
    becomes(node, taken, patch)
}

/// `where` between a value and itself.
fn where_same(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, y) = node.operand("x").zip(node.operand("y")).ok_or(Skip::NoMatch)?;
    if x.id() != y.id() {
        return Err(Skip::NoMatch);
    }
    becomes(node, x, patch)
}
