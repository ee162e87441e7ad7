//! Steps that change nothing, which clean-ups remove.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, ValueId};
use quad_ir::loc::Loc;
use quad_ir::ops::{
    Add, Cast, Clip, Concat, Div, Expand, Max, Mul, Neg, Op, Pad, Pow, Reciprocal, Slice, Split, Sub, Tile,
    Transpose, Where,
};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;

use super::grower::{Grower, Range};

/// Arithmetic that changes nothing.
pub(super) fn arithmetic(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let id = match grower.below(10) {
        0 => number(grower, Add.into(), x.id, 0.0)?,
        1 => number(grower, Mul.into(), x.id, 1.0)?,
        2 => number(grower, Sub.into(), x.id, 0.0)?,
        3 => number(grower, Div.into(), x.id, 1.0)?,
        4 => number(grower, Pow.into(), x.id, 1.0)?,
        5 => {
            let negative = grower.op(Neg, &[x.id])?;
            grower.op(Neg, &[negative])?
        }
        6 => grower.op(Max, &[x.id, x.id])?,
        7 => grower.op(Clip, &[x.id])?,
        8 => {
            let wide = grower.op(Cast { to: DType::F64, ..Cast::default() }, &[x.id])?;
            grower.op(Cast::default(), &[wide])?
        }
        _ => selected(grower, x.id)?,
    };
    grower.keep(id, x.range)
}

fn number(grower: &mut Grower, op: Op, x: ValueId, number: f64) -> Result<ValueId, AddError> {
    let number = grower.scalar(number)?;
    grower.op(op, &[x, number])
}

/// `x` by a mask that is the same everywhere.
fn selected(grower: &mut Grower, x: ValueId) -> Result<ValueId, AddError> {
    let other = grower.op(Neg, &[x])?;
    let mask = Tensor::from_bools(&[], vec![true]).map_err(WeightError::from)?;
    let mask = grower.graph.add_constant(&mask, Loc::Built)?;
    grower.op(Where, &[mask, x, other])
}

/// Movement that moves nothing.
pub(super) fn movement(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let rank = grower.rank(x.id);
    let axis = rank as i64 - 1;
    let size = grower.tail(x.id).last().copied().unwrap_or(1) as i64;
    let id = match grower.below(8) {
        0 => grower.op(Transpose { perm: Some((0..rank as i64).collect()) }, &[x.id])?,
        1 => grower.reshape(x.id, &vec![0; rank])?,
        2 => grower.op(Concat { axis }, &[x.id])?,
        3 => {
            let pads = grower.integers(&vec![0; 2 * rank])?;
            grower.op(Pad::default(), &[x.id, pads])?
        }
        4 => {
            let sizes = grower.integers(&[size])?;
            grower.results(Split { axis, num_outputs: None }, &[Some(x.id), Some(sizes)])?[0]
        }
        5 => {
            let repeats = grower.integers(&vec![1; rank])?;
            grower.op(Tile, &[x.id, repeats])?
        }
        6 => {
            let sizes = grower.integers(&vec![1; rank])?;
            grower.op(Expand, &[x.id, sizes])?
        }
        _ => {
            let operands =
                [x.id, grower.integers(&[0])?, grower.integers(&[size])?, grower.integers(&[axis])?];
            grower.op(Slice, &operands)?
        }
    };
    grower.keep(id, x.range)
}

/// Two steps of which the second takes the first back.
pub(super) fn there_and_back(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let axis = grower.rank(x.id) as i64 - 1;
    let size = grower.tail(x.id).last().copied().unwrap_or(1) as i64;
    match grower.below(3) {
        0 => {
            let other = grower.op(Neg, &[x.id])?;
            let both = grower.op(Concat { axis }, &[x.id, other])?;
            let sizes = grower.integers(&[size, size])?;
            let parts = grower.results(Split { axis, num_outputs: None }, &[Some(both), Some(sizes)])?;
            let id = grower.op(Sub, &[parts[0], parts[1]])?;
            grower.keep(id, x.range.plus(x.range))
        }
        1 => {
            let factor = grower.pick(&[2.0, 0.5, 3.0]);
            let many = number(grower, Mul.into(), x.id, factor)?;
            let id = number(grower, Div.into(), many, factor)?;
            grower.keep(id, x.range)
        }
        _ => {
            let x = grower.clipped(x, Range { low: 0.25, high: 8.0 })?;
            let inverse = grower.op(Reciprocal, &[x.id])?;
            let id = grower.op(Reciprocal, &[inverse])?;
            grower.keep(id, x.range)
        }
    }
}
