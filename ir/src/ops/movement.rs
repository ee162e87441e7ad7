//! Pieces that operations share which move elements without looking at them: copies between layouts, lists of axes,
//! index operands, and following symbolic elements.

use std::ops::Range;

use smallvec::SmallVec;

use super::{EvalError, InferError, Inputs, Op, OpVariant, Operands, Results, only, rules, sizes_of};
use crate::dtype::DType;
use crate::interpret::infer_run_time;
use crate::kernels::broadcast;
use crate::kernels::copy::{self, Layout};
use crate::kernels::indexed::{self, Places};
use crate::tensor::{Tensor, TensorError, with_lane};
use crate::types::{Dim, DimExpr, SymTensor, TensorType};

/// Element types of indices, axes and sizes.
pub(crate) const INDEX: &[DType] = &[DType::I64, DType::I32];

/// The length of the vector of indices, axes or sizes at `index`. A tensor without axes is a list of one, as which
/// ONNX's own definition of affine grids passes it.
pub(crate) fn list_len(operands: &Operands<'_>, index: usize) -> Result<usize, InferError> {
    let ty = operands.one_of(index, INDEX)?;
    match ty.shape.as_known().as_deref() {
        Some([]) => Ok(1),
        Some([length]) => Ok(*length as usize),
        _ => Err(operands.mismatch(index, "a vector of known length")),
    }
}

/// Checks that the operand at `index` has one element, with an axis of its own or without.
pub(crate) fn check_scalar(operands: &Operands<'_>, index: usize) -> Result<(), InferError> {
    let shape = &operands.ty(index)?.shape;
    let one = shape.iter().all(|size| size.known().is_none_or(|size| size == 1));
    if shape.rank() <= 1 && one { Ok(()) } else { Err(operands.mismatch(index, "a single element")) }
}

/// The length of the list at `index`, which must be that of the operand at `like`.
pub(crate) fn same_len(operands: &Operands<'_>, index: usize, like: usize) -> Result<usize, InferError> {
    let (found, expected) = (list_len(operands, index)?, list_len(operands, like)?);
    if found == expected {
        return Ok(found);
    }
    Err(operands.mismatch(index, format!("{expected} elements, as many as `{}` has", operands.name(like))))
}

/// The axes that the optional list at `index` names in a tensor of `rank` axes: `None` while its elements are unknown.
pub(crate) fn axes_operand(
    operands: &Operands<'_>,
    index: usize,
    rank: usize,
) -> Result<Option<SmallVec<[usize; 6]>>, InferError> {
    list_len(operands, index)?;
    let Some(axes) = operands.integers(index) else { return Ok(None) };
    let wrong = |_| InferError::Operand {
        operand: operands.name(index),
        found: format!("{axes:?}"),
        expected: format!("different axes of {rank}"),
    };
    rules::axes("axes", &axes, rank).map(Some).map_err(wrong)
}

/// The result of type `ty` whose elements `layout` finds in `x`.
pub(crate) fn read(x: &Tensor, ty: &TensorType, layout: &Layout) -> Result<Results, EvalError> {
    let sizes = sizes_of(ty)?;
    Ok(only(boxed(x, &sizes, layout)?.reshaped(&sizes)?))
}

/// The box of `sizes` that `layout` finds in `x`. A box that is all of `x` shares its bytes.
pub(crate) fn boxed(x: &Tensor, sizes: &[usize], layout: &Layout) -> Result<Tensor, TensorError> {
    if sizes.iter().product::<usize>() == x.len() && copy::is_dense(sizes, layout) {
        return x.reshaped(sizes);
    }
    with_lane!(x.dtype(), L => Tensor::from_lanes(x.dtype(), sizes, copy::read(&x.lanes::<L>(), sizes, layout)))
}

/// The slices of `x` along `axis` at `picks`, which must be places on that axis.
pub(crate) fn take(x: &Tensor, axis: usize, picks: &[usize]) -> Result<Tensor, TensorError> {
    let (outer, inner): (usize, usize) =
        (x.sizes()[..axis].iter().product(), x.sizes()[axis + 1..].iter().product());
    let mut sizes: SmallVec<[usize; 6]> = x.sizes().into();
    sizes[axis] = picks.len();
    let places = indexed::along_axis(outer, x.sizes()[axis], inner, picks);
    with_lane!(x.dtype(), L => {
        let lanes = indexed::gather(&x.lanes::<L>(), inner, outer * picks.len(), places);
        Tensor::from_lanes(x.dtype(), &sizes, lanes)
    })
}

/// The indices in `tensor`, the operand called `operand`: negative ones count back from `size`.
pub(crate) fn indices_of(
    operand: &'static str,
    tensor: &Tensor,
    size: usize,
) -> Result<Vec<usize>, EvalError> {
    tensor.to_i64()?.iter().map(|index| normal_index(operand, *index, size)).collect()
}

/// The place that `index` means on an axis of `size`; an error where there is none.
pub(crate) fn normal_index(operand: &'static str, index: i64, size: usize) -> Result<usize, EvalError> {
    let length = size as i64;
    let from_start = if index < 0 { index.saturating_add(length) } else { index };
    usize::try_from(from_start).ok().filter(|place| *place < size).ok_or_else(|| EvalError::Value {
        operand,
        found: index.to_string(),
        expected: format!("an index from {} to {}", -length, length - 1),
    })
}

