//! What is added to scores so that queries do not read some keys.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Attention, Cast, Expand, Squeeze, Trilu, Where};
use quad_ir::tensor::Tensor;
use quad_ir::weights::{WeightError, WeightId};

use crate::attention::form::Form;
use crate::emit::Emit;
use crate::rule::{Skip, because};

/// Elements of a constant mask beyond which it is not looked at.
const MAX_ELEMENTS: u64 = 1 << 24;

/// The mask operand of `node` as numbers to add to scores, which have an axis of heads unless they are of a `single` one,
/// and whether it may hide all keys from a query.
pub(super) fn of_operand(
    node: NodeRef<'_>,
    single: bool,
    patch: &mut Patch<'_>,
) -> Result<(Option<ValueId>, bool), Skip> {
    let Some(mask) = node.operand("attn_mask") else { return Ok((None, false)) };
    let keys = node.results().nth(1).and_then(|present| present.ty().shape.get(2).cloned());
    if mask.ty().shape.last() != keys.as_ref() {
        return Err(because(mask.producer(), "it is a mask of other keys"));
    }
    let dtype = node.result().ty().dtype;
    // The lowest number of a wider type, which evens out a row that is hidden, would become minus infinity.
    if mask.ty().dtype.is_float() && mask.ty().dtype.bits() > dtype.bits() {
        let why = format!("it is a mask of {}, which {dtype} may not hold", mask.ty().dtype);
        return Err(because(mask.producer(), why));
    }
    let may_hide_all = hides_all_of_a_row(mask)?.unwrap_or(true);
    let mut value = mask.id();
    if single && mask.ty().rank() >= 3 {
        // The axis of heads is before the last two.
        let axes = patch.integers(&[mask.ty().rank() as i64 - 3])?;
        value = patch.add_value(Squeeze, &[value, axes])?;
    }
    if mask.ty().dtype == DType::Bool {
        let (readable, hidden) = (patch.scalar(dtype, 0.0)?, patch.scalar(dtype, f64::NEG_INFINITY)?);
        value = patch.add_value(Where, &[value, readable, hidden])?;
    } else if mask.ty().dtype != dtype {
        value = patch.add_value(Cast { to: dtype, ..Cast::default() }, &[value])?;
    }
    Ok((Some(value), may_hide_all))
}

/// Whether a row of `mask` hides all keys, when `mask` is a constant.
fn hides_all_of_a_row(mask: ValueRef<'_>) -> Result<Option<bool>, Skip> {
    let elements = mask.ty().shape.elements().and_then(|count| count.as_constant());
    let small = elements.is_some_and(|count| count.cast_unsigned() <= MAX_ELEMENTS);
    let tensor = match (mask.constant(), mask.weight().filter(|_| small)) {
        (Some(tensor), _) => tensor.clone(),
        (None, Some(weight)) => mask.producer().graph().weights().tensor(weight)?,
        (None, None) => return Ok(None),
    };
    let keys = tensor.sizes().last().copied().unwrap_or(1).max(1);
    let values = tensor.to_f64().map_err(WeightError::from)?;
    let is_hidden =
        |value: &f64| if tensor.dtype() == DType::Bool { *value == 0.0 } else { *value == f64::NEG_INFINITY };
    Ok(Some(values.chunks(keys).any(|row| row.iter().all(is_hidden))))
}

/// What causality and windows hide, as numbers to add to `[queries, keys]`, and whether they hide all keys from a query.
pub(super) fn of_positions(
    node: NodeRef<'_>,
    attention: &Attention,
    form: &Form<'_>,
    patch: &mut Patch<'_>,
) -> Result<(Option<ValueId>, bool), Skip> {
    let window = |size: i64| u64::try_from(size).ok();
    let right = if attention.is_causal { Some(0) } else { window(attention.right_window_size) };
    let left = window(attention.left_window_size);
    if right.is_none() && left.is_none() {
        return Ok((None, false));
    }
    let unknown = || because(node, "which keys a query may read depends on sizes that are not known");
    let length = |value: ValueRef<'_>| value.ty().shape[usize::from(form.apart) + 1].known();
    let queries = length(form.q).ok_or_else(unknown)?;
    let keys = node.results().nth(1).and_then(|present| present.ty().shape[2].known()).ok_or_else(unknown)?;
    let past = match node.operand("past_key") {
        Some(past) => past.ty().shape[2].known().ok_or_else(unknown)?,
        None => 0,
    };
    let size = [queries, keys];
    let dtype = form.q.ty().dtype;
    let mut masks = Vec::new();
    if let Some(right) = right {
        masks.push(triangle(dtype, size, true, (past + right + 1) as i64, patch)?);
    }
    if let Some(left) = left {
        masks.push(triangle(dtype, size, false, past as i64 - left as i64 - 1, patch)?);
    }
    let sum = match masks[..] {
        [one, other] => patch.add_value(Add, &[one, other])?,
        _ => masks[0],
    };
    // The last query stands farthest to the right.
    let hides_all = left.is_some_and(|left| queries + past > keys + left);
    Ok((Some(sum), hides_all))
}

/// A constant of `sizes` that is minus infinity in the triangle from the diagonal `diagonal` on, and 0 elsewhere.
fn triangle(
    dtype: DType,
    sizes: [u64; 2],
    upper: bool,
    diagonal: i64,
    patch: &mut Patch<'_>,
) -> Result<ValueId, Skip> {
    let hidden = Tensor::from_f32(dtype, &[], &[f32::NEG_INFINITY]).map_err(WeightError::from)?;
    let shape = Tensor::from_vec(&[2], sizes.map(|size| size as i64).to_vec()).map_err(WeightError::from)?;
    let diagonal = Tensor::from_vec(&[], vec![diagonal]).map_err(WeightError::from)?;
    let from = [constant(&hidden, patch)?, constant(&shape, patch)?].map(Some);
    let full = patch.weights_mut().derive(Expand, &from)?;
    let from = [full, constant(&diagonal, patch)?].map(Some);
    let triangle = patch.weights_mut().derive(Trilu { upper }, &from)?;
    Ok(patch.add_weight(triangle)?)
}

/// A weight that only recipes read.
fn constant(tensor: &Tensor, patch: &mut Patch<'_>) -> Result<WeightId, WeightError> {
    patch.weights_mut().add_tensor(tensor)
}
