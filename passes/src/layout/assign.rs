//! Puts channels last: the layout in which phones compute convolutions.
//!
//! Every operation over planes of channels takes its `nhwc` form: convolutions, pooling, group and instance
//! normalization, squares of pixels. Kernels are reordered by recipe, or by nodes where they are inputs. The transposes
//! that this takes are carried toward the outputs, past elementwise operations, joins, cuts, padding, reductions,
//! resizing, normalizations, products and reshapes that keep factors together, where they meet others and cancel. What is
//! left stands where elements must really move: at inputs and outputs, which keep their order, and before products whose
//! axes are elsewhere. Axes are followed by what is done to them, never by their sizes.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %w: f32[4, 4, 3, 3]) {
//!   %0 = conv(%x, %w) {pads = [1, 1, 1, 1]} : f32[1, 4, 6, 8]
//!   %1 = sigmoid(%0) : f32[1, 4, 6, 8]
//!   %2 = mul(%0, %1) : f32[1, 4, 6, 8]
//!   %y = conv(%2, %w) {pads = [1, 1, 1, 1]} : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 4, 6, 8], %w: f32[4, 4, 3, 3]) {
//!   %0 = transpose(%x) {perm = [0, 2, 3, 1]} : f32[1, 6, 8, 4]
//!   %1 = transpose(%w) {perm = [0, 2, 3, 1]} : f32[4, 3, 3, 4]
//!   %2 = conv(%0, %1) {pads = [1, 1, 1, 1], layout = nhwc} : f32[1, 6, 8, 4]
//!   %3 = sigmoid(%2) : f32[1, 6, 8, 4]
//!   %4 = mul(%2, %3) : f32[1, 6, 8, 4]
//!   %5 = conv(%4, %1) {pads = [1, 1, 1, 1], layout = nhwc} : f32[1, 6, 8, 4]
//!   %y = transpose(%5) {perm = [0, 3, 1, 2]} : f32[1, 4, 6, 8]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::Graph;

use super::{Settings, carry};
use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Layout;

const INFO: PassInfo = PassInfo { name: "layout", source: include_str!("assign.rs") };

impl Pass for Layout {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        carry(graph, INFO.name, Settings { channels_last: true, max_rank: None }, cx)
    }
}
