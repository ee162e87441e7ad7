//! `unique`: the different elements of a tensor, or its different slices along an axis.
//!
//! The results: the elements, in ascending order or in that of their first occurrence; the index of the first
//! occurrence of each; for each element of `x` which of them it is; how often each occurs. Slices are compared element
//! by element from the first, and what is not a number equals its like.

use std::cmp::Ordering;

use smallvec::smallvec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, rules};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::order::ascending;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unique {
    /// The axis of the slices, negative ones counted from the end; absent means single elements.
    pub axis: Option<i64>,
    /// Whether the results are in ascending order.
    pub sorted: bool,
}

impl Default for Unique {
    fn default() -> Self {
        Self { axis: None, sorted: true }
    }
}

impl OpDef for Unique {
    const NAME: &'static str = "unique";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const RESULTS: &'static [&'static str] = &["y", "indices", "inverse_indices", "counts"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("sorted", &mut self.sorted)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let (mut shape, axis) = match self.axis {
            Some(axis) => (x.shape.clone(), rules::axis("axis", axis, x.rank())?),
            None => (Shape::from_iter([operands.dim(0, x.shape.elements())?]), 0),
        };
        let all = shape[axis].clone();
        let groups = operands.constant(0).and_then(|x| self.groups(x).ok());
        let count = groups.map_or_else(|| operands.fresh(), |groups| Dim::Known(groups.firsts.len() as u64));
        shape.0[axis] = count.clone();
        let list = |size: Dim| TensorType::new(DType::I64, Shape::from_iter([size]));
        Ok(smallvec![TensorType::new(x.dtype, shape), list(count.clone()), list(all), list(count)])
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let groups = self.groups(x)?;
        let y = match self.axis {
            Some(axis) => movement::take(x, rules::axis("axis", axis, x.rank())?, &groups.firsts)?,
            None => movement::take(&x.reshaped(&[x.len()])?, 0, &groups.firsts)?,
        };
        let list = |values: &[usize]| {
            Tensor::from_vec(&[values.len()], values.iter().map(|value| *value as i64).collect())
        };
        Ok(smallvec![y, list(&groups.firsts)?, list(&groups.inverse)?, list(&groups.counts)?])
    }
}

/// Slices that are equal, in the order of the result.
struct Groups {
    /// The first slice of each.
    firsts: Vec<usize>,
    /// The group of each slice.
    inverse: Vec<usize>,
    /// The number of slices in each.
    counts: Vec<usize>,
}

impl Unique {
    fn groups(&self, x: &Tensor) -> Result<Groups, EvalError> {
        let (outer, count, inner) = match self.axis {
            Some(axis) => {
                let axis = rules::axis("axis", axis, x.rank())?;
                let (before, after) = (&x.sizes()[..axis], &x.sizes()[axis + 1..]);
                (before.iter().product(), x.sizes()[axis], after.iter().product())
            }
            None => (1, x.len(), 1),
        };
        if x.is_empty() && count > 0 {
            return Err(EvalError::Unsupported(format!("{count} slices without elements")));
        }
        with_number!(x.dtype(), T => {
            let values = x.to_compute::<T>()?;
            let compare = |a: usize, b: usize| compare_slices::<T>(&values, (outer, count, inner), a, b);
            Ok(grouped(count, self.sorted, compare))
        })
    }
}

/// Compares slices `a` and `b` along the middle one of three axes.
fn compare_slices<T: Number>(
    values: &[T],
    (outer, count, inner): (usize, usize, usize),
    a: usize,
    b: usize,
) -> Ordering {
    let run = |row: usize, slice: usize| &values[(row * count + slice) * inner..][..inner];
    let compare_runs = |row: usize| {
        let mut pairs = run(row, a).iter().zip(run(row, b)).map(|(x, y)| ascending(*x, *y));
        pairs.find(|order| order.is_ne())
    };
    (0..outer).find_map(compare_runs).unwrap_or(Ordering::Equal)
}

/// Groups the numbers below `count` that `compare` calls equal.
fn grouped(count: usize, sorted: bool, compare: impl Fn(usize, usize) -> Ordering) -> Groups {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    // Sorting is stable, so that the first of each group comes first.
    let mut runs: Vec<&[usize]> = order.chunk_by(|a, b| compare(*a, *b).is_eq()).collect();
    if !sorted {
        runs.sort_by_key(|run| run[0]);
    }
    let mut inverse = vec![0; count];
    for (group, run) in runs.iter().enumerate() {
        run.iter().for_each(|slice| inverse[*slice] = group);
    }
    Groups {
        firsts: runs.iter().map(|run| run[0]).collect(),
        inverse,
        counts: runs.iter().map(|run| run.len()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, tensor};
    use super::*;

    fn results(op: Unique, x: Tensor) -> Vec<Vec<i64>> {
        let results = run(op, &[x]).expect("numbers");
        results.iter().map(|tensor| tensor.to_i64().expect("integers")).collect()
    }

    #[test]
    fn elements_in_ascending_order_or_as_they_come() {
        let x = list(&[2, 1, 1, 3, 4, 3]);
        let sorted = vec![vec![1, 2, 3, 4], vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]];
        assert_eq!(results(Unique::default(), x.clone()), sorted);
        let as_they_come = vec![vec![2, 1, 3, 4], vec![0, 1, 3, 4], vec![0, 1, 1, 2, 3, 2], vec![1, 2, 2, 1]];
        assert_eq!(results(Unique { sorted: false, ..Unique::default() }, x), as_they_come);
    }

    #[test]
    fn slices_along_an_axis() {
        let columns = ints(&[2, 3], &[2, 1, 2, 0, 5, 0]);
        let expected = vec![vec![1, 2, 5, 0], vec![1, 0], vec![1, 0, 1], vec![1, 2]];
        assert_eq!(results(Unique { axis: Some(-1), ..Unique::default() }, columns), expected);
    }

    #[test]
    fn what_is_no_number_occurs_once() {
        let x = tensor(&[4], &[f32::NAN, 1.0, f32::NAN, 0.0]);
        let results = run(Unique::default(), &[x]).expect("numbers");
        assert_eq!(results[1].to_i64().expect("integers"), [3, 1, 0]);
        assert_eq!(results[3].to_i64().expect("integers"), [1, 1, 2]);
    }

    #[test]
    fn empty_tensors() {
        assert_eq!(run(Unique::default(), &[floats(&[0])]).expect("nothing")[0].sizes(), [0]);
        let op = Unique { axis: Some(0), ..Unique::default() };
        assert!(run(op, &[floats(&[3, 0])]).is_err());
    }
}
