//! Steps that compute with sizes while the graph runs, as exporters write them for a batch that is not known.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, ValueId};
use quad_ir::ops::{Add, Cast, Concat, Div, Expand, Gather, Mul, ShapeOf, Slice, Squeeze, Unsqueeze};

use super::grower::Grower;
use super::linear::reshape_to;

/// The size of `x` along `axis`, as a vector of one element.
fn size(grower: &mut Grower, x: ValueId, axis: i64) -> Result<ValueId, AddError> {
    match grower.below(3) {
        0 => grower.op(ShapeOf { start: axis, end: Some(axis + 1) }, &[x]),
        1 => {
            let shape = grower.op(ShapeOf::default(), &[x])?;
            let operands =
                [shape, grower.integers(&[axis])?, grower.integers(&[axis + 1])?, grower.integers(&[0])?];
            grower.op(Slice, &operands)
        }
        _ => {
            let shape = grower.op(ShapeOf::default(), &[x])?;
            let (index, zero) = (grower.integers(&[axis])?, grower.integers(&[0])?);
            let index = grower.op(Squeeze, &[index, zero])?;
            let number = grower.op(Gather { axis: 0 }, &[shape, index])?;
            let number = if grower.once_in(3) { there_and_back(grower, number)? } else { number };
            let zero = grower.integers(&[0])?;
            grower.op(Unsqueeze, &[number, zero])
        }
    }
}

/// A number through a cast and arithmetic that leave it as it was.
fn there_and_back(grower: &mut Grower, number: ValueId) -> Result<ValueId, AddError> {
    let narrow = grower.op(Cast { to: DType::I32, ..Cast::default() }, &[number])?;
    let wide = grower.op(Cast { to: DType::I64, ..Cast::default() }, &[narrow])?;
    let four = grower.integers(&[4])?;
    let product = grower.op(Mul, &[wide, four])?;
    let quotient = grower.op(Div, &[product, four])?;
    let zero = grower.integers(&[0])?;
    grower.op(Squeeze, &[quotient, zero])
}

/// A reshape to sizes of which the first is computed.
pub(super) fn reshaped(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let count: u64 = grower.tail(x.id).iter().product();
    let batch = size(grower, x.id, 0)?;
    let rest =
        if count.is_multiple_of(2) && grower.once_in(2) { vec![2, count as i64 / 2] } else { vec![-1] };
    let rest = grower.integers(&rest)?;
    let sizes = grower.op(Concat { axis: 0 }, &[batch, rest])?;
    let id = reshape_to(grower, x.id, sizes)?;
    grower.keep(id, x.range)
}

/// A constant stretched to the sizes of a value, and added to it.
pub(super) fn expanded(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let row = grower.constant(&[tail[tail.len() - 1]], 1.0)?;
    let sizes = if grower.once_in(2) {
        grower.op(ShapeOf::default(), &[x.id])?
    } else {
        let mut sizes = Vec::new();
        for axis in 0..=tail.len() {
            sizes.push(size(grower, x.id, axis as i64)?);
        }
        grower.op(Concat { axis: 0 }, &sizes)?
    };
    let wide = grower.op(Expand, &[row.id, sizes])?;
    let id = grower.op(Add, &[x.id, wide])?;
    grower.keep(id, x.range.plus(row.range))
}

/// The first half of an axis, whose place is computed from its size.
pub(super) fn sliced(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    if grower.tail(x.id)[0] < 2 {
        return Ok(());
    }
    let whole = size(grower, x.id, 1)?;
    let two = grower.integers(&[2])?;
    let half = grower.op(Div, &[whole, two])?;
    let operands = [x.id, grower.integers(&[0])?, half, grower.integers(&[1])?];
    let id = grower.op(Slice, &operands)?;
    grower.keep(id, x.range)
}
