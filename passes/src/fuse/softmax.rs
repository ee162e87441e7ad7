//! Recognizes softmax where it is spelled out, and writes what goes into it in one form.
//!
//! - `e / sum(e)` with `e = e^x`, or `e = e^(x - max(x))`, along one axis is `softmax(x)`.
//! - Scores that are scaled and masked become `softmax(scores * factor + mask)`: constants that they are multiplied with
//!   and divided by are one factor, and the mask is the second addend.
//!
//! Before:
//! ```quad
//! graph @main(%q: f32[2, 4, 3], %k: f32[2, 3, 4], %mask: f32[4, 4]) {
//!   %root = weight 1.7320508 : f32[]
//!   %last = weight [-1] : i64[1]
//!   %0 = matmul(%q, %k) : f32[2, 4, 4]
//!   %1 = div(%0, %root) : f32[2, 4, 4]
//!   %2 = add(%mask, %1) : f32[2, 4, 4]
//!   %3 = reduce_max(%2, %last) : f32[2, 4, 1]
//!   %4 = sub(%2, %3) : f32[2, 4, 4]
//!   %5 = exp(%4) : f32[2, 4, 4]
//!   %6 = reduce_sum(%5, %last) : f32[2, 4, 1]
//!   %y = div(%5, %6) : f32[2, 4, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%q: f32[2, 4, 3], %k: f32[2, 3, 4], %mask: f32[4, 4]) {
//!   %0 = matmul(%q, %k) : f32[2, 4, 4]
//!   %1 = weight 0.57735026 : f32[]
//!   %2 = mul(%0, %1) : f32[2, 4, 4]
//!   %3 = add(%2, %mask) : f32[2, 4, 4]
//!   %y = softmax(%3) : f32[2, 4, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Exp, MatMul, Mul, OpKind, ReduceMax, ReduceSum, Softmax, Sub};

use super::standardized::reduced_axes;
use crate::algebra::{quotient, scaling};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{both_ways, made_by};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseSoftmax;

const INFO: PassInfo = PassInfo { name: "fuse-softmax", source: include_str!("softmax.rs") };

impl Pass for FuseSoftmax {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let spelled_out = FnRule {
            name: "spelled-out-softmax",
            roots: &[OpKind::Div, OpKind::Mul],
            rewrite: spelled_out_softmax,
        };
        let scores = FnRule { name: "scaled-scores", roots: &[OpKind::Softmax], rewrite: scaled_scores };
        apply_rules(graph, &[&spelled_out, &scores], cx)
    }
}

/// `y = e / sum(e)`.
fn spelled_out_softmax(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let y = root.result();
    let (exponential, sum, reduce) = over_sum(root).ok_or(Skip::NoMatch)?;
    let argument = exponential.operand("x").ok_or(Skip::NoMatch)?;
    let axes = reduced_axes(sum, reduce.noop_with_empty_axes).ok_or(Skip::NoMatch)?;
    let &[axis] = &axes[..] else {
        return Err(because(sum, format!("it adds up along {} axes, not along one", axes.len())));
    };
    let x = less_maximum(argument, axis).unwrap_or(argument);
    if x.ty() != y.ty() {
        return Err(Skip::NoMatch);
    }
    let axis = axis as i64 - y.ty().rank() as i64;
    let softmax = patch.add_value(Softmax { axis }, &[x.id()])?;
    Ok(patch.replace(y.id(), softmax)?)
}

/// The exponential and the sum of `exponential / sum`, or of the product with the reciprocal.
fn over_sum(root: NodeRef<'_>) -> Option<(NodeRef<'_>, NodeRef<'_>, &ReduceSum)> {
    let matched = |numerator: ValueRef<'_>, denominator: ValueRef<'_>| {
        let (sum, reduce) = made_by::<ReduceSum>(denominator)?;
        (reduce.keepdims && sum.operand("x")?.id() == numerator.id()).then_some(())
    };
    let pairs: Vec<_> = match quotient(root.result()) {
        Some((numerator, denominator)) => vec![(numerator?, denominator)],
        None => both_ways(root)
            .filter_map(|(numerator, factor)| match quotient(factor) {
                Some((None, denominator)) => Some((numerator, denominator)),
                _ => None,
            })
            .collect(),
    };
    let (numerator, denominator) = pairs.into_iter().find(|(e, sum)| matched(*e, *sum).is_some())?;
    let (exponential, _) = made_by::<Exp>(numerator)?;
    let (sum, reduce) = made_by::<ReduceSum>(denominator)?;
    Some((exponential, sum, reduce))
}

/// `x` of `x - max(x)`, the largest element along `axis`.
fn less_maximum(value: ValueRef<'_>, axis: usize) -> Option<ValueRef<'_>> {
    let (difference, _) = made_by::<Sub>(value)?;
    let x = difference.operand("a")?;
    let (maximum, reduce) = made_by::<ReduceMax>(difference.operand("b")?)?;
    let of_x = reduce.keepdims && maximum.operand("x")?.id() == x.id();
    (of_x && reduced_axes(maximum, reduce.noop_with_empty_axes)?[..] == [axis]).then_some(x)
}

/// `softmax(scores * factor + mask)`.
fn scaled_scores(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = root.operand("x").ok_or(Skip::NoMatch)?;
    let is_scores = |value: ValueRef<'_>| made_by::<MatMul>(scaling(value).1).is_some();
    let masked = made_by::<Add>(x).map(|(sum, _)| sum);
    let (scaled, mask) = match masked {
        Some(sum) => {
            let pair = both_ways(sum).find(|(scores, mask)| is_scores(*scores) && !is_scores(*mask));
            pair.map(|(scores, mask)| (scores, Some(mask))).ok_or(Skip::NoMatch)?
        }
        None => (x, None),
    };
    let (factor, scores) = scaling(scaled);
    if !is_scores(scores) {
        return Err(Skip::NoMatch);
    }
    let first = masked.is_none_or(|sum| sum.operand("a").is_some_and(|a| a.id() == scaled.id()));
    if first && (scaled.id() == scores.id() || is_one_factor(scaled, scores)) {
        return Err(Skip::NoMatch);
    }
    let mut value: ValueId = scaled.id();
    if scaled.id() != scores.id() && !is_one_factor(scaled, scores) {
        let factor = patch.scalar(scaled.ty().dtype, factor)?;
        value = patch.add_value(Mul, &[scores.id(), factor])?;
    }
    if let Some(mask) = mask {
        value = patch.add_value(Add, &[value, mask.id()])?;
    }
    let softmax = patch.op(root.op().clone(), &[Some(value)])?;
    Ok(patch.replace(root.result().id(), softmax)?)
}

/// Whether `scaled` is the product of `scores` and a constant, in this order.
fn is_one_factor(scaled: ValueRef<'_>, scores: ValueRef<'_>) -> bool {
    made_by::<Mul>(scaled)
        .is_some_and(|(product, _)| product.operand("a").is_some_and(|a| a.id() == scores.id()))
}
