//! Recognizes GELU where it is spelled out, as `gelu`.
//!
//! Both formulas are found, that with the error function and that with the hyperbolic tangent, in whatever order their
//! factors stand, with constants multiplied or divided by, and with `x^3` as a power or as a product:
//!
//! - `x / 2 * (1 + erf(x / sqrt(2)))`
//! - `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`
//!
//! `x * sigmoid(1.702 * x)`, which is also called quick GELU, is a `swish`; `fuse-silu` finds it.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %root = weight 1.4142135 : f32[]
//!   %one = weight 1.0 : f32[]
//!   %half = weight 0.5 : f32[]
//!   %0 = div(%x, %root) : f32[2, 3]
//!   %1 = erf(%0) : f32[2, 3]
//!   %2 = add(%1, %one) : f32[2, 3]
//!   %3 = mul(%x, %2) : f32[2, 3]
//!   %y = mul(%3, %half) : f32[2, 3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %y = gelu(%x) : f32[2, 3]
//!   return "y" = %y
//! }
//! ```

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{Gelu, OpKind};

use crate::algebra::{Coefficients, Product, plus, polynomial};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{is_about, is_uniform};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseGelu;

const INFO: PassInfo = PassInfo { name: "fuse-gelu", source: include_str!("gelu.rs") };

impl Pass for FuseGelu {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[&SpelledOutGelu], cx)
    }
}

/// `y = 1/2 * x * (1 + f(inner(x)))`.
#[derive(Debug)]
struct SpelledOutGelu;

/// What stands inside of the function, as a polynomial of `x`.
fn inner(approximate: Approximation) -> Coefficients {
    match approximate {
        Approximation::None => [0.0, FRAC_1_SQRT_2, 0.0, 0.0],
        Approximation::Tanh => {
            let scale = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
            [0.0, scale, 0.0, 0.044_715 * scale]
        }
    }
}

impl Rule for SpelledOutGelu {
    fn name(&self) -> &'static str {
        "spelled-out-gelu"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Mul, OpKind::Div]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let y = root.result();
        let product = Product::of(y);
        let gate = product.factors.iter().find_map(|factor| Gate::of(*factor)).ok_or(Skip::NoMatch)?;
        // `x` may itself be a product, so every part of this one is a candidate.
        let is_x = |x: &ValueRef<'_>| {
            Product::with(y, *x).besides(gate.value).is_some_and(|other| other.id() == x.id())
        };
        let x = product.parts.into_iter().filter(is_x).find(|x| gate.argument_of(*x).is_some());
        let x = x.filter(|x| x.ty() == y.ty()).ok_or(Skip::NoMatch)?;
        let number = Product::with(y, x).number;
        if is_about(number, 1.0, y.ty().dtype) {
            // The half may follow; without it this is no GELU.
            return Err(Skip::NoMatch);
        }
        if !is_about(number, 0.5, y.ty().dtype) {
            return Err(because(root, format!("the factor of the formula is {number:.6}, not 1/2")));
        }
        gate.check(x)?;
        let gelu = patch.add_value(Gelu { approximate: gate.approximate }, &[x.id()])?;
        Ok(patch.replace(y.id(), gelu)?)
    }
}

/// `value = 1 + f(argument)`.
struct Gate<'g> {
    value: ValueRef<'g>,
    function: NodeRef<'g>,
    argument: ValueRef<'g>,
    approximate: Approximation,
}

impl<'g> Gate<'g> {
    fn of(value: ValueRef<'g>) -> Option<Self> {
        let function = plus(value, |addend| is_uniform(addend, 1.0))?.producer();
        let approximate = match function.op().kind() {
            OpKind::Erf => Approximation::None,
            OpKind::Tanh => Approximation::Tanh,
            _ => return None,
        };
        Some(Self { value, function, argument: function.operand("x")?, approximate })
    }

    /// The argument as a polynomial of `x`.
    fn argument_of(&self, x: ValueRef<'g>) -> Option<Coefficients> {
        polynomial(self.argument, x)
    }

    /// Passes when the argument is the polynomial of `x` that the formula has.
    fn check(&self, x: ValueRef<'g>) -> Result<(), Skip> {
        let found = self.argument_of(x).ok_or(Skip::NoMatch)?;
        let expected = inner(self.approximate);
        let dtype = x.ty().dtype;
        if found.iter().zip(&expected).all(|(found, expected)| is_about(*found, *expected, dtype)) {
            return Ok(());
        }
        let why = format!("its argument is {}, and that of GELU is {}", show(found), show(expected));
        Err(because(self.function, why))
    }
}

/// The polynomial with these coefficients.
fn show(coefficients: Coefficients) -> String {
    let powers = ["", " x", " x^2", " x^3"];
    let terms = coefficients.iter().zip(powers).filter(|(coefficient, _)| **coefficient != 0.0);
    let terms: Vec<String> = terms.map(|(coefficient, power)| format!("{coefficient:.6}{power}")).collect();
    terms.join(" + ")
}
