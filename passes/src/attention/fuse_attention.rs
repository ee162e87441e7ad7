//! Recognises scaled dot product attention, whatever order its heads are brought into, as one `attention`.
//!
//! The rule `dot-product-attention` starts at a softmax. Back from it there is a product of queries and keys, forward a
//! product with the values. Numbers that queries, keys or scores are multiplied by, in whatever share, become the scale,
//! which is left out where it is the usual one, 1 / sqrt(size of a head), as far as the element type tells. What is added
//! to the scores becomes the mask, and so does a `where` that puts minus infinity in place of scores. Keys may be transposed anywhere. A guard that makes 0 of weights that are not
//! numbers goes away: `attention` gives 0 for queries that may read no key.
//!
//! The rule `pack-heads` takes an `attention` of heads that are brought in front of the length, by reshapes and
//! transposes, and back: `attention` takes heads side by side, as projections give them.
//!
//! Scores and weights that are read elsewhere, masks of fewer keys, and numbers that multiply masked scores are in the
//! way. Elements of 16 bits come out more precise than before: `attention` rounds its result only.
//!
//! Before:
//! ```quad
//! graph @main(%q: f32[1, 6, 8], %k: f32[1, 5, 8], %v: f32[1, 5, 8], %mask: f32[6, 5]) {
//!   %0 = weight [1, -1, 2, 4] : i64[4]
//!   %1 = weight [1, -1, 8] : i64[3]
//!   %2 = weight 0.70710677 : f32[]
//!   %3 = reshape(%q, %0) : f32[1, 6, 2, 4]
//!   %4 = transpose(%3) {perm = [0, 2, 1, 3]} : f32[1, 2, 6, 4]
//!   %5 = mul(%4, %2) : f32[1, 2, 6, 4]
//!   %6 = reshape(%k, %0) : f32[1, 5, 2, 4]
//!   %7 = transpose(%6) {perm = [0, 2, 3, 1]} : f32[1, 2, 4, 5]
//!   %8 = mul(%7, %2) : f32[1, 2, 4, 5]
//!   %9 = matmul(%5, %8) : f32[1, 2, 6, 5]
//!   %10 = add(%9, %mask) : f32[1, 2, 6, 5]
//!   %11 = softmax(%10) : f32[1, 2, 6, 5]
//!   %12 = reshape(%v, %0) : f32[1, 5, 2, 4]
//!   %13 = transpose(%12) {perm = [0, 2, 1, 3]} : f32[1, 2, 5, 4]
//!   %14 = matmul(%11, %13) : f32[1, 2, 6, 4]
//!   %15 = transpose(%14) {perm = [0, 2, 1, 3]} : f32[1, 6, 2, 4]
//!   %y = reshape(%15, %1) : f32[1, 6, 8]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%q: f32[1, 6, 8], %k: f32[1, 5, 8], %v: f32[1, 5, 8], %mask: f32[6, 5]) {
//!   %y, %0, %1 = attention(%q, %k, %v, %mask) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 8], f32[1, 2, 5, 4], f32[1, 2, 5, 4]
//!   return "y" = %y
//! }
//! ```

mod dot_product;
mod pack_heads;
mod scores;
#[cfg(test)]
mod tests;

use quad_ir::attr::F32Bits;
use quad_ir::dtype::DType;
use quad_ir::graph::Graph;

use crate::context::Context;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::is_about;
use crate::rule::apply_rules;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct FuseAttention;

const INFO: PassInfo = PassInfo { name: "fuse-attention", source: include_str!("fuse_attention.rs") };

impl Pass for FuseAttention {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[&dot_product::DotProduct, &pack_heads::PackHeads], cx)
    }
}

/// The attribute `scale` of an attention of heads of `size` whose scores are multiplied by `factor`; none for the usual
/// scale, as exactly as numbers of type `dtype` can say it.
fn scale(factor: f64, size: Option<u64>, dtype: DType) -> Option<F32Bits> {
    let usual = size.map(|size| 1.0 / (size as f64).sqrt());
    let is_usual = usual.is_some_and(|usual| is_about(factor, usual, dtype));
    (!is_usual).then(|| (factor as f32).into())
}
