//! Splits attention of several heads into one `attention` per head, and with it what its operands are computed by.
//!
//! Processors that multiply matrices of a few axes well run heads one by one, without bringing them in front of the
//! length and back. A projection gives a head's queries when its weight is cut along its outputs; a constant is cut when
//! the graph is built. Where a projection is a sum of products, of which some have weights that are computed or given
//! when the graph runs, every one is cut at its last weight, by `split` of the weight. What cannot be cut closer to
//! the weights, or is read by others too, is cut by `split` where it is.
//!
//! With `out=concat` the results of the heads are put side by side again, and what reads them stays as it is. With
//! `out=sum`, where nothing but products with weights reads them, each of those is cut along the inputs of its weight,
//! and the products of the heads are added up.
//!
//! Cached keys, and keys, values or scores that are read by others, are in the way.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 6, 4], %q: f32[1, 6, 4], %k: f32[1, 6, 4], %down: f32[4, 1], %up: f32[1, 4]) {
//!   %w = weight [1.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0] : f32[4, 4]
//!   %0 = matmul(%x, %w) : f32[1, 6, 4]
//!   %1 = matmul(%x, %down) : f32[1, 6, 1]
//!   %2 = matmul(%1, %up) : f32[1, 6, 4]
//!   %v = add(%0, %2) : f32[1, 6, 4]
//!   %y, %3, %4 = attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 4], f32[1, 2, 6, 2], f32[1, 2, 6, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 6, 4], %q: f32[1, 6, 4], %k: f32[1, 6, 4], %down: f32[4, 1], %up: f32[1, 4]) {
//!   %0 = matmul(%x, %down) : f32[1, 6, 1]
//!   %1, %2 = split(%q) {axis = 2, num_outputs = 2} : f32[1, 6, 2], f32[1, 6, 2]
//!   %3, %4 = split(%k) {axis = 2, num_outputs = 2} : f32[1, 6, 2], f32[1, 6, 2]
//!   %5 = weight [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0] : f32[4, 2]
//!   %6 = matmul(%x, %5) : f32[1, 6, 2]
//!   %7, %8 = split(%up) {axis = 1, num_outputs = 2} : f32[1, 2], f32[1, 2]
//!   %9 = matmul(%0, %7) : f32[1, 6, 2]
//!   %10 = add(%6, %9) : f32[1, 6, 2]
//!   %11, %12, %13 = attention(%1, %3, %10) {q_num_heads = 1, kv_num_heads = 1} : f32[1, 6, 2], f32[1, 1, 6, 2], f32[1, 1, 6, 2]
//!   %14 = weight [0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0] : f32[4, 2]
//!   %15 = matmul(%x, %14) : f32[1, 6, 2]
//!   %16 = matmul(%0, %8) : f32[1, 6, 2]
//!   %17 = add(%15, %16) : f32[1, 6, 2]
//!   %18, %19, %20 = attention(%2, %4, %17) {q_num_heads = 1, kv_num_heads = 1} : f32[1, 6, 2], f32[1, 1, 6, 2], f32[1, 1, 6, 2]
//!   %y = concat(%11, %18) {axis = 2} : f32[1, 6, 4]
//!   return "y" = %y
//! }
//! ```

#[cfg(test)]
mod tests;

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Attention, Concat, MatMul, OpKind, Squeeze, Unsqueeze};

use super::cut::{Cutter, Part};
use super::form::{Form, check_plain, replace};
use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::through_idle_casts;
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct SplitHeads {
    /// How the results of the heads come together.
    pub out: Join,
}

/// How the results of heads come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Side by side.
    #[default]
    Concat,
    /// As a sum of what reads them, head by head.
    Sum,
}

const INFO: PassInfo = PassInfo { name: "split-heads", source: include_str!("split_heads.rs") };

impl Pass for SplitHeads {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("out", &mut self.out)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        apply_rules(graph, &[self], cx)
    }
}

impl AttrValue for Join {
    fn to_attr(&self) -> Attr {
        let word = if *self == Self::Concat { "concat" } else { "sum" };
        Attr::Str(word.to_owned())
    }

    fn set_attr(&mut self, attr: &Attr) -> Result<(), String> {
        *self = match attr {
            Attr::Str(word) if word == "concat" => Self::Concat,
            Attr::Str(word) if word == "sum" => Self::Sum,
            _ => return Err("concat or sum".to_owned()),
        };
        Ok(())
    }
}

