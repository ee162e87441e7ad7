//! Moves products with a scale through what is linear, to where they meet each other or a constant weight.
//!
//! A scale is a single element, or a constant that is stretched over the other operand. Constants that meet become a
//! recipe of a weight; the weight itself is not made here.
//!
//! The search ends after `iterations` rounds, or when a region of the graph has `nodes` forms; the log says so.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %w = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] : f32[3, 2]
//!   %0 = matmul(%x, %w) : f32[2, 2]
//!   %1 = transpose(%0) : f32[2, 2]
//!   %bias = weight [1.0, -1.0] : f32[2, 1]
//!   %2 = add(%1, %bias) : f32[2, 2]
//!   %scale = weight 0.5 : f32[]
//!   %y = mul(%2, %scale) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 3]) {
//!   %0 = weight [0.5, 1.0, 1.5, 2.0, 2.5, 3.0] : f32[3, 2]
//!   %1 = matmul(%x, %0) : f32[2, 2]
//!   %2 = transpose(%1) {perm = [1, 0]} : f32[2, 2]
//!   %3 = weight [0.5, -0.5] : f32[2, 1]
//!   %y = add(%2, %3) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::Graph;

use super::rules::{algebra, reshape, scale, transpose};
use super::{ElementCosts, Limits, Rule, Search, optimize};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct MoveScales {
    /// How far to search.
    pub limits: Limits,
}

/// What is equal, by topic: for targets that search by their own costs, with [`optimize`].
pub const RULES: &[&[Rule]] =
    &[algebra::NEUTRAL, scale::MERGES, scale::MOVES, transpose::MERGES, reshape::MERGES];

const INFO: PassInfo = PassInfo { name: "move-scales", source: include_str!("move_scales.rs") };

impl Pass for MoveScales {
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
