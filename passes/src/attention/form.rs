//! How an `attention` has its heads.

use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::Attention;

use crate::rule::{Skip, because};

/// The operands that every attention has, and its numbers of heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'g> {
    /// Queries, `[batch, heads, length, size]` or `[batch, length, heads * size]`.
    pub(super) q: ValueRef<'g>,
    /// Keys, of as many axes.
    pub(super) k: ValueRef<'g>,
    /// Values, of as many axes.
    pub(super) v: ValueRef<'g>,
    /// Heads of the queries.
    pub(super) heads: u64,
    /// Heads of keys and values, which divide those of the queries.
    pub(super) kv_heads: u64,
    /// Whether heads are an axis of their own.
    pub(super) apart: bool,
}

impl<'g> Form<'g> {
    /// The form of `node`, which is an `attention`; `None` where the number of heads is not known.
    pub(super) fn of(node: NodeRef<'g>, attention: &Attention) -> Option<Self> {
        let [q, k, v] = ["q", "k", "v"].map(|name| node.operand(name));
        let (q, k, v) = (q?, k?, v?);
        let apart = q.ty().rank() == 4;
        let heads =
            |value: ValueRef<'_>, count: Option<u64>| if apart { value.ty().shape[1].known() } else { count };
        let (heads, kv_heads) = (heads(q, attention.q_num_heads)?, heads(k, attention.kv_num_heads)?);
        (heads > 0 && kv_heads > 0 && heads % kv_heads == 0).then_some(Self {
            q,
            k,
            v,
            heads,
            kv_heads,
            apart,
        })
    }

    /// The elements of one head of `value`, which has `heads` of them.
    pub(super) fn size(&self, value: ValueRef<'_>, heads: u64) -> Option<u64> {
        let last = value.ty().shape.last()?.known()?;
        if self.apart { Some(last) } else { last.checked_div(heads) }
    }
}

/// Checks that there are no cached keys, and that nothing but the first result is read.
pub(super) fn check_plain(node: NodeRef<'_>, attention: &Attention) -> Result<(), Skip> {
    if ["past_key", "past_value"].iter().any(|name| node.operand(name).is_some()) {
        return Err(because(node, "it has cached keys and values"));
    }
    if attention.with_qk || node.results().skip(1).any(|result| result.is_read() || result.is_output()) {
        return Err(because(node, "its keys, values or scores are read by others"));
    }
    Ok(())
}

/// Replaces `old` by `new`, where symbolic sizes do not hide that they have the same.
pub(super) fn replace(patch: &mut Patch<'_>, old: ValueRef<'_>, new: ValueId) -> Result<(), Skip> {
    let symbols = old.producer().graph().symbols();
    if patch.ty(new).is_none_or(|ty| !ty.refines(old.ty(), symbols)) {
        return Err(because(old.producer(), "the sizes of its result are not shown to stay the same"));
    }
    Ok(patch.replace(old.id(), new)?)
}
