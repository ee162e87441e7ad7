//! Removes operations that do nothing, and writes what can be written in several ways in one.
//!
//! - Neutral elements: `x + 0`, `x - 0`, `x * 1`, `x / 1`, `x ^ 1`, `clip` without bounds, `where` with a constant
//!   condition.
//! - Operations done twice: two negations, casts that lose nothing on the way, `relu` of `relu`.
//! - Reshapes: `squeeze`, `unsqueeze` and `flatten` are reshapes, transposes that move axes of size 1 only are too, the
//!   target is written as numbers, one reshape after another is one, one to the own sizes is none.
//! - Moving elements: transposes after each other are one, a slice of everything, a concatenation of one, a repetition by
//!   1, a pad of nothing and a resize by 1 are none; slices that cut a tensor into all its parts are a `split`, and a
//!   split into what was joined is none.
//! - Order: the constant operand of a commutative operation is the second one; a division by powers of two is a
//!   multiplication.
//!
//! Every rule keeps all elements, bit for bit, with one exception: where a sum with a zero goes, -0 stays -0 instead of
//! becoming 0, the same number.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 6]) {
//!   %zero = weight 0.0 : f32[]
//!   %sum = add(%zero, %x) : f32[2, 6]
//!   %axes = weight [0] : i64[1]
//!   %outer = unsqueeze(%sum, %axes) : f32[1, 2, 6]
//!   %shape = weight [0, -1, 3, 2] : i64[4]
//!   %cut = reshape(%outer, %shape) : f32[1, 2, 3, 2]
//!   %swapped = transpose(%cut) {perm = [0, 2, 1, 3]} : f32[1, 3, 2, 2]
//!   %y = transpose(%swapped) {perm = [0, 2, 3, 1]} : f32[1, 2, 2, 3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 6]) {
//!   %0 = weight [1, 2, 3, 2] : i64[4]
//!   %cut = reshape(%x, %0) : f32[1, 2, 3, 2]
//!   %y = transpose(%cut) {perm = [0, 1, 3, 2]} : f32[1, 2, 2, 3]
//!   return "y" = %y
//! }
//! ```

mod movement;
mod neutral;
mod order;
mod reshape;
mod twice;

use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};

use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Canonicalize;

const INFO: PassInfo = PassInfo { name: "canonicalize", source: include_str!("canonicalize.rs") };

impl Pass for Canonicalize {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let lists = [neutral::RULES, twice::RULES, reshape::RULES, movement::RULES, order::RULES];
        let rules: Vec<&dyn Rule> = lists.into_iter().flatten().map(|rule| rule as &dyn Rule).collect();
        apply_rules(graph, &rules, cx)
    }
}

/// Makes the readers of `node`, whose elements are those of `x` in their order, read `x`. A near miss where the types
/// differ, because operands are stretched.
fn becomes(node: NodeRef<'_>, x: ValueRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    if node.result().ty() != x.ty() {
        return Err(because(
            node,
            format!("its other operands stretch the result to {}", node.result().ty()),
        ));
    }
    patch.replace(node.result().id(), x.id())?;
    Ok(())
}
