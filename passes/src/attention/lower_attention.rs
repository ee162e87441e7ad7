//! Writes `attention` as products, a softmax and what goes between, for targets that do not have it.
//!
//! Queries are multiplied by the scale, which is fewer numbers than scores. A mask of truth values becomes one of numbers;
//! what causality and windows hide becomes a constant that is added, made when the graph is built. Heads side by side,
//! where there are several, are brought in front of the length and back; keys and values that several heads share are
//! not copied.
//!
//! A query that may read no key gives zeros. Where a mask that is computed or given when the graph runs might hide all
//! keys, weights that are not numbers are replaced by 0; `guard=false` leaves that out, for models whose masks never do.
//!
//! Scores that are read by others, masks of fewer keys, and lengths without padding that are given as an operand are in
//! the way.
//!
//! Before:
//! ```quad
//! graph @main(%q: f32[1, 6, 4], %k: f32[1, 5, 4], %v: f32[1, 5, 3]) {
//!   %y, %0, %1 = attention(%q, %k, %v) {q_num_heads = 1, kv_num_heads = 1} : f32[1, 6, 3], f32[1, 1, 5, 4], f32[1, 1, 5, 3]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%q: f32[1, 6, 4], %k: f32[1, 5, 4], %v: f32[1, 5, 3]) {
//!   %0 = transpose(%k) {perm = [0, 2, 1]} : f32[1, 4, 5]
//!   %1 = weight 0.5 : f32[]
//!   %2 = mul(%q, %1) : f32[1, 6, 4]
//!   %3 = matmul(%2, %0) : f32[1, 6, 5]
//!   %4 = softmax(%3) : f32[1, 6, 5]
//!   %y = matmul(%4, %v) : f32[1, 6, 3]
//!   return "y" = %y
//! }
//! ```
//!
//! Before:
//! ```quad
//! graph @main(%q: f32[1, 6, 8], %k: f32[1, 6, 8], %v: f32[1, 6, 8]) {
//!   %y, %0, %1 = attention(%q, %k, %v) {is_causal = true, q_num_heads = 2, kv_num_heads = 2, scale = 1.0} : f32[1, 6, 8], f32[1, 2, 6, 4], f32[1, 2, 6, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%q: f32[1, 6, 8], %k: f32[1, 6, 8], %v: f32[1, 6, 8]) {
//!   %0 = weight [1, 6, 2, 4] : i64[4]
//!   %1 = reshape(%v, %0) : f32[1, 6, 2, 4]
//!   %2 = transpose(%1) {perm = [0, 2, 1, 3]} : f32[1, 2, 6, 4]
//!   %3 = weight [1, 6, 2, 4] : i64[4]
//!   %4 = reshape(%k, %3) : f32[1, 6, 2, 4]
//!   %5 = transpose(%4) {perm = [0, 2, 3, 1]} : f32[1, 2, 4, 6]
//!   %6 = weight [1, 6, 2, 4] : i64[4]
//!   %7 = reshape(%q, %6) : f32[1, 6, 2, 4]
//!   %8 = transpose(%7) {perm = [0, 2, 1, 3]} : f32[1, 2, 6, 4]
//!   %9 = matmul(%8, %5) : f32[1, 2, 6, 6]
//!   %10 = weight "4f463a53c088e2e73398e542a37e2bbd" : f32[6, 6]
//!   %11 = add(%9, %10) : f32[1, 2, 6, 6]
//!   %12 = softmax(%11) : f32[1, 2, 6, 6]
//!   %13 = matmul(%12, %2) : f32[1, 2, 6, 4]
//!   %14 = transpose(%13) {perm = [0, 2, 1, 3]} : f32[1, 6, 2, 4]
//!   %15 = weight [1, 6, 8] : i64[3]
//!   %y = reshape(%14, %15) : f32[1, 6, 8]
//!   return "y" = %y
//! }
//! ```

mod mask;
#[cfg(test)]
mod tests;

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Attention, Cast, Concat, Div, IsNan, MatMul, Mul, OpKind, Reshape, Softmax, Tanh, Where};
use quad_ir::types::Dim;

use super::form::{Form, replace};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct LowerAttention {
    /// Whether queries that may read no key give zeros, where masks do not tell that there is none.
    pub guard: bool,
}

impl Default for LowerAttention {
    fn default() -> Self {
        Self { guard: true }
    }
}

const INFO: PassInfo = PassInfo { name: "lower-attention", source: include_str!("lower_attention.rs") };

impl Pass for LowerAttention {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("guard", &mut self.guard)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[self], cx)
    }
}

