//! The rule that finds attention by its softmax.
//!
//! Back from the softmax, through numbers that multiply and masks that are added, there is a product of queries and
//! keys; forward from it, through a guard against rows that are not numbers, there is a product with the values.

use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Attention, IsNan, MatMul, OpKind, Transpose, Where};

use super::scale;
use super::scores::{Scores, cast_of_float};
use crate::attention::axes::origins;
use crate::attention::form::replace;
use crate::emit::Emit;
use crate::pattern::{is_uniform, made_by, only_read_by, permutation};
use crate::rule::{Rule, Skip, because};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct DotProduct;

impl Rule for DotProduct {
    fn name(&self) -> &'static str {
        "dot-product-attention"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Softmax]
    }

    fn rewrite(&self, softmax: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let scores = Scores::behind(softmax).ok_or(Skip::NoMatch)?;
        let weighted = weighted_values(softmax)?;
        scores.check()?;
        let [left, right] = products(scores.product).ok_or(Skip::NoMatch)?;
        let values = products(weighted).ok_or(Skip::NoMatch)?[1];
        let (q, k, v) = (straight(left), keys(right), straight_values(values));
        let rank = check_fit(&scores, weighted, [left, right, values])?;
        let factor = scores.factor * q.1 * k.factor;
        let size = left.ty().shape[rank - 1].known();
        let attention = Attention {
            q_num_heads: (rank == 3).then_some(1),
            kv_num_heads: (rank == 3).then_some(1),
            scale: scale(factor, size, left.ty().dtype),
            ..Attention::default()
        };
        let k = k.emit(patch)?;
        let mask = scores.mask(patch)?;
        let y = patch.op(attention, &[Some(q.0.id()), Some(k), Some(v.id()), mask])?;
        replace(patch, weighted.result(), y)
    }
}

/// The product of the softmax with the values.
fn weighted_values(softmax: NodeRef<'_>) -> Result<NodeRef<'_>, Skip> {
    let mut weights = unguarded(softmax.result()).unwrap_or(softmax.result());
    while let Some(cast) = weights.only_reader().filter(|reader| cast_of_float(*reader).is_some()) {
        weights = cast.result();
    }
    let product =
        weights.readers().find(|(reader, operand)| reader.is::<MatMul>().is_some() && *operand == 0);
    let (product, _) = product.ok_or(Skip::NoMatch)?;
    only_read_by(weights, product)?;
    Ok(product)
}

/// What becomes of `weights` when those that are not numbers are replaced by 0: rows without a key to read.
fn unguarded(weights: ValueRef<'_>) -> Option<ValueRef<'_>> {
    let guard = weights.readers().find_map(|(reader, _)| reader.is::<Where>().map(|_| reader))?;
    let (test, _) = made_by::<IsNan>(guard.operand("condition")?)?;
    let reads = |node: NodeRef<'_>, name: &str| node.operand(name).is_some_and(|x| x.id() == weights.id());
    let holds = reads(test, "x")
        && reads(guard, "y")
        && is_uniform(guard.operand("x")?, 0.0)
        && test.result().only_reader().is_some()
        && weights.readers().len() == 2
        && !weights.is_output()
        && guard.result().ty() == weights.ty();
    holds.then(|| guard.result())
}

/// Both operands of a product of tensors of the same rank.
fn products(product: NodeRef<'_>) -> Option<[ValueRef<'_>; 2]> {
    let [a, b] = ["a", "b"].map(|name| product.operand(name));
    Some([a?, b?])
}

/// The earliest value with the elements of `value` in the same places, and the number they are multiplied by.
fn straight(value: ValueRef<'_>) -> (ValueRef<'_>, f64) {
    let same: Vec<usize> = (0..value.ty().rank()).collect();
    let earliest = origins(value).into_iter().rfind(|origin| origin.axes.are(&same));
    earliest.map_or((value, 1.0), |origin| (origin.value, origin.factor))
}

/// As [`straight`], for values, whose multiples are other results.
fn straight_values(value: ValueRef<'_>) -> ValueRef<'_> {
    let same: Vec<usize> = (0..value.ty().rank()).collect();
    let unscaled = origins(value).into_iter().take_while(|origin| origin.factor == 1.0);
    unscaled.filter(|origin| origin.axes.are(&same)).last().map_or(value, |origin| origin.value)
}

/// Keys, found behind an operand that has them transposed.
struct Keys<'g> {
    value: ValueRef<'g>,
    /// The axes to be taken from `value`; `None` where they are in order.
    order: Option<Vec<i64>>,
    factor: f64,
}

/// The keys that `transposed` has with their last two axes exchanged.
fn keys(transposed: ValueRef<'_>) -> Keys<'_> {
    let rank = transposed.ty().rank();
    let mut swapped: Vec<usize> = (0..rank).collect();
    swapped.swap(rank.saturating_sub(2), rank.saturating_sub(1));
    if let Some(origin) = origins(transposed).into_iter().rfind(|origin| origin.axes.are(&swapped)) {
        return Keys { value: origin.value, order: None, factor: origin.factor };
    }
    let (value, factor) = straight(transposed);
    let numbers = |axes: &[usize]| Some(axes.iter().map(|axis| *axis as i64).collect());
    // Two transposes in a row are one.
    if let Some((node, transpose)) = made_by::<Transpose>(value)
        && let Some(x) = node.operand("x")
    {
        let first = permutation(transpose, x);
        let both: Vec<usize> = swapped.iter().map(|axis| first[*axis]).collect();
        return Keys { value: x, order: numbers(&both), factor };
    }
    Keys { value, order: numbers(&swapped), factor }
}

impl Keys<'_> {
    fn emit(&self, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        Ok(match &self.order {
            Some(order) => patch.transpose(self.value.id(), order)?,
            None => self.value.id(),
        })
    }
}

/// Checks that queries, transposed keys and values are those of an attention; their rank.
fn check_fit(
    scores: &Scores<'_>,
    weighted: NodeRef<'_>,
    [q, k, v]: [ValueRef<'_>; 3],
) -> Result<usize, Skip> {
    let rank = scores.product.result().ty().rank();
    if ![3, 4].contains(&rank) {
        let why = format!("scores have {rank} axes; attention takes [batch, heads, length, size] or 3 axes");
        return Err(because(scores.product, why));
    }
    if [q, k, v].iter().any(|value| value.ty().rank() != rank) {
        return Err(because(scores.product, "queries, keys and values have not the same number of axes"));
    }
    let dtype = q.ty().dtype;
    if !dtype.is_float() || [k.ty(), v.ty(), weighted.result().ty()].iter().any(|ty| ty.dtype != dtype) {
        return Err(because(weighted, "queries, keys, values and result are not of one float type"));
    }
    let fits = q.ty().shape[0] == k.ty().shape[0]
        && k.ty().shape[..rank - 2] == v.ty().shape[..rank - 2]
        && (rank == 3 || q.ty().shape[1] == k.ty().shape[1] || k.ty().shape[1].known() == Some(1));
    if fits {
        Ok(rank)
    } else {
        Err(because(scores.product, "queries, keys and values differ in their batch"))
    }
}
