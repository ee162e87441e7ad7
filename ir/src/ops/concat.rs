//! `concat`: tensors one after the other along an axis, on which alone their sizes may differ.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, only, rules, single,
    sizes_of, variadic,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::copy::{self, Layout};
use crate::tensor::{Tensor, with_lane};
use crate::types::{DimExpr, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Concat {
    /// The axis; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for Concat {
    const NAME: &'static str = "concat";
    const OPERANDS: &'static [Operand] = &[variadic("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let first = operands.ty(0)?;
        let axis = rules::axis("axis", self.axis, first.rank())?;
        let mut shape = first.shape.clone();
        let mut length = Some(shape[axis].expr());
        for index in 1..operands.len() {
            operands.same_dtype(index, 0)?;
            let part = &operands.ranked(index, first.rank())?.shape;
            for other in (0..first.rank()).filter(|other| *other != axis) {
                shape.0[other] = operands.same_dim(index, &part[other], &shape[other])?;
            }
            length = length.and_then(|length: DimExpr| length.add(&part[axis].expr()));
        }
        shape.0[axis] = operands.dim(0, length)?;
        Ok(single(first.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let sizes = sizes_of(&types[0])?;
        let axis = rules::axis("axis", self.axis, sizes.len())?;
        let mut to = Layout::dense(&sizes);
        let step = to.strides[axis].cast_unsigned();
        with_lane!(types[0].dtype, L => {
            let mut lanes = vec![L::default(); sizes.iter().product()];
            for part in operands.rest(0) {
                let from = Layout::dense(part.sizes());
                copy::copy(part.sizes(), (&part.lanes::<L>(), &from), (&mut lanes, &to));
                to.offset += part.sizes()[axis] * step;
            }
            Ok(only(Tensor::from_lanes(types[0].dtype, &sizes, lanes)?))
        })
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..operands.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;

    #[test]
    fn parts_follow_each_other_on_any_axis() {
        let (a, b) = (ints(&[2, 1], &[1, 2]), ints(&[2, 2], &[3, 4, 5, 6]));
        assert_eq!(run_one(Concat { axis: -1 }, &[a.clone(), b]), (vec![2, 3], vec![1, 3, 4, 2, 5, 6]));
        let c = ints(&[1, 1], &[9]);
        assert_eq!(run_one(Concat { axis: 0 }, &[a.clone(), c]), (vec![3, 1], vec![1, 2, 9]));
        let empty = ints(&[2, 0], &[]);
        assert_eq!(run_one(Concat { axis: 1 }, &[empty, a]), (vec![2, 1], vec![1, 2]));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let refused = |axis, parts: &[Tensor]| run(Concat { axis }, parts).is_err();
        assert!(refused(0, &[floats(&[2, 2]), floats(&[2, 3])]));
        assert!(refused(0, &[floats(&[2]), floats(&[2, 1])]));
        assert!(refused(0, &[floats(&[2]), ints(&[2], &[1, 2])]));
        assert!(refused(1, &[floats(&[2])]));
        assert!(refused(0, &[floats(&[])]));
        assert!(refused(0, &[]));
    }
}
