//! Factors and addends after normalizations, which have a scale and a bias of their own.

use quad_ir::graph::{NodeRef, Patch, ValueId};
use quad_ir::ops::layout::{DataLayout, layout_of};
use quad_ir::ops::{Neg, Op, OpKind};

use super::factor::{Along, Factor};
use super::rebuilt;
use crate::emit::weight_of;
use crate::pattern::{axis_of, is_constant, only_read_by};
use crate::rule::{FnRule, Skip, because};

pub(super) const RULE: FnRule = FnRule {
    name: "scale-after-normalization",
    roots: &[OpKind::Mul, OpKind::Div, OpKind::Add, OpKind::Sub],
    rewrite: scale_after_normalization,
};

/// `norm(x) * c` has the scale and bias of `norm` times `c`, `norm(x) + c` the bias plus `c`.
fn scale_after_normalization(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let factor = Factor::of(node).ok_or(Skip::NoMatch)?;
    let norm = factor.x.producer();
    let names: &[&str] = match norm.op() {
        Op::LayerNorm(_) => &["scale", "b"],
        Op::GroupNorm(_) | Op::InstanceNorm(_) => &["scale", "bias"],
        Op::RmsNorm(_) => &["scale"],
        _ => return Err(Skip::NoMatch),
    };
    if factor.x.port() > 0 {
        return Err(Skip::NoMatch);
    }
    only_read_by(factor.x, node)?;
    let sizes = parameter_sizes(&factor, norm, node)?;
    let multiplies = matches!(node.op(), Op::Mul(_) | Op::Div(_));
    let names = if multiplies { names } else { names.get(1..).unwrap_or_default() };
    if names.is_empty() {
        return Err(because(node, "the normalization has no bias"));
    }
    let mut changed = Vec::new();
    for name in names {
        match norm.operand(name) {
            Some(parameter) if is_constant(parameter) => {
                let parameter = weight_of(parameter, patch)?.ok_or(Skip::NoMatch)?;
                let parameter = factor.apply(parameter, &sizes, patch)?;
                changed.push((*name, patch.add_weight(parameter)?));
            }
            Some(_) => return Err(because(norm, format!("its `{name}` is computed"))),
            None if multiplies => {}
            None => changed.push((*name, addend(&factor, &sizes, patch)?)),
        }
    }
    let new = rebuilt(norm, &changed, patch)?;
    let results = patch.results(new).to_vec();
    patch.replace(node.result().id(), results[0])?;
    // Mean and deviation depend on neither.
    for (old, new) in norm.results().zip(results).skip(1).filter(|(old, _)| old.is_read() || old.is_output())
    {
        patch.replace(old.id(), new)?;
    }
    Ok(())
}

/// The sizes that a parameter of `norm` takes `factor` with: the normalized axes, or the channels.
fn parameter_sizes(factor: &Factor<'_>, norm: NodeRef<'_>, node: NodeRef<'_>) -> Result<Vec<u64>, Skip> {
    let first = match norm.op() {
        Op::LayerNorm(norm) => axis_of(norm.axis, factor.x),
        Op::RmsNorm(norm) => axis_of(norm.axis, factor.x),
        op => {
            let is_last = layout_of(op).is_some_and(|(layout, _)| layout == DataLayout::Nhwc);
            let channels = if is_last { factor.x.ty().rank() - 1 } else { 1 };
            return match factor.along() {
                Along::None => Ok(vec![1]),
                Along::Axis(axis) if axis == channels => Ok(vec![factor.sizes()[axis]]),
                _ => Err(because(node, "its constant differs along another axis than that of channels")),
            };
        }
    };
    let sizes = factor.sizes();
    let (outer, inner) = sizes.split_at(first.ok_or(Skip::NoMatch)?);
    if outer.iter().any(|size| *size != 1) {
        return Err(because(node, "its constant differs along an axis that is not normalized"));
    }
    Ok(inner.to_vec())
}

/// The bias of a normalization that had none.
fn addend(factor: &Factor<'_>, sizes: &[u64], patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
    let constant = factor.sized(sizes, patch)?;
    let bias = match factor.op {
        Op::Sub(_) => patch.weights_mut().derive(Neg, &[Some(constant)])?,
        _ => constant,
    };
    Ok(patch.add_weight(bias)?)
}
