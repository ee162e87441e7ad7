//! Recognizes `x * sigmoid(alpha * x)` as `swish`.
//!
//! With `alpha` 1 that is SiLU, with 1.702, as CLIP has it, quick GELU. A sigmoid that is spelled out, `1 / (1 + e^-x)`,
//! is recognized first, and so is one that is divided by, `x / (1 + e^-x)`.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %alpha = weight 1.702 : f32[]
//!   %0 = sigmoid(%x) : f32[2, 3]
//!   %silu = mul(%x, %0) : f32[2, 3]
//!   %1 = mul(%silu, %alpha) : f32[2, 3]
//!   %2 = sigmoid(%1) : f32[2, 3]
//!   %quick = mul(%2, %silu) : f32[2, 3]
//!   return "y" = %quick
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %silu = swish(%x) : f32[2, 3]
//!   %quick = swish(%silu) {alpha = 1.702} : f32[2, 3]
//!   return "y" = %quick
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::{Exp, Mul, OpKind, Sigmoid, Swish};

use crate::algebra::{Product, negated, plus, polynomial, quotient};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{is_about, is_uniform, made_by};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseSilu;

const INFO: PassInfo = PassInfo { name: "fuse-silu", source: include_str!("silu.rs") };

impl Pass for FuseSilu {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[&SpelledOutSigmoid, &SpelledOutSwish], cx)
    }
}

/// `y = n / (1 + e^-x)` is `n * sigmoid(x)`.
#[derive(Debug)]
struct SpelledOutSigmoid;

impl Rule for SpelledOutSigmoid {
    fn name(&self) -> &'static str {
        "spelled-out-sigmoid"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Div, OpKind::Reciprocal]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = root.result();
        let (numerator, denominator) = quotient(y).ok_or(Skip::NoMatch)?;
        let power = plus(denominator, |addend| is_uniform(addend, 1.0)).ok_or(Skip::NoMatch)?;
        let (exponential, _) = made_by::<Exp>(power).ok_or(Skip::NoMatch)?;
        let exponent = exponential.operand("x").ok_or(Skip::NoMatch)?;
        let x = negated(exponent)
            .ok_or_else(|| because(exponential, "its exponent is not the negative of a value"))?;
        let sigmoid = patch.add_value(Sigmoid, &[x.id()])?;
        let value = match numerator {
            Some(numerator) => patch.add_value(Mul, &[numerator.id(), sigmoid])?,
            None => sigmoid,
        };
        if patch.ty(value) != Some(y.ty()) {
            return Err(because(
                root,
                "the constant of its denominator stretches the result to another shape",
            ));
        }
        Ok(patch.replace(y.id(), value)?)
    }
}

/// `y = x * sigmoid(alpha * x)`.
#[derive(Debug)]
struct SpelledOutSwish;

impl Rule for SpelledOutSwish {
    fn name(&self) -> &'static str {
        "spelled-out-swish"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Mul]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = root.result();
        let product = Product::of(y);
        let sigmoid = product.factors.iter().find_map(|factor| made_by::<Sigmoid>(*factor));
        let (sigmoid, _) = sigmoid.ok_or(Skip::NoMatch)?;
        let argument = sigmoid.operand("x").ok_or(Skip::NoMatch)?;
        // `x` may itself be a product, so every part of this one is a candidate.
        for x in product.parts {
            let whole = Product::with(y, x);
            let is_swish = whole.besides(sigmoid.result()).is_some_and(|other| other.id() == x.id());
            let Some(inner) = polynomial(argument, x).filter(|_| is_swish && x.ty() == y.ty()) else {
                continue;
            };
            if !is_about(whole.number, 1.0, y.ty().dtype) {
                return Err(Skip::NoMatch);
            }
            let [0.0, alpha, 0.0, 0.0] = inner else {
                return Err(because(sigmoid, "its argument is not a multiple of the other factor"));
            };
            let swish = patch.add_value(Swish { alpha: (alpha as f32).into() }, &[x.id()])?;
            return Ok(patch.replace(y.id(), swish)?);
        }
        Err(Skip::NoMatch)
    }
}
