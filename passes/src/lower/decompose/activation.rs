//! Activation functions in terms of simpler ones.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use quad_ir::graph::{NodeRef, Patch};
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{Abs, Add, Erf, Exp, Gelu, HardSigmoid, Log, Neg, OpKind, Relu, Sigmoid, Swish, Tanh};

use super::formula::formula;
use super::replace;
use crate::rule::{FnRule, Skip};

pub(super) const GELU_TANH: FnRule =
    FnRule { name: "gelu-to-tanh", roots: &[OpKind::Gelu], rewrite: gelu_to_tanh };
pub(super) const GELU: FnRule =
    FnRule { name: "gelu-to-products", roots: &[OpKind::Gelu], rewrite: gelu_to_products };
pub(super) const SWISH: FnRule =
    FnRule { name: "swish-to-sigmoid", roots: &[OpKind::Swish], rewrite: swish_to_sigmoid };
pub(super) const SOFTPLUS: FnRule =
    FnRule { name: "softplus-to-log", roots: &[OpKind::Softplus], rewrite: softplus_to_log };
pub(super) const HARD_SWISH: FnRule = FnRule {
    name: "hard-swish-to-clip",
    roots: &[OpKind::HardSwish, OpKind::HardSigmoid],
    rewrite: hard_swish_to_clip,
};

/// The coefficient of `x^3` in the approximation of `gelu`.
const CUBIC: f64 = 0.044_715;

/// `gelu` with the error function, as the one with the hyperbolic tangent.
fn gelu_to_tanh(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let exact = node.is::<Gelu>().filter(|gelu| gelu.approximate == Approximation::None);
    let x = node.operand("x").filter(|_| exact.is_some()).ok_or(Skip::NoMatch)?;
    let new = patch.add_value(Gelu { approximate: Approximation::Tanh }, &[x.id()])?;
    replace(node, new, patch)
}

/// `x / 2 * (1 + f(..))`, with the error function or the hyperbolic tangent.
fn gelu_to_products(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let gelu = node.is::<Gelu>().ok_or(Skip::NoMatch)?;
    let (x, mut formula) = formula(node, patch)?;
    let inner = match gelu.approximate {
        Approximation::None => {
            let argument = formula.times(x, FRAC_1_SQRT_2)?;
            formula.patch.add_value(Erf, &[argument])?
        }
        Approximation::Tanh => {
            let square = formula.product(x, x)?;
            let bend = formula.times(square, CUBIC)?;
            let bend = formula.plus(bend, 1.0)?;
            let line = formula.times(x, FRAC_2_PI.sqrt())?;
            let argument = formula.product(line, bend)?;
            formula.patch.add_value(Tanh, &[argument])?
        }
    };
    let share = formula.plus(inner, 1.0)?;
    let half = formula.times(x, 0.5)?;
    let new = formula.product(half, share)?;
    replace(node, new, patch)
}

/// `x * sigmoid(alpha * x)`.
fn swish_to_sigmoid(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let alpha = f64::from(node.is::<Swish>().ok_or(Skip::NoMatch)?.alpha.get());
    let (x, mut formula) = formula(node, patch)?;
    // One by one is what most models have.
    let argument = if alpha.to_bits() == 1f64.to_bits() { x } else { formula.times(x, alpha)? };
    let gate = formula.patch.add_value(Sigmoid, &[argument])?;
    let new = formula.product(x, gate)?;
    replace(node, new, patch)
}

/// `relu(x) + log(1 + exp(-abs(x)))`: without overflow for large `x`.
fn softplus_to_log(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, mut formula) = formula(node, patch)?;
    let positive = formula.patch.add_value(Relu, &[x])?;
    let magnitude = formula.patch.add_value(Abs, &[x])?;
    let magnitude = formula.patch.add_value(Neg, &[magnitude])?;
    let rest = formula.patch.add_value(Exp, &[magnitude])?;
    let rest = formula.plus(rest, 1.0)?;
    let rest = formula.patch.add_value(Log, &[rest])?;
    let new = formula.patch.add_value(Add, &[positive, rest])?;
    replace(node, new, patch)
}

/// `hard_sigmoid` as a clipped line, and `hard_swish` as `x` times one.
fn hard_swish_to_clip(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let hard_sigmoid = node.is::<HardSigmoid>();
    let (x, mut formula) = formula(node, patch)?;
    let new = if let Some(sigmoid) = hard_sigmoid {
        formula.ramp(x, f64::from(sigmoid.alpha.get()), f64::from(sigmoid.beta.get()))?
    } else {
        let gate = formula.ramp(x, 1.0 / 6.0, 0.5)?;
        formula.product(x, gate)?
    };
    replace(node, new, patch)
}