impl Rule for SplitHeads {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Attention]
    }

    fn rewrite(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let attention = node.is::<Attention>().ok_or(Skip::NoMatch)?;
        let form =
            Form::of(node, attention).ok_or_else(|| because(node, "its number of heads is not known"))?;
        if form.heads == 1 && !form.apart {
            return Err(Skip::NoMatch);
        }
        check_plain(node, attention)?;
        let sizes = [
            form.size(form.q, form.heads),
            form.size(form.k, form.kv_heads),
            form.size(form.v, form.kv_heads),
        ];
        let [Some(q), Some(k), Some(v)] = sizes else {
            return Err(because(node, "the size of its heads is not known"));
        };
        let mut cutter = Cutter::new(patch);
        let mut results = Vec::new();
        for head in 0..form.heads {
            let shared = head / (form.heads / form.kv_heads);
            let operands = [
                Some(one_head(&mut cutter, &form, form.q, head, q)?),
                Some(one_head(&mut cutter, &form, form.k, shared, k)?),
                Some(one_head(&mut cutter, &form, form.v, shared, v)?),
                node.operand("attn_mask").map(|mask| mask_of_head(&mut cutter, mask, head)).transpose()?,
                None,
                None,
                node.operand("nonpad_kv_seqlen").map(ValueRef::id),
            ];
            let single = Attention { q_num_heads: Some(1), kv_num_heads: Some(1), ..attention.clone() };
            results.push(cutter.patch.op(single, &operands)?);
        }
        match products_of(node.result()).filter(|_| self.out == Join::Sum && !form.apart) {
            Some(products) => add_up(&mut cutter, &products, &results, v),
            None => put_together(patch, node, &form, results),
        }
    }
}

/// The head `head` of `value`, as `[batch, length, size]`.
fn one_head(
    cutter: &mut Cutter<'_, '_>,
    form: &Form<'_>,
    value: ValueRef<'_>,
    head: u64,
    size: u64,
) -> Result<ValueId, Skip> {
    if !form.apart {
        return cutter.cut(value, Part { axis: 2, start: head * size, size });
    }
    let part = cutter.cut(value, Part { axis: 1, start: head, size: 1 })?;
    let axes = cutter.patch.integers(&[1])?;
    Ok(cutter.patch.add_value(Squeeze, &[part, axes])?)
}

/// What of `mask` is for `head`.
fn mask_of_head(cutter: &mut Cutter<'_, '_>, mask: ValueRef<'_>, head: u64) -> Result<ValueId, Skip> {
    match mask.ty().rank().checked_sub(3) {
        Some(axis) if mask.ty().shape[axis].known() != Some(1) => {
            cutter.cut(mask, Part { axis, start: head, size: 1 })
        }
        _ => Ok(mask.id()),
    }
}

/// Puts the results of heads where that of `node` was.
fn put_together(
    patch: &mut Patch<'_>,
    node: NodeRef<'_>,
    form: &Form<'_>,
    mut results: Vec<ValueId>,
) -> Result<(), Skip> {
    if form.apart {
        let axes = patch.integers(&[1])?;
        for result in &mut results {
            *result = patch.add_value(Unsqueeze, &[*result, axes])?;
        }
    }
    let axis = if form.apart { 1 } else { 2 };
    let whole = match results.as_slice() {
        [only] => *only,
        parts => patch.add_value(Concat { axis }, parts)?,
    };
    replace(patch, node.result(), whole)
}

/// The products with matrices that read `value`, when nothing else does.
fn products_of(mut value: ValueRef<'_>) -> Option<Vec<NodeRef<'_>>> {
    while let Some(reader) = value.only_reader().filter(|reader| {
        let result = reader.result();
        reader.is::<MatMul>().is_none() && through_idle_casts(result).id() == value.id()
    }) {
        value = reader.result();
    }
    let is_product = |(reader, operand): (NodeRef<'_>, usize)| {
        let matrix = reader.operand("b").is_some_and(|b| b.ty().rank() == 2);
        reader.is::<MatMul>().is_some() && operand == 0 && matrix
    };
    let all = !value.is_output() && value.is_read() && value.readers().all(is_product);
    all.then(|| value.readers().map(|(reader, _)| reader).collect())
}

/// Replaces each of `products` by the sum of those of `heads`, which have `size` elements each.
fn add_up(
    cutter: &mut Cutter<'_, '_>,
    products: &[NodeRef<'_>],
    heads: &[ValueId],
    size: u64,
) -> Result<(), Skip> {
    for product in products {
        let weight = product.operand("b").ok_or(Skip::NoMatch)?;
        let mut sum: Option<ValueId> = None;
        for (head, value) in heads.iter().enumerate() {
            let part = Part { axis: 0, start: head as u64 * size, size };
            let rows = cutter.cut(weight, part)?;
            let product = cutter.patch.add_value(MatMul, &[*value, rows])?;
            sum = Some(match sum {
                Some(sum) => cutter.patch.add_value(Add, &[sum, product])?,
                None => product,
            });
        }
        replace(cutter.patch, product.result(), sum.ok_or(Skip::NoMatch)?)?;
    }
    Ok(())
}
