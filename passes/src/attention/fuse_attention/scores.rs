//! What is between a product of queries and keys and the softmax: numbers that multiply, masks, and casts.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Cast, MatMul, Softmax, Unsqueeze, Where};
use quad_ir::types::TensorType;

use crate::attention::axes::multiple_of;
use crate::emit::Emit;
use crate::pattern::{both_ways, only_read_by, uniform};
use crate::rule::{Skip, because};

/// The way from a product of queries and keys to the softmax.
pub(super) struct Scores<'g> {
    /// The product.
    pub(super) product: NodeRef<'g>,
    /// The product of the numbers that the scores are multiplied by.
    pub(super) factor: f64,
    /// What hides keys.
    masks: Vec<Mask<'g>>,
    /// The values between product and softmax, with the node that should be their only reader.
    inner: Vec<(ValueRef<'g>, NodeRef<'g>)>,
    /// The multiplication between the softmax and a mask, where there is one.
    late_scale: Option<NodeRef<'g>>,
}

impl<'g> Scores<'g> {
    /// What `softmax` is of, when that is a product.
    pub(super) fn behind(softmax: NodeRef<'g>) -> Option<Self> {
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
    pub(super) fn check(&self) -> Result<(), Skip> {
        if let Some(scale) = self.late_scale {
            return Err(because(scale, "it multiplies scores that are masked"));
        }
        self.inner.iter().try_for_each(|(value, reader)| only_read_by(*value, *reader))?;
        self.masks.iter().try_for_each(|mask| self.check_mask(mask.value()))
    }

    /// `attention` takes a mask that stretches to the scores, but not along the keys: a shorter mask hides keys.
    fn check_mask(&self, mask: ValueRef<'_>) -> Result<(), Skip> {
        let (ty, scores) = (mask.ty(), self.product.result().ty());
        let reason = if ty.rank() == 0 || ty.rank() > scores.rank() {
            "the mask has other axes than the scores"
        } else if ty.shape.last() != scores.shape.last() {
            "the mask is the same for all keys"
        } else {
            return Ok(());
        };
        Err(because(mask.producer(), reason))
    }

    /// The sum of the masks, with an axis for heads where it has a batch axis.
    pub(super) fn mask(&self, patch: &mut Patch<'_>) -> Result<Option<ValueId>, Skip> {
        let dtype = self.mask_dtype()?;
        let mut sum: Option<ValueId> = None;
        for mask in &self.masks {
            let mask = numbers(mask, dtype, patch)?;
            sum = Some(match sum {
                None => mask,
                Some(sum) => patch.add_value(Add, &[sum, mask])?,
            });
        }
        let Some(mask) = sum else { return Ok(None) };
        if patch.ty(mask).map_or(0, TensorType::rank) == 3 && self.product.result().ty().rank() == 3 {
            let axes = patch.integers(&[1])?;
            return Ok(Some(patch.add_value(Unsqueeze, &[mask, axes])?));
        }
        Ok(Some(mask))
    }

    /// The type of the masks that are added, or that of the scores where there are none. Zero and minus infinity, by which
    /// the others hide keys, are the same in all types.
    fn mask_dtype(&self) -> Result<DType, Skip> {
        let mut added = self.masks.iter().filter_map(|mask| match mask {
            Mask::Added(value) => Some(value),
            Mask::Chosen { .. } => None,
        });
        let Some(first) = added.next() else { return Ok(self.product.result().ty().dtype) };
        let dtype = first.ty().dtype;
        match added.find(|mask| mask.ty().dtype != dtype) {
            Some(other) => Err(because(other.producer(), "it is a mask of another type than the one before")),
            None => Ok(dtype),
        }
    }
}

/// `mask` as numbers of type `dtype` to add.
fn numbers(mask: &Mask<'_>, dtype: DType, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
    let (condition, hides) = match mask {
        Mask::Added(value) => return Ok(value.id()),
        Mask::Chosen { condition, hides } => (condition.id(), *hides),
    };
    let (readable, hidden) = (patch.scalar(dtype, 0.0)?, patch.scalar(dtype, f64::NEG_INFINITY)?);
    let [yes, no] = if hides { [hidden, readable] } else { [readable, hidden] };
    Ok(patch.add_value(Where, &[condition, yes, no])?)
}

/// What hides keys from queries.
#[derive(Clone, Copy)]
enum Mask<'g> {
    /// Numbers that are added to scores.
    Added(ValueRef<'g>),
    /// Truth values by which scores or minus infinity are taken.
    Chosen {
        condition: ValueRef<'g>,
        /// Whether it is true for keys that are hidden.
        hides: bool,
    },
}

impl<'g> Mask<'g> {
    fn value(&self) -> ValueRef<'g> {
        match *self {
            Self::Added(value) | Self::Chosen { condition: value, .. } => value,
        }
    }

    /// The scores and the mask of `node`, when it chooses between scores and minus infinity.
    fn of_choice(node: NodeRef<'g>) -> Option<(ValueRef<'g>, Self)> {
        node.is::<Where>()?;
        let [condition, x, y] = ["condition", "x", "y"].map(|name| node.operand(name));
        let (condition, x, y) = (condition?, x?, y?);
        let is_hidden = |value: ValueRef<'_>| uniform(value) == Some(f64::NEG_INFINITY);
        match (is_hidden(x), is_hidden(y)) {
            (true, false) => Some((y, Self::Chosen { condition, hides: true })),
            (false, true) => Some((x, Self::Chosen { condition, hides: false })),
            _ => None,
        }
    }
}

/// A value between the product and the softmax.
struct Step<'g> {
    value: ValueRef<'g>,
    reader: NodeRef<'g>,
    /// What the node that made it multiplied by.
    factor: f64,
    /// What the node that made it hid.
    mask: Option<Mask<'g>>,
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
    let mut walk = |x: ValueRef<'g>, factor: f64, mask: Option<Mask<'g>>| {
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
    let same_sizes = |x: &ValueRef<'_>| x.ty().shape == value.ty().shape;
    if let Some((x, mask)) = Mask::of_choice(node).filter(|(x, _)| same_sizes(x)) {
        return walk(x, 1.0, Some(mask));
    }
    node.is::<Add>()?;
    let mut ways = both_ways(node).filter(|(x, _)| same_sizes(x));
    ways.find_map(|(x, mask)| walk(x, 1.0, Some(Mask::Added(mask))))
}

/// The operand of `node`, when it is a cast from floats to floats. `attention` computes its scores more precisely than
/// what it is given, as such casts around a softmax ask for.
pub(super) fn cast_of_float(node: NodeRef<'_>) -> Option<ValueRef<'_>> {
    node.is::<Cast>()?;
    let x = node.operands().next().flatten()?;
    (x.ty().dtype.is_float() && node.result().ty().dtype.is_float()).then_some(x)
}
