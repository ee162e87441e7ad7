//! Steps that reduce, and softmax, which reduces within.

use quad_ir::graph::AddError;
use quad_ir::ops::{Div, Exp, Op, ReduceMax, ReduceMean, ReduceSum, Softmax, Sub};

use super::grower::{Grower, Range};

/// A sum, mean or maximum along one axis or two.
pub(super) fn reduced(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let first = grower.below(tail.len() as u64) as i64 + 1;
    let rank = tail.len() as i64 + 1;
    let axes = match grower.below(3) {
        0 if rank == 4 => vec![2, 3],
        1 => vec![first - rank],
        _ => vec![first],
    };
    let count: u64 = axes.iter().map(|axis| tail[(axis.rem_euclid(rank) - 1) as usize]).product();
    // A value of one axis is too small to go on from.
    let keepdims = rank <= 2 || grower.once_in(2);
    let (op, range): (Op, Range) = match grower.below(3) {
        0 => (ReduceMean { keepdims, ..ReduceMean::default() }.into(), x.range),
        1 => (ReduceMax { keepdims, ..ReduceMax::default() }.into(), x.range),
        _ => (ReduceSum { keepdims, ..ReduceSum::default() }.into(), x.range.map(|end| end * count as f64)),
    };
    let axes = grower.integers(&axes)?;
    let id = grower.op(op, &[x.id, axes])?;
    grower.keep(id, range)
}

/// A softmax along some axis, as one node or written out.
pub(super) fn softmax(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let rank = grower.rank(x.id) as i64;
    let axis = if grower.once_in(3) { rank - 2 } else { -1 };
    let share = Range { low: 0.0, high: 1.0 };
    if !grower.once_in(3) || axis == 0 {
        let axis = if axis == 0 { -1 } else { axis };
        let id = grower.op(Softmax { axis }, &[x.id])?;
        return grower.keep(id, share);
    }
    let axes = grower.integers(&[axis])?;
    let highest = grower.op(ReduceMax::default(), &[x.id, axes])?;
    let below = grower.op(Sub, &[x.id, highest])?;
    let raised = grower.op(Exp, &[below])?;
    let axes = grower.integers(&[axis])?;
    let sum = grower.op(ReduceSum::default(), &[raised, axes])?;
    let id = grower.op(Div, &[raised, sum])?;
    grower.keep(id, share)
}