impl Rule for LowerAttention {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Attention]
    }

    fn rewrite(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let attention = node.is::<Attention>().ok_or(Skip::NoMatch)?;
        let lowering = Lowering::of(node, attention)?;
        let v = lowering.with_past(lowering.form.v, "past_value", patch)?;
        let (k, transposed) = lowering.keys(patch)?;
        let q = lowering.apart(lowering.form.q, lowering.form.heads, patch)?;
        let scores = lowering.scores(q, transposed, patch)?;
        let (scores, may_hide_all) = lowering.masked(scores, patch)?;
        let weights = lowering.weights(scores, self.guard && may_hide_all, patch)?;
        let y = lowering.weighted_values(weights, v, patch)?;
        for (result, value) in node.results().zip([Some(y), k, Some(v)]) {
            if let Some(value) = value.filter(|_| is_seen(result)) {
                replace(patch, result, value)?;
            }
        }
        Ok(())
    }
}

/// An attention, and how it is written.
#[derive(Clone, Copy, Debug)]
struct Lowering<'g> {
    node: NodeRef<'g>,
    attention: &'g Attention,
    form: Form<'g>,
    /// Whether the work is done on three axes: one head, and nobody asks for an axis of heads.
    single: bool,
}

impl<'g> Lowering<'g> {
    fn of(node: NodeRef<'g>, attention: &'g Attention) -> Result<Self, Skip> {
        let form =
            Form::of(node, attention).ok_or_else(|| because(node, "its number of heads is not known"))?;
        if attention.with_qk && node.results().nth(3).is_some_and(is_seen) {
            return Err(because(node, "its scores are read by others"));
        }
        if node.operand("nonpad_kv_seqlen").is_some() {
            return Err(because(node, "how many of its keys are not padding is known only when it runs"));
        }
        let with_heads = form.apart
            || form.heads > 1
            || node.operand("past_key").is_some()
            || node.results().skip(1).any(is_seen);
        Ok(Self { node, attention, form, single: !with_heads })
    }

    /// Keys, where they are seen or cached, and keys with their last two axes exchanged.
    fn keys(&self, patch: &mut Patch<'_>) -> Result<(Option<ValueId>, ValueId), Skip> {
        let k = self.form.k;
        let seen = self.node.results().nth(1).is_some_and(is_seen) || self.node.operand("past_key").is_some();
        if !self.single && !self.form.apart && !seen {
            let split = self.split(k, self.form.kv_heads, patch)?;
            return Ok((None, patch.transpose(split, &[0, 2, 3, 1])?));
        }
        let order: &[i64] = if self.single { &[0, 2, 1] } else { &[0, 1, 3, 2] };
        let k = self.with_past(k, "past_key", patch)?;
        Ok((Some(k), patch.transpose(k, order)?))
    }

    /// Keys or values `new`, the cached ones first, with heads as an axis of their own unless there is but one.
    fn with_past(&self, new: ValueRef<'_>, past: &str, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let new = self.apart(new, self.form.kv_heads, patch)?;
        Ok(match self.node.operand(past) {
            Some(past) => patch.add_value(Concat { axis: 2 }, &[past.id(), new])?,
            None => new,
        })
    }

