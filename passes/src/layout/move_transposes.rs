//! Carries transposes and reshapes toward the outputs, where they meet others and cancel.
//!
//! As `layout`, without putting channels last. A transpose passes every operation that can be computed with axes in
//! another order; where operands disagree, the order is taken in which the fewest elements move, and of equal ones the
//! one that is moved already. Every node is looked at once, so it ends; doing it again changes nothing.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %bias: f32[8]) {
//!   %0 = transpose(%x) {perm = [0, 2, 3, 1]} : f32[1, 6, 8, 4]
//!   %1 = relu(%0) : f32[1, 6, 8, 4]
//!   %2 = transpose(%1) {perm = [0, 3, 1, 2]} : f32[1, 4, 6, 8]
//!   %y = add(%2, %bias) : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %bias: f32[8]) {
//!   %0 = relu(%x) : f32[1, 4, 6, 8]
//!   %y = add(%0, %bias) : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::Graph;

use super::{Settings, carry};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct MoveTransposes;

const INFO: PassInfo = PassInfo { name: "move-transposes", source: include_str!("move_transposes.rs") };

impl Pass for MoveTransposes {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        carry(graph, INFO.name, Settings::default(), cx)
    }
}
