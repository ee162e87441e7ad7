//! Simplifies sums, products and signs: what changes nothing goes, constants merge, and common factors are multiplied by
//! once.
//!
//! The search ends after `iterations` rounds, or when a region of the graph has `nodes` forms; the log says so.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3], %z: f32[2, 3], %s: f32[1, 3]) {
//!   %0 = mul(%x, %s) : f32[2, 3]
//!   %1 = mul(%s, %z) : f32[2, 3]
//!   %2 = neg(%1) : f32[2, 3]
//!   %3 = sub(%0, %2) : f32[2, 3]
//!   %one = weight 1.0 : f32[]
//!   %y = mul(%3, %one) : f32[2, 3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3], %z: f32[2, 3], %s: f32[1, 3]) {
//!   %0 = add(%x, %z) : f32[2, 3]
//!   %y = mul(%0, %s) : f32[2, 3]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::Graph;

use super::rules::{algebra, scale};
use super::{ElementCosts, Limits, Rule, Search, optimize};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Simplify {
    /// How far to search.
    pub limits: Limits,
}

/// What is equal, by topic: for targets that search by their own costs, with [`optimize`].
pub const RULES: &[&[Rule]] = &[algebra::NEUTRAL, algebra::RULES, scale::MERGES];

const INFO: PassInfo = PassInfo { name: "simplify", source: include_str!("simplify.rs") };

impl Pass for Simplify {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        self.limits.visit(visitor)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let search = Search { name: INFO.name, rules: RULES, costs: &ElementCosts, limits: self.limits };
        optimize(graph, &search, cx)
    }
}
