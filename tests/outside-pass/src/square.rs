//! Writes squares as products: `pow(x, 2)` is `mul(x, x)`, which every target has.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[3]) {
//!   %two = weight 2.0 : f32[]
//!   %y = pow(%x, %two) : f32[3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[3]) {
//!   %y = mul(%x, %x) : f32[3]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::{Mul, OpKind};
use quad_passes::context::Context;
use quad_passes::pass::{Pass, PassError, PassInfo};
use quad_passes::pattern::is_uniform;
use quad_passes::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct SquareAsProduct;

const INFO: PassInfo = PassInfo { name: "square-as-product", source: include_str!("square.rs") };

impl Pass for SquareAsProduct {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[self], cx)
    }
}

impl Rule for SquareAsProduct {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Pow]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let operands: Vec<_> = root.operands().flatten().collect();
        let [x, exponent] = operands[..] else { return Err(Skip::NoMatch) };
        if !is_uniform(exponent, 2.0) {
            return Err(because(root, "the exponent is not known to be 2"));
        }
        let product = patch.add_value(Mul, &[x.id(), x.id()])?;
        if patch.ty(product) != Some(root.result().ty()) {
            return Err(because(root, "the exponent stretches the result"));
        }
        Ok(patch.replace(root.result().id(), product)?)
    }
}
