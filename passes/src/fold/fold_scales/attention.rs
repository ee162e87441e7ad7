//! Factors of queries and keys, which the scale of an attention is another one of.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Attention, Op, OpKind};

use super::factor::Factor;
use crate::pattern::{only_read_by, uniform};
use crate::rule::{FnRule, Skip, because};

pub(super) const RULE: FnRule =
    FnRule { name: "scale-into-attention", roots: &[OpKind::Attention], rewrite: scale_into_attention };

/// `attention(q * c, k, v)` is `attention(q, k, v)` with `c` times the scale, and so for `k`.
fn scale_into_attention(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let attention = node.is::<Attention>().ok_or(Skip::NoMatch)?;
    let scaled = |name: &'static str| {
        let product = node.operand(name)?;
        Some((name, product, Factor::scale(product.producer())?))
    };
    let (name, product, factor) = scaled("q").or_else(|| scaled("k")).ok_or(Skip::NoMatch)?;
    only_read_by(product, node)?;
    if name == "k" {
        let returns_keys = node.results().nth(1).is_some_and(|keys| keys.is_read() || keys.is_output());
        if node.operand("past_key").is_some() || returns_keys {
            return Err(because(node, "the keys are kept for a later run"));
        }
    }
    let number = uniform(factor.constant)
        .ok_or_else(|| because(product.producer(), "its factor is not one number"))?;
    let number = if matches!(factor.op, Op::Div(_)) { 1.0 / number } else { number };
    let usual =
        usual_scale(attention, node).ok_or_else(|| because(node, "the size of its heads is not known"))?;
    let scale = attention.scale.map_or(usual, |scale| f64::from(scale.get())) * number;
    let op = Attention { scale: Some((scale as f32).into()), ..attention.clone() };
    let operand =
        |operand: ValueRef<'_>| if operand.id() == product.id() { factor.x.id() } else { operand.id() };
    let operands: Vec<_> = node.operands().map(|value| value.map(operand)).collect();
    let new = patch.add(op, &operands)?;
    for (old, new) in node.results().zip(patch.results(new).to_vec()) {
        patch.replace(old.id(), new)?;
    }
    Ok(())
}

/// The scale where none is stated: one by the root of the size of a head.
fn usual_scale(attention: &Attention, node: NodeRef<'_>) -> Option<f64> {
    let q = node.operand("q")?.ty();
    let width = q.shape.last()?.known()?;
    let size = if q.rank() == 4 { width } else { width.checked_div(attention.q_num_heads?)? };
    Some(1.0 / (size as f64).sqrt())
}
