//! Writes operations that a target lacks in terms of others, each on request.
//!
//! | option | what becomes what | how exact |
//! |---|---|---|
//! | `div` | a division by a constant: a multiplication by its reciprocal | the reciprocal is rounded |
//! | `neg` | `-x`: `x * -1` | bit for bit |
//! | `pow` | a square or cube: products; the powers 1/2, -1/2, -1: roots and reciprocals | to rounding; roots of `-0` and `-inf` differ |
//! | `gemm` | `matmul`, its factors and transposes in the constants | to rounding |
//! | `gelu` | products with `erf`, or with `tanh` where it is approximated so | to rounding |
//! | `gelu-tanh` | an exact `gelu`: the approximation by `tanh` | off by up to 5e-4 |
//! | `swish` | `x * sigmoid(alpha * x)` | to rounding |
//! | `softplus` | `relu(x) + log(1 + exp(-abs(x)))` | to rounding |
//! | `hard-swish` | `x * clip(x / 6 + 1/2, 0, 1)`, and `hard_sigmoid` likewise | to rounding |
//! | `layer-norm` | means, a root and products | to rounding |
//! | `group-norm` | the same over reshaped groups, `instance_norm` too | to rounding |
//! | `mean` | a mean over all spatial axes: an `average_pool` | to rounding |
//! | `resize` | a nearest resize by whole factors: concatenations | bit for bit |
//! | `sine` | `sin` and `cos`: the argument within one turn, and a polynomial | off by 6e-7 at most, up to 2^18 |
//!
//! Polynomials of sines are ones for `f32`; where a compiler computes them in 16 bits they are as far off as sines of 16 bits
//! are, whose arguments lose a quarter of a radian at 1000. `tabulate-timesteps` helps there.
//!
//! Without options it does nothing. Sums and means of 16-bit floats are rounded at every step, where the operation rounded
//! once; convert to `f32` first where that matters.
//!
//! Before `decompose{div=true,gemm=true}`:
//! ```quad
//! graph @main(%x: f32[2, 2]) {
//!   %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
//!   %c = weight [0.5, -0.5] : f32[2]
//!   %product = gemm(%x, %w, %c) {alpha = 2.0, transB = true} : f32[2, 2]
//!   %three = weight 3.0 : f32[]
//!   %y = div(%product, %three) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 2]) {
//!   %c = weight [0.5, -0.5] : f32[2]
//!   %0 = weight [2.0, 6.0, 4.0, 8.0] : f32[2, 2]
//!   %1 = matmul(%x, %0) : f32[2, 2]
//!   %product = add(%1, %c) : f32[2, 2]
//!   %2 = weight 0.33333334 : f32[]
//!   %y = mul(%product, %2) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```

mod activation;
mod arithmetic;
mod formula;
mod linear;
mod normalization;
mod resize;
mod trigonometry;

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::{Graph, NodeRef, Patch, ValueId};

use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{FnRule, Rule, Skip, apply_rules};

/// See the [module](self), which lists the options.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each option is asked for by its name")]
#[expect(missing_docs, reason = "the table at the top of the module says what each one does")]
pub struct Decompose {
    pub div: bool,
    pub neg: bool,
    pub pow: bool,
    pub gemm: bool,
    pub gelu: bool,
    pub gelu_tanh: bool,
    pub swish: bool,
    pub softplus: bool,
    pub hard_swish: bool,
    pub layer_norm: bool,
    pub group_norm: bool,
    pub mean: bool,
    pub resize: bool,
    pub sine: bool,
}

const INFO: PassInfo = PassInfo { name: "decompose", source: include_str!("decompose.rs") };

impl Pass for Decompose {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("div", &mut self.div)?;
        visitor.attr("neg", &mut self.neg)?;
        visitor.attr("pow", &mut self.pow)?;
        visitor.attr("gemm", &mut self.gemm)?;
        visitor.attr("gelu", &mut self.gelu)?;
        visitor.attr("gelu-tanh", &mut self.gelu_tanh)?;
        visitor.attr("swish", &mut self.swish)?;
        visitor.attr("softplus", &mut self.softplus)?;
        visitor.attr("hard-swish", &mut self.hard_swish)?;
        visitor.attr("layer-norm", &mut self.layer_norm)?;
        visitor.attr("group-norm", &mut self.group_norm)?;
        visitor.attr("mean", &mut self.mean)?;
        visitor.attr("resize", &mut self.resize)?;
        visitor.attr("sine", &mut self.sine)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        // The approximation first, so that with both options it is what is written in products.
        let asked: [(bool, &FnRule); 14] = [
            (self.gelu_tanh, &activation::GELU_TANH),
            (self.gelu, &activation::GELU),
            (self.swish, &activation::SWISH),
            (self.softplus, &activation::SOFTPLUS),
            (self.hard_swish, &activation::HARD_SWISH),
            (self.layer_norm, &normalization::LAYER_NORM),
            (self.group_norm, &normalization::GROUP_NORM),
            (self.mean, &normalization::MEAN),
            (self.gemm, &linear::GEMM),
            (self.resize, &resize::RESIZE),
            (self.pow, &arithmetic::POW),
            (self.div, &arithmetic::DIV),
            (self.neg, &arithmetic::NEG),
            (self.sine, &trigonometry::SINE),
        ];
        let rules: Vec<&dyn Rule> =
            asked.into_iter().filter(|(asked, _)| *asked).map(|(_, rule)| rule as &dyn Rule).collect();
        apply_rules(graph, &rules, cx)
    }
}

/// Makes the readers of `node` read `new`.
fn replace(node: NodeRef<'_>, new: ValueId, patch: &mut Patch<'_>) -> Result<(), Skip> {
    Ok(patch.replace(node.result().id(), new)?)
}
