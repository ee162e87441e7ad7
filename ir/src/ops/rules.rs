//! Pieces that type rules share: broadcasting, axes, sizes of windows.

use smallvec::SmallVec;

use super::{InferError, Operands};
use crate::dtype::DType;
use crate::types::{Dim, DimExpr, Shape, TensorType};

/// The shape of operands broadcast together, aligned at the last axis: axes of size 1 stretch.
///
/// Two different symbols may be equal or one of them 1 when the graph runs, so they give a fresh symbol.
pub(crate) fn broadcast(operands: &Operands<'_>, indices: &[usize]) -> Result<Shape, InferError> {
    let mut result = Shape::default();
    for index in indices {
        let shape = &operands.ty(*index)?.shape;
        result = broadcast_pair(operands, *index, &result, shape)?;
    }
    Ok(result)
}

/// As [`broadcast`], for two shapes; `index` is the operand blamed when they do not fit.
pub(crate) fn broadcast_pair(
    operands: &Operands<'_>,
    index: usize,
    left: &Shape,
    right: &Shape,
) -> Result<Shape, InferError> {
    let rank = left.rank().max(right.rank());
    let at = |shape: &Shape, axis: usize| {
        (axis + shape.rank()).checked_sub(rank).map_or(Dim::Known(1), |axis| shape[axis].clone())
    };
    let dim = |axis| match (at(left, axis), at(right, axis)) {
        (a, b) if a == b => Ok(a),
        (Dim::Known(1), other) | (other, Dim::Known(1)) => Ok(other),
        (Dim::Known(_), Dim::Known(_)) => {
            Err(operands.mismatch(index, format!("sizes that broadcast with {left}")))
        }
        (known @ Dim::Known(_), _) | (_, known @ Dim::Known(_)) => Ok(known),
        _ => Ok(operands.fresh()),
    };
    (0..rank).map(dim).collect()
}

/// The type of the operand at `index`, whose elements must be numbers: truth values are not.
pub(crate) fn number<'a>(operands: &Operands<'a>, index: usize) -> Result<&'a TensorType, InferError> {
    let ty = operands.ty(index)?;
    if ty.dtype.is_float() || ty.dtype.is_integer() {
        Ok(ty)
    } else {
        Err(operands.mismatch(index, "numbers"))
    }
}

/// The type of the operand at `index`, whose elements must be integers.
pub(crate) fn integer<'a>(operands: &Operands<'a>, index: usize) -> Result<&'a TensorType, InferError> {
    let ty = operands.ty(index)?;
    if ty.dtype.is_integer() { Ok(ty) } else { Err(operands.mismatch(index, "integers")) }
}

/// The type of the operand at `index`, whose elements must be truth values.
pub(crate) fn truth<'a>(operands: &Operands<'a>, index: usize) -> Result<&'a TensorType, InferError> {
    let ty = operands.ty(index)?;
    if ty.dtype == DType::Bool { Ok(ty) } else { Err(operands.mismatch(index, "truth values")) }
}

/// Checks that the operand at `index` stretches to `shape`.
pub(crate) fn stretches_to(operands: &Operands<'_>, index: usize, shape: &Shape) -> Result<(), InferError> {
    if stretches(&operands.ty(index)?.shape, shape) {
        return Ok(());
    }
    Err(operands.mismatch(index, format!("sizes that stretch to {shape}")))
}

/// Whether `own` stretches to `wanted`: aligned at the last axis, each size is the one of `wanted` or 1. Sizes that are
/// not known may be either.
pub(crate) fn stretches(own: &Shape, wanted: &Shape) -> bool {
    let fits = |(own, wanted): (&Dim, &Dim)| match (own.known(), wanted.known()) {
        (Some(own), Some(wanted)) => own == 1 || own == wanted,
        _ => true,
    };
    own.rank() <= wanted.rank() && own.iter().rev().zip(wanted.iter().rev()).all(fits)
}

/// The axis that `axis` means in a tensor of `rank` axes; negative ones count from the end.
pub(crate) fn axis(attr: &'static str, axis: i64, rank: usize) -> Result<usize, InferError> {
    let signed = rank as i64;
    let from_start = if axis < 0 { axis.saturating_add(signed) } else { axis };
    usize::try_from(from_start).ok().filter(|axis| *axis < rank).ok_or_else(|| InferError::Attribute {
        attr,
        found: axis.to_string(),
        expected: format!("an axis from {} to {}", -signed, signed - 1),
    })
}

/// Several axes, in the order given; none may occur twice.
pub(crate) fn axes(
    attr: &'static str,
    given: &[i64],
    rank: usize,
) -> Result<SmallVec<[usize; 6]>, InferError> {
    let mut seen = SmallVec::<[usize; 6]>::new();
    for one in given {
        let normal = axis(attr, *one, rank)?;
        if seen.contains(&normal) {
            let expected = "each axis at most once".to_owned();
            return Err(InferError::Attribute { attr, found: format!("{given:?}"), expected });
        }
        seen.push(normal);
    }
    Ok(seen)
}

/// The number of places of a window of `span` elements (dilation included) that moves by `stride` over `padded`
/// elements. `None` when a symbolic size does not divide.
pub(crate) fn window_count(padded: &DimExpr, span: u64, stride: u64, ceil: bool) -> Option<DimExpr> {
    let (span, stride) = (i64::try_from(span).ok()?, i64::try_from(stride).ok()?);
    let moves = padded.sub(&DimExpr::constant(span))?;
    let steps = match moves.as_constant() {
        Some(moves) if ceil => DimExpr::constant(moves.checked_add(stride - 1)?.div_euclid(stride)),
        Some(moves) => DimExpr::constant(moves.div_euclid(stride)),
        // With a remainder unknown, only stride 1 says how many places there are.
        None if stride == 1 => moves,
        None => return None,
    };
    steps.add(&DimExpr::constant(1))
}
