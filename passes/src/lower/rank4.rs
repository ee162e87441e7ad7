//! Leaves no value with more than four axes, which is what phones compute.
//!
//! Axes that an operation does not tell apart are merged: neighbors that are all reduced, all stretched, or all just
//! there. Axes of size 1 go first. Transposes of more axes become several of four, each of which exchanges two neighbors.
//! Where that is not enough, the operation stays, and the pass fails with its name: inputs and outputs keep their axes.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 6, 4, 5], %shift: f32[2, 3, 1, 1]) {
//!   %0 = weight [1, 2, 3, 4, 5] : i64[5]
//!   %1 = weight [2, 3, 4] : i64[3]
//!   %2 = weight [1, 6, 4, 5] : i64[4]
//!   %3 = reshape(%x, %0) : f32[1, 2, 3, 4, 5]
//!   %4 = reduce_mean(%3, %1) : f32[1, 2, 1, 1, 1]
//!   %5 = sub(%3, %4) : f32[1, 2, 3, 4, 5]
//!   %6 = add(%5, %shift) : f32[1, 2, 3, 4, 5]
//!   %y = reshape(%6, %2) : f32[1, 6, 4, 5]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 6, 4, 5], %shift: f32[2, 3, 1, 1]) {
//!   %0 = weight [2, 3, 4, 5] : i64[4]
//!   %1 = reshape(%x, %0) : f32[2, 3, 4, 5]
//!   %2 = weight [1, 2, 3] : i64[3]
//!   %3 = reduce_mean(%1, %2) : f32[2, 1, 1, 1]
//!   %4 = sub(%1, %3) : f32[2, 3, 4, 5]
//!   %5 = add(%4, %shift) : f32[2, 3, 4, 5]
//!   %6 = weight [1, 6, 4, 5] : i64[4]
//!   %y = reshape(%5, %6) : f32[1, 6, 4, 5]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::Graph;

use crate::context::Context;
use crate::layout::{Settings, carry};
use crate::pass::{Invariants, Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Rank4;

const INFO: PassInfo = PassInfo { name: "rank4", source: include_str!("rank4.rs") };

/// Axes that a value may have.
const MAX_RANK: usize = 4;

impl Pass for Rank4 {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn ensures(&self) -> Invariants {
        Invariants::RANK4
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        carry(graph, INFO.name, Settings { channels_last: false, max_rank: Some(MAX_RANK) }, cx)
    }
}