/// Checks the operands `x` and `indices` of operations that pick one element for each index along `axis`.
pub(crate) fn check_element_indices(operands: &Operands<'_>, axis: i64) -> Result<(), InferError> {
    let x = operands.ty(0)?;
    operands.one_of(1, INDEX)?;
    let indices = operands.ranked(1, x.rank())?;
    let axis = rules::axis("axis", axis, x.rank())?;
    let larger = |other: &usize| match (indices.shape[*other].known(), x.shape[*other].known()) {
        (Some(found), Some(size)) => found > size,
        _ => false,
    };
    match (0..x.rank()).filter(|other| *other != axis).find(larger) {
        Some(other) => Err(operands
            .mismatch(1, format!("at most {} indices on axis {other}", x.shape[other].known().unwrap_or(0)))),
        None => Ok(()),
    }
}

/// Where the elements lie that `indices` pick from a tensor of `sizes`: along `axis` each index says, along the other
/// axes its own place does.
pub(crate) fn element_places(
    sizes: &[usize],
    indices: &Tensor,
    axis: usize,
) -> Result<Vec<usize>, EvalError> {
    let mut strides = broadcast::strides(sizes);
    let step = std::mem::take(&mut strides[axis]);
    let picks = indices_of("indices", indices, sizes[axis])?;
    let bases = Places::new(indices.sizes(), &strides);
    Ok(bases.zip(picks).map(|(base, pick)| base + pick * step).collect())
}

/// The length of the tuples in the operand `indices`, which name parts of at most `rank` axes.
pub(crate) fn tuple_len(operands: &Operands<'_>, rank: usize) -> Result<usize, InferError> {
    let length = operands.ty(1)?.shape.last().and_then(Dim::known);
    let length =
        length.and_then(|length| usize::try_from(length).ok()).filter(|length| (1..=rank).contains(length));
    length.ok_or_else(|| operands.mismatch(1, format!("tuples of 1 to {rank} indices on the last axis")))
}

/// Where the parts begin that the tuples in `indices` name in a tensor of `sizes`, and how many elements each has. The
/// first `batch` axes are common to both.
pub(crate) fn tuple_places(
    sizes: &[usize],
    indices: &Tensor,
    batch: usize,
) -> Result<(Vec<usize>, usize), EvalError> {
    let strides = broadcast::strides(sizes);
    let Some((length, outer)) = indices.sizes().split_last() else { return Ok((Vec::new(), 0)) };
    let indexed = &sizes[batch..batch + length];
    let block = sizes[batch + length..].iter().product();
    let per_batch: usize = outer[batch..].iter().product();
    let batch_step: usize = sizes[batch..].iter().product();
    let place = |(number, tuple): (usize, &[i64])| {
        let base = number / per_batch * batch_step;
        tuple.iter().zip(indexed).zip(&strides[batch..]).try_fold(base, |place, ((index, size), stride)| {
            Ok(place + normal_index("indices", *index, *size)? * stride)
        })
    };
    let places: Result<Vec<usize>, EvalError> =
        indices.to_i64()?.chunks_exact((*length).max(1)).enumerate().map(place).collect();
    Ok((places?, block))
}

/// The symbolic elements of every result of `op`, which moves the elements of the operands `moved` and reads the
/// others: found by moving their numbers. `None` where one of the others is not constant.
pub(crate) fn symbolic<O: OpVariant>(
    op: &O,
    operands: &Operands<'_>,
    moved: Range<usize>,
) -> Option<Vec<SymTensor>> {
    let mut elements: Vec<DimExpr> = Vec::new();
    let mut dtype = DType::I64;
    let mut tensors: Vec<Option<Tensor>> = Vec::with_capacity(operands.len());
    for index in 0..operands.len() {
        if !operands.has(index) {
            tensors.push(None);
        } else if moved.contains(&index) {
            let tensor = operands.symbolic(index)?;
            let numbers: Vec<i64> = (elements.len() as i64..).take(tensor.elements.len()).collect();
            tensors.push(Some(Tensor::from_vec(&tensor.sizes, numbers).ok()?));
            elements.extend(tensor.elements);
            dtype = tensor.dtype;
        } else {
            tensors.push(Some(operands.constant(index)?.clone()));
        }
    }
    let generic: Op = op.clone().into();
    let types = infer_run_time(&generic, &tensors).ok()?;
    let results = op.eval(&Inputs::new(O::OPERANDS, &tensors), &types).ok()?;
    let named = |tensor: &Tensor| {
        let numbers = tensor.to_i64().ok()?;
        let elements = numbers.iter().map(|number| elements.get(usize::try_from(*number).ok()?).cloned());
        Some(SymTensor { dtype, sizes: tensor.sizes().into(), elements: elements.collect::<Option<_>>()? })
    };
    results.iter().map(named).collect()
}

/// As [`symbolic`], for operations with a single result.
pub(crate) fn symbolic_only<O: OpVariant>(
    op: &O,
    operands: &Operands<'_>,
    moved: Range<usize>,
) -> Option<SymTensor> {
    symbolic(op, operands, moved)?.into_iter().next()
}
