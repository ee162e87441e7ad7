//! Means along axes.

use quad_ir::graph::NodeRef;
use quad_ir::ops::{EvalError, Op};
use quad_ir::tensor::Tensor;

use super::fixed_point::Multiplier;
use super::{Computed, Stored, centered, result};

/// Of stored integers: the sum is scaled once, by a factor into which the number of elements goes.
pub(super) fn of_integers(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (input, output) = (Stored::of(node.operand("x")?)?, Stored::of(node.result())?);
    let runs = Runs::of(node, operands)?;
    let mut sums = vec![0i64; runs.results];
    for (index, x) in centered(operands, 0, input)?.into_iter().enumerate() {
        sums[runs.result_of(index)] += x;
    }
    let multiplier = Multiplier::of(f64::from(input.scale) / f64::from(output.scale)).over(runs.count as u64);
    // Sums that do not fit are another kernel's business.
    let scaled = |sum: i64| Some(output.saturated(multiplier.times(i32::try_from(sum).ok()?)));
    result(node, sums.into_iter().map(scaled).collect::<Option<_>>()?)
}

/// Of real numbers, added one after the other in single precision.
pub(super) fn of_reals(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let runs = Runs::of(node, operands)?;
    let x = operands.first()?.as_ref()?.to_f32().ok()?;
    let mut sums = vec![0f32; runs.results];
    for (index, x) in x.iter().enumerate() {
        sums[runs.result_of(index)] += x;
    }
    let means: Vec<f32> = sums.into_iter().map(|sum| sum / runs.count as f32).collect();
    let sizes: Vec<usize> = node.result().ty().shape.as_known()?.iter().map(|size| *size as usize).collect();
    Some(Tensor::from_vec(&sizes, means).map_err(EvalError::from))
}

/// Which elements are summed together.
struct Runs {
    /// For each axis its size, and what a step along it is among the results; 0 where it is summed along.
    axes: Vec<(usize, usize)>,
    results: usize,
    /// Elements of a sum.
    count: usize,
}

impl Runs {
    fn of(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Self> {
        let Op::ReduceMean(op) = node.op() else { return None };
        let sizes = operands.first()?.as_ref()?.sizes();
        let given = operands.get(1).and_then(Option::as_ref).map(Tensor::to_i64).transpose().ok()?;
        let given = given.unwrap_or_default();
        if given.is_empty() && op.noop_with_empty_axes {
            return None;
        }
        let rank = sizes.len() as i64;
        let is_summed =
            |axis: usize| given.is_empty() || given.iter().any(|other| other.rem_euclid(rank) == axis as i64);
        let (mut results, mut count) = (1, 1);
        let mut axes = Vec::with_capacity(sizes.len());
        for (axis, size) in sizes.iter().enumerate().rev() {
            if is_summed(axis) {
                axes.push((*size, 0));
                count *= size;
            } else {
                axes.push((*size, results));
                results *= size;
            }
        }
        Some(Self { axes, results, count })
    }

    /// The place among the results of the element at `index`.
    fn result_of(&self, mut index: usize) -> usize {
        let mut place = 0;
        for (size, step) in &self.axes {
            place += index % size * step;
            index /= size;
        }
        place
    }
}
