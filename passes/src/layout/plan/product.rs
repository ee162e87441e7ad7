//! Products of matrices that are both computed: what is multiplied are the last two axes, whatever is before them.

use quad_ir::ops::MatMul;
use quad_ir::types::Dim;

use super::{Given, Plan, Planner, Reason};
use crate::layout::order::{Order, Part, fitted};
use crate::layout::view::{Axes, View, cut_alike};

/// The two operands, aligned at their last axes.
struct Factors {
    a: View,
    b: View,
    /// Axes before the last two.
    batch: usize,
}

impl Planner<'_, '_> {
    /// Both operands with the same axes in front, and their matrices behind.
    pub(super) fn product(&self) -> Result<Plan, Reason> {
        let shape = self.result_shape();
        let rank = shape.rank();
        let batch = rank.saturating_sub(2);
        // A matrix for the whole batch keeps its two axes.
        let shared = self.view(1)?.seen.len() == 2;
        let factors = self.factors(rank)?;
        let order = self.batch_order(&factors)?;
        let matrix = |view: &View, axis: usize| view.seen[axis].clone();
        let axes = |view: &View| -> Axes {
            view.axes(&order).into_iter().chain([matrix(view, batch), matrix(view, batch + 1)]).collect()
        };
        let (of_a, of_b) = (axes(&factors.a), axes(&factors.b));
        let of_b = if shared { of_b[of_b.len() - 2..].to_vec() } else { of_b };
        let mut result = order.clone();
        result.extend([batch, batch + 1].map(|axis| vec![Part { axis, factor: 0 }]));
        let size = |part: Part| {
            if part.axis >= batch {
                return shape[part.axis].clone();
            }
            let sizes = [factors.a.part_size(part), factors.b.part_size(part)];
            sizes.into_iter().find(|size| *size != Dim::Known(1)).unwrap_or(Dim::Known(1))
        };
        let result = View::of(&result, rank, size);
        let operands = vec![Given::Stored(factors.a, of_a), Given::Stored(factors.b, of_b)];
        Ok(Plan { op: MatMul.into(), operands, results: vec![result] })
    }

    /// The operands with as many axes as the result, their batch cut alike.
    fn factors(&self, rank: usize) -> Result<Factors, Reason> {
        let (a, b) = (self.view(0)?, self.view(1)?);
        if a.seen.len() < 2 || b.seen.len() < 2 {
            return Err("it multiplies a vector".into());
        }
        let mut both = [a, b].map(|view| {
            let mut view = view.clone();
            view.seen.splice(0..0, vec![Vec::new(); rank - view.seen.len()]);
            view
        });
        let batch = rank - 2;
        for axis in 0..batch {
            let there: Vec<(usize, usize)> =
                (0..2).filter(|view| !both[*view].seen[axis].is_empty()).map(|view| (view, axis)).collect();
            if !cut_alike(&mut both, &there) {
                return Err("its operands make up their batch in ways that do not fit".into());
            }
        }
        let [a, b] = both;
        Ok(Factors { a, b, batch })
    }

    /// The axes before the matrices: those of the operand that has all of the batch, as it is stored where its matrix is
    /// behind already. Where it must be moved it has as many axes of size 1 as the graph sees.
    fn batch_order(&self, factors: &Factors) -> Result<Order, Reason> {
        let Factors { a, b, batch } = factors;
        let covers = |view: &View, other: &View| {
            (0..*batch).all(|axis| !view.seen[axis].is_empty() || other.seen[axis].is_empty())
        };
        let leader = if covers(a, b) {
            a
        } else if covers(b, a) {
            b
        } else {
            return Err("neither of its operands has all of the batch".into());
        };
        let reads = |axis: usize| [a, b].map(|view| !view.seen[axis].is_empty());
        let stored = leader.stored_order();
        let settled = stored.len() >= 2 && {
            let (front, matrix) = stored.split_at(stored.len() - 2);
            let is = |at: usize| {
                let parts = leader.seen[batch + at].len();
                matrix[at] == (0..parts).map(|factor| Part { axis: batch + at, factor }).collect::<Vec<_>>()
            };
            is(0) && is(1) && front.iter().all(|axis| axis.iter().all(|part| part.axis < *batch))
        };
        let front: Order = if settled {
            stored[..stored.len() - 2].to_vec()
        } else {
            let of_batch = |axis: &Vec<Part>| -> Vec<Part> {
                axis.iter().copied().filter(|part| part.axis < *batch).collect()
            };
            let units = (0..*batch).filter(|axis| leader.seen[*axis].is_empty()).map(|_| Vec::new());
            let parts = stored.iter().map(of_batch).filter(|axis| !axis.is_empty());
            units.chain(parts).collect()
        };
        let front = crate::layout::order::cut_where(&front, |part| reads(part.axis));
        let key = |axis: &[Part]| axis.first().map(|part| reads(part.axis));
        let max_rank = self.settings.max_rank.map(|rank| rank - 2);
        fitted(front, max_rank, key).ok_or_else(|| "it needs more axes than a value may have".into())
    }
}