    /// `value` with its `heads` heads as an axis before the length.
    fn apart(&self, value: ValueRef<'_>, heads: u64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        if self.single || self.form.apart {
            return Ok(value.id());
        }
        let split = self.split(value, heads, patch)?;
        Ok(patch.transpose(split, &[0, 2, 1, 3])?)
    }

    /// `value` with its `heads` heads as an axis behind the length.
    fn split(&self, value: ValueRef<'_>, heads: u64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let dims = &value.ty().shape;
        let size = self.form.size(value, heads);
        let size = size.ok_or_else(|| because(value.producer(), "the size of its heads is not known"))?;
        reshape(patch, value.id(), &[copied(&dims[0]), copied(&dims[1]), heads as i64, size as i64])
    }

    /// The products of scaled queries and transposed keys.
    fn scores(&self, q: ValueId, transposed: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let (dtype, scale) = (self.dtype(), self.scale()?);
        let scaled = if scale == 1.0 {
            q
        } else {
            let scale = patch.scalar(dtype, scale)?;
            patch.add_value(Mul, &[q, scale])?
        };
        let grouped = self.grouped(scaled, patch)?;
        let scores = patch.add_value(MatMul, &[grouped, transposed])?;
        let scores = self.ungrouped(scores, patch)?;
        let cap = f64::from(self.attention.softcap.get());
        if cap <= 0.0 {
            return Ok(scores);
        }
        let cap = patch.scalar(dtype, cap)?;
        let part = patch.add_value(Div, &[scores, cap])?;
        let capped = patch.add_value(Tanh, &[part])?;
        Ok(patch.add_value(Mul, &[capped, cap])?)
    }

    fn dtype(&self) -> DType {
        self.form.q.ty().dtype
    }

    fn scale(&self) -> Result<f64, Skip> {
        let usual = || self.form.size(self.form.q, self.form.heads).map(|size| 1.0 / (size as f64).sqrt());
        let stated = self.attention.scale.map(|scale| f64::from(scale.get()));
        stated.or_else(usual).ok_or_else(|| because(self.node, "the size of its heads is not known"))
    }

    /// The scores with what hides keys added, and whether that may hide all keys from a query.
    fn masked(&self, mut scores: ValueId, patch: &mut Patch<'_>) -> Result<(ValueId, bool), Skip> {
        let (mask, may_hide_all) = mask::of_operand(self.node, self.single, patch)?;
        let (positions, hides_all) = mask::of_positions(self.node, self.attention, &self.form, patch)?;
        let both = mask.is_some() && positions.is_some();
        for mask in [mask, positions].into_iter().flatten() {
            scores = patch.add_value(quad_ir::ops::Add, &[scores, mask])?;
        }
        Ok((scores, may_hide_all || hides_all || both))
    }

    /// The weights of the values.
    fn weights(&self, scores: ValueId, guard: bool, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let dtype = self.dtype();
        let precision = self.attention.softmax_precision.unwrap_or(dtype);
        let cast = |value, to, patch: &mut Patch<'_>| {
            if precision == dtype {
                Ok(value)
            } else {
                patch.add_value(Cast { to, ..Cast::default() }, &[value])
            }
        };
        let scores = cast(scores, precision, patch)?;
        let weights = patch.add_value(Softmax { axis: -1 }, &[scores])?;
        let weights = cast(weights, dtype, patch)?;
        if !guard {
            return Ok(weights);
        }
        let zero = patch.scalar(dtype, 0.0)?;
        let broken = patch.add_value(IsNan, &[weights])?;
        Ok(patch.add_value(Where, &[broken, zero, weights])?)
    }

    /// The products of weights and values, with heads where the attention has them.
    fn weighted_values(&self, weights: ValueId, v: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let grouped = self.grouped(weights, patch)?;
        let y = patch.add_value(MatMul, &[grouped, v])?;
        let y = self.ungrouped(y, patch)?;
        if self.single || self.form.apart {
            return Ok(y);
        }
        let y = patch.transpose(y, &[0, 2, 1, 3])?;
        let dims = &self.node.result().ty().shape;
        let width =
            dims[2].known().ok_or_else(|| because(self.node, "the size of its heads is not known"))?;
        reshape(patch, y, &[copied(&dims[0]), copied(&dims[1]), width as i64])
    }

    /// `[batch, heads, queries, ..]` with the queries of heads that share keys one after the other.
    fn grouped(&self, value: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        self.regrouped(value, self.form.kv_heads, patch)
    }

    /// The reverse of [`grouped`](Self::grouped).
    fn ungrouped(&self, value: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        self.regrouped(value, self.form.heads, patch)
    }

    fn regrouped(&self, value: ValueId, groups: u64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        if self.form.heads == self.form.kv_heads {
            return Ok(value);
        }
        let dims = patch.ty(value).map(|ty| ty.shape.clone()).ok_or(Skip::NoMatch)?;
        if dims[1].known() == Some(groups) {
            return Ok(value);
        }
        let last = dims[3].known().ok_or_else(|| because(self.node, "shared keys of unknown number"))?;
        reshape(patch, value, &[copied(&dims[0]), groups as i64, -1, last as i64])
    }
}

/// Whether anything reads `result`.
fn is_seen(result: ValueRef<'_>) -> bool {
    result.is_read() || result.is_output()
}

/// The size of an axis that a reshape keeps: 0 says so where it is not known.
fn copied(dim: &Dim) -> i64 {
    dim.known().map_or(0, |size| size as i64)
}

/// `x` with sizes `sizes`, of which a 0 is the size that `x` has there.
fn reshape(patch: &mut Patch<'_>, x: ValueId, sizes: &[i64]) -> Result<ValueId, Skip> {
    let sizes = patch.integers(sizes)?;
    Ok(patch.add_value(Reshape { allowzero: false }, &[x, sizes])?)
}
