//! Moves transposes and reshapes to where they cost least, which is where they meet and cancel.
//!
//! They move past elementwise operations, with the constants that these stretch, and transposes past concats, reductions,
//! softmax, slices and pads, too. A transpose moves to the side with fewer elements, or to one that is there anyway.
//!
//! The search ends after `iterations` rounds, or when a region of the graph has `nodes` forms; the log says so.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %z: f32[1, 6, 8, 4]) {
//!   %0 = transpose(%x) {perm = [0, 2, 3, 1]} : f32[1, 6, 8, 4]
//!   %1 = add(%0, %z) : f32[1, 6, 8, 4]
//!   %y = transpose(%1) {perm = [0, 3, 1, 2]} : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %z: f32[1, 6, 8, 4]) {
//!   %0 = transpose(%z) {perm = [0, 3, 1, 2]} : f32[1, 4, 6, 8]
//!   %y = add(%x, %0) : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::Graph;

use super::rules::{reshape, transpose};
use super::{ElementCosts, Limits, Rule, Search, optimize};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct MoveLayouts {
    /// How far to search.
    pub limits: Limits,
}

/// What is equal, by topic: for targets that search by their own costs, with [`optimize`].
pub const RULES: &[&[Rule]] = &[transpose::MERGES, transpose::MOVES, reshape::MERGES, reshape::MOVES];

const INFO: PassInfo = PassInfo { name: "move-layouts", source: include_str!("move_layouts.rs") };

impl Pass for MoveLayouts {
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
