//! The rule that finds attention by its softmax.
//!
//! Back from the softmax, through numbers that multiply and masks that are added, there is a product of queries and
//! keys; forward from it, through a guard against rows that are not numbers, there is a product with the values.

use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Attention, Cast, IsNan, MatMul, OpKind, Softmax, Transpose, Unsqueeze, Where};
use quad_ir::types::TensorType;

use super::scale;
use crate::attention::axes::{multiple_of, origins};
use crate::emit::Emit;
use crate::pattern::{both_ways, is_uniform, made_by, only_read_by, permutation};
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
        let old = weighted.result();
        if patch.ty(y).is_none_or(|ty| !ty.refines(old.ty(), patch.graph().symbols())) {
            return Err(because(weighted, "the sizes of its result are not shown to be those of attention"));
        }
        Ok(patch.replace(old.id(), y)?)
    }
}

/// The way from a product of queries and keys to the softmax.
struct Scores<'g> {
    product: NodeRef<'g>,
    /// The product of the numbers that the scores are multiplied by.
    factor: f64,
    /// What is added to the scores.
    masks: Vec<ValueRef<'g>>,
    /// The values between product and softmax, with the node that should be their only reader.
    inner: Vec<(ValueRef<'g>, NodeRef<'g>)>,
    /// The multiplication between the softmax and a mask, where there is one.
    late_scale: Option<NodeRef<'g>>,
}

impl<'g> Scores<'g> {
    /// What `softmax` is of, when that is a product.
    fn behind(softmax: NodeRef<'g>) -> Option<Self> {
        let rank = softmax.result().ty().rank() as i64;
        let last = [-1, rank - 1].contains(&softmax.is::<Softmax>()?.axis);
        let start = last.then(|| softmax.operands().next().flatten())??;
        let mut found = Vec::new();
        let path = path_to_product(start, softmax, 0, &mut found)?;
        let mut scores =
            Self { product: path, factor: 1.0, masks: Vec::new(), inner: Vec::new(), late_scale: None };
        for Step { value, reader, factor, mask } in found.into_iter().rev() {
            scores.inner.push((value, reader));
            scores.factor *= factor;
            scores.masks.extend(mask);
            if factor != 1.0 && !scores.masks.is_empty() {
                scores.late_scale = Some(value.producer());
            }
        }
        Some(scores)
    }

    /// Checks that nothing else sees what is between product and softmax.
    fn check(&self) -> Result<(), Skip> {
        if let Some(scale) = self.late_scale {
            return Err(because(scale, "it multiplies scores that a mask was added to"));
        }
        self.inner.iter().try_for_each(|(value, reader)| only_read_by(*value, *reader))?;
        self.masks.iter().try_for_each(|mask| self.check_mask(*mask))
    }

    /// `attention` takes a mask that stretches to the scores, but not along the keys: a shorter mask hides keys.
    fn check_mask(&self, mask: ValueRef<'_>) -> Result<(), Skip> {
        let (ty, scores) = (mask.ty(), self.product.result().ty());
        let reason = if ty.rank() == 0 || ty.rank() > scores.rank() {
            "what is added to the scores has other axes"
        } else if ty.shape.last() != scores.shape.last() {
            "what is added to the scores is the same for all keys"
        } else {
            return Ok(());
        };
        Err(because(mask.producer(), reason))
    }

    /// The sum of the masks, with an axis for heads where it has a batch axis.
    fn mask(&self, patch: &mut Patch<'_>) -> Result<Option<ValueId>, Skip> {
        let mut sum: Option<ValueId> = None;
        for mask in &self.masks {
            sum = Some(match sum {
                None => mask.id(),
                Some(sum) => patch.op(Add, &[Some(sum), Some(mask.id())])?,
            });
        }
        let Some(mask) = sum else { return Ok(None) };
        if patch.ty(mask).map_or(0, TensorType::rank) == 3 && self.product.result().ty().rank() == 3 {
            let axes = patch.integers(&[1])?;
            return Ok(Some(patch.op(Unsqueeze, &[Some(mask), Some(axes)])?));
        }
        Ok(Some(mask))
    }
}

/// A value between the product and the softmax.
struct Step<'g> {
    value: ValueRef<'g>,
    reader: NodeRef<'g>,
    /// What the node that made it multiplied by.
    factor: f64,
    /// What the node that made it added.
    mask: Option<ValueRef<'g>>,
}

/// Additions and multiplications between product and softmax beyond which none is looked for.
const MAX_STEPS: usize = 8;

/// The product behind `value`, which `reader` reads. What is on the way is put into `found`.
fn path_to_product<'g>(
    value: ValueRef<'g>,
    reader: NodeRef<'g>,
    depth: usize,
    found: &mut Vec<Step<'g>>,
) -> Option<NodeRef<'g>> {
    if depth > MAX_STEPS {
        return None;
    }
    let node = value.producer();
    if node.is::<MatMul>().is_some() {
        found.push(Step { value, reader, factor: 1.0, mask: None });
        return Some(node);
    }
    let length = found.len();
    let mut walk = |x: ValueRef<'g>, factor: f64, mask: Option<ValueRef<'g>>| {
        found.truncate(length);
        found.push(Step { value, reader, factor, mask });
        path_to_product(x, node, depth + 1, found)
    };
    if let Some((x, factor)) = multiple_of(value) {
        return walk(x, factor, None);
    }
    if let Some(x) = cast_of_float(node) {
        return walk(x, 1.0, None);
    }
    node.is::<Add>()?;
    let same_sizes = |x: &ValueRef<'_>| x.ty().shape == value.ty().shape;
    both_ways(node).filter(|(x, _)| same_sizes(x)).find_map(|(x, mask)| walk(x, 1.0, Some(mask)))
}

/// The operand of `node`, when it is a cast from floats to floats. `attention` computes its scores more precisely than
/// what it is given, as such casts around a softmax ask for.
fn cast_of_float(node: NodeRef<'_>) -> Option<ValueRef<'_>> {
    node.is::<Cast>()?;
    let x = node.operands().next().flatten()?;
    (x.ty().dtype.is_float() && node.result().ty().dtype.is_float()).then_some(x)
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
