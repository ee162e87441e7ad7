//! `top_k`: the `k` largest or smallest elements along an axis, best first, and their indices.
//!
//! Of equal elements the one with the lower index comes first. What is not a number counts as larger than any number.

use smallvec::smallvec;

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, rules, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::indexed;
use crate::kernels::order::ascending;
use crate::tensor::{Number, Tensor, with_lane};
use crate::types::{DimExpr, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopK {
    /// The axis; negative ones count from the end.
    pub axis: i64,
    /// Whether the largest elements are wanted, or the smallest.
    pub largest: bool,
    /// Whether the results must be in order. They are in any case.
    pub sorted: bool,
}

impl Default for TopK {
    fn default() -> Self {
        Self { axis: -1, largest: true, sorted: true }
    }
}

impl OpDef for TopK {
    const NAME: &'static str = "top_k";
    const OPERANDS: &'static [Operand] = &[one("x"), one("k")];
    const RESULTS: &'static [&'static str] = &["values", "indices"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("largest", &mut self.largest)?;
        visitor.attr("sorted", &mut self.sorted)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        operands.one_of(1, movement::INDEX)?;
        movement::check_scalar(operands, 1)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let mut shape = x.shape.clone();
        let k: Option<DimExpr> = operands.symbolic(1).and_then(|k| k.elements.into_iter().next());
        shape.0[axis] = operands.dim(1, k)?;
        if let (Some(k), Some(size)) = (shape[axis].known(), x.shape[axis].known())
            && k > size
        {
            return Err(operands.mismatch(1, format!("at most {size}, the size of axis {axis}, found {k}")));
        }
        Ok(smallvec![TensorType::new(x.dtype, shape.clone()), TensorType::new(DType::I64, shape)])
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, sizes) = (operands.tensor(0)?, sizes_of(&types[0])?);
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let inner: usize = x.sizes()[axis + 1..].iter().product();
        let (size, k) = (x.sizes()[axis], sizes[axis]);
        let picks = with_number!(x.dtype(), T => self.picks::<T>(&x.to_compute::<T>()?, (size, inner), k));
        // The index along the axis is what is left of a place without the axes around it.
        let indices = picks.iter().map(|place| (place / inner % size) as i64).collect();
        let values = with_lane!(x.dtype(), L => {
            let lanes = indexed::gather(&x.lanes::<L>(), 1, picks.len(), picks.iter().copied());
            Tensor::from_lanes(x.dtype(), &sizes, lanes)
        })?;
        Ok(smallvec![values, Tensor::from_vec(&sizes, indices)?])
    }
}

impl TopK {
    /// The places in `values` of the elements of the result, in its order.
    fn picks<T: Number>(&self, values: &[T], (size, inner): (usize, usize), k: usize) -> Vec<usize> {
        let mut picks = vec![0; values.len().checked_div(size).unwrap_or(0) * k];
        let mut column: Vec<usize> = Vec::new();
        for (number, block) in picks.chunks_exact_mut((k * inner).max(1)).enumerate() {
            for offset in 0..inner {
                let place = |index: usize| (number * size + index) * inner + offset;
                column.clear();
                column.extend(0..size);
                column.sort_by(|a, b| {
                    let order = ascending(values[place(*a)], values[place(*b)]);
                    if self.largest { order.reverse() } else { order }
                });
                for (rank, index) in column.iter().take(k).enumerate() {
                    block[rank * inner + offset] = place(*index);
                }
            }
        }
        picks
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, parts, run, tensor};
    use super::*;

    fn top(op: TopK, x: Tensor, k: i64) -> [(Vec<usize>, Vec<i64>); 2] {
        let results = run(op, &[x, list(&[k])]).expect("k fits");
        [parts(&results[0]), parts(&results[1])]
    }

    #[test]
    fn the_best_along_either_axis() {
        let x = ints(&[2, 3], &[1, 5, 5, 4, 2, 3]);
        let expected = [(vec![2, 2], vec![5, 5, 4, 3]), (vec![2, 2], vec![1, 2, 0, 2])];
        assert_eq!(top(TopK::default(), x.clone(), 2), expected);
        let op = TopK { axis: 0, largest: false, ..TopK::default() };
        let expected = [(vec![1, 3], vec![1, 2, 3]), (vec![1, 3], vec![0, 1, 1])];
        assert_eq!(top(op, x.clone(), 1), expected);
        assert_eq!(top(TopK::default(), x, 0), [(vec![2, 0], vec![]), (vec![2, 0], vec![])]);
        assert_eq!(top(TopK::default(), floats(&[0, 3]), 2)[0].0, [0, 2]);
    }

    #[test]
    fn what_is_no_number_is_the_largest() {
        let x = tensor(&[3], &[1.0, f32::NAN, f32::INFINITY]);
        assert_eq!(top(TopK::default(), x.clone(), 3)[1].1, [1, 2, 0]);
        assert_eq!(top(TopK { largest: false, ..TopK::default() }, x, 3)[1].1, [0, 2, 1]);
    }

    #[test]
    fn more_than_there_are_is_refused() {
        for k in [4, -1, i64::MAX] {
            assert!(run(TopK::default(), &[floats(&[3]), list(&[k])]).is_err());
        }
        assert!(run(TopK::default(), &[floats(&[3]), list(&[1, 1])]).is_err());
    }
}
