//! `gather_elements`: one element of `x` for each index: along `axis` the index says which, along the other axes the
//! place of the index does.
//!
//! For two axes and `axis = 0`: `y[i, j] = x[indices[i, j], j]`. Both operands have the same number of axes, and
//! `indices` is no larger than `x` on any axis but `axis`. Negative indices count from the end.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::indexed;
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatherElements {
    /// The axis; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for GatherElements {
    const NAME: &'static str = "gather_elements";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        movement::check_element_indices(operands, self.axis)?;
        Ok(single(operands.ty(0)?.dtype, operands.ty(1)?.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, indices) = (operands.tensor(0)?, operands.tensor(1)?);
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let places = movement::element_places(x.sizes(), indices, axis)?;
        Ok(only(with_lane!(x.dtype(), L => {
            let lanes = indexed::gather(&x.lanes::<L>(), 1, places.len(), places.into_iter());
            Tensor::from_lanes(x.dtype(), indices.sizes(), lanes)
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;

    #[test]
    fn indices_pick_along_one_axis() {
        let x = ints(&[2, 3], &[0, 1, 2, 3, 4, 5]);
        let rows = ints(&[1, 2], &[1, -2]);
        assert_eq!(run_one(GatherElements { axis: 0 }, &[x.clone(), rows]), (vec![1, 2], vec![3, 1]));
        let columns = ints(&[2, 4], &[0, 0, 2, -1, 1, 0, 1, -3]);
        let expected = (vec![2, 4], vec![0, 0, 2, 2, 4, 3, 4, 3]);
        assert_eq!(run_one(GatherElements { axis: 1 }, &[x, columns]), expected);
    }

    #[test]
    fn indices_that_do_not_fit_are_refused() {
        let refused = |sizes: &[usize], index| {
            let indices = ints(sizes, &vec![index; sizes.iter().product()]);
            run(GatherElements { axis: 1 }, &[floats(&[2, 3]), indices]).is_err()
        };
        assert!(!refused(&[2, 5], 2));
        assert!(refused(&[3, 1], 0), "more rows than `x` has");
        assert!(refused(&[2], 0));
        assert!(refused(&[1, 1], 3));
        assert!(refused(&[1, 1], -4));
    }
}
