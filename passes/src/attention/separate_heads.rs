//! Gives attention of one head its head as an axis: `[batch, length, size]` becomes `[batch, 1, length, size]`.
//!
//! Convolutions with channels last give and take four axes with a height of one, so that the axes between a projection
//! and its attention, and between attention and the projection behind it, vanish. Attention of several heads is left to
//! `split-heads`: there an axis of heads would need a transpose.
//!
//! Before:
//! ```quad
//! graph @main(%q: f32[2, 4, 8], %k: f32[2, 5, 8], %v: f32[2, 5, 6]) {
//!   %y, %keys, %values = attention(%q, %k, %v) {q_num_heads = 1, kv_num_heads = 1} : f32[2, 4, 6], f32[2, 1, 5, 8], f32[2, 1, 5, 6]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%q: f32[2, 4, 8], %k: f32[2, 5, 8], %v: f32[2, 5, 6]) {
//!   %0 = weight [2, 1, 4, 8] : i64[4]
//!   %1 = reshape(%q, %0) : f32[2, 1, 4, 8]
//!   %2 = weight [2, 1, 5, 8] : i64[4]
//!   %3 = reshape(%k, %2) : f32[2, 1, 5, 8]
//!   %4 = weight [2, 1, 5, 6] : i64[4]
//!   %5 = reshape(%v, %4) : f32[2, 1, 5, 6]
//!   %6, %7, %8 = attention(%1, %3, %5) : f32[2, 1, 4, 6], f32[2, 1, 5, 8], f32[2, 1, 5, 6]
//!   %9 = weight [2, 4, 6] : i64[3]
//!   %y = reshape(%6, %9) : f32[2, 4, 6]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::ops::{Attention, OpKind};

use super::form::{Form, check_plain};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct SeparateHeads;

const INFO: PassInfo = PassInfo { name: "separate-heads", source: include_str!("separate_heads.rs") };

impl Pass for SeparateHeads {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[&OneHeadApart], cx)
    }
}

/// Attention over three axes and with one head is attention over four.
#[derive(Debug)]
struct OneHeadApart;

impl Rule for OneHeadApart {
    fn name(&self) -> &'static str {
        "one-head-apart"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Attention]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let attention = root.is::<Attention>().ok_or(Skip::NoMatch)?;
        let form = Form::of(root, attention).filter(|form| !form.apart).ok_or(Skip::NoMatch)?;
        check_plain(root, attention)?;
        if (form.heads, form.kv_heads) != (1, 1) {
            return Err(because(
                root,
                "it has several heads, which would have to change places with the length",
            ));
        }
        let mut operands: Vec<_> = root.operands().map(|operand| operand.map(ValueRef::id)).collect();
        for (operand, value) in operands.iter_mut().zip([form.q, form.k, form.v]) {
            *operand = Some(patch.reshape(value.id(), &with_head(value)?)?);
        }
        let apart = Attention { q_num_heads: None, kv_num_heads: None, ..attention.clone() };
        let y = patch.op(apart, &operands)?;
        let y = patch.reshape_as(y, root.result().ty())?;
        Ok(patch.replace(root.result().id(), y)?)
    }
}

/// The sizes of `value` with an axis of one head.
fn with_head(value: ValueRef<'_>) -> Result<[i64; 4], Skip> {
    let sizes: Vec<i64> =
        value.ty().shape.iter().map(|dim| dim.known().map_or(-1, |size| size as i64)).collect();
    let [batch, length, size] = sizes[..] else { return Err(Skip::NoMatch) };
    if sizes.iter().filter(|size| **size < 0).count() > 1 {
        return Err(because(value.producer(), "more than one of its sizes is symbolic"));
    }
    Ok([batch, 1, length, size])
}
