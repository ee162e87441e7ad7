//! `center_crop_pad`: `x` cut or padded with 0 on both sides of each of some axes, so that they have the sizes `shape`.
//!
//! Of an odd number of elements to cut or add, the smaller half is at the start.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::copy::{self, Layout};
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CenterCropPad {
    /// The axes that `shape` is for, negative ones counted from the end; absent means all.
    pub axes: Option<Vec<i64>>,
}

impl OpDef for CenterCropPad {
    const NAME: &'static str = "center_crop_pad";
    const OPERANDS: &'static [Operand] = &[one("x"), one("shape")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axes", &mut self.axes)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let axes = match &self.axes {
            Some(axes) => rules::axes("axes", axes, x.rank())?,
            None => (0..x.rank()).collect(),
        };
        if movement::list_len(operands, 1)? != axes.len() {
            return Err(operands.mismatch(1, format!("{} sizes, one for each axis", axes.len())));
        }
        let target = operands.symbolic(1);
        let mut shape = x.shape.clone();
        for (position, axis) in axes.iter().enumerate() {
            let size = target.as_ref().map(|target| target.elements[position].clone());
            shape.0[*axis] = operands.dim(1, size)?;
        }
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, sizes) = (operands.tensor(0)?, sizes_of(&types[0])?);
        let (mut from, mut to) = (Layout::dense(x.sizes()), Layout::dense(&sizes));
        let mut inside: Vec<usize> = Vec::with_capacity(sizes.len());
        for (axis, (old, new)) in x.sizes().iter().zip(&sizes).enumerate() {
            from.offset += old.saturating_sub(*new) / 2 * from.strides[axis].cast_unsigned();
            to.offset += new.saturating_sub(*old) / 2 * to.strides[axis].cast_unsigned();
            inside.push(*old.min(new));
        }
        Ok(only(with_lane!(x.dtype(), L => {
            let mut lanes = vec![L::default(); sizes.iter().product()];
            copy::copy(&inside, (&x.lanes::<L>(), &from), (&mut lanes, &to));
            Tensor::from_lanes(x.dtype(), &sizes, lanes)
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;

    #[test]
    fn the_middle_stays_in_the_middle() {
        let x = list(&[1, 2, 3, 4]);
        let resized = |size| run_one(CenterCropPad::default(), &[x.clone(), list(&[size])]).1;
        assert_eq!(resized(1), [2]);
        assert_eq!(resized(2), [2, 3]);
        assert_eq!(resized(7), [0, 1, 2, 3, 4, 0, 0]);
        assert_eq!(resized(0), [0; 0]);
    }

    #[test]
    fn some_axes_only() {
        let x = ints(&[1, 3], &[1, 2, 3]);
        let op = CenterCropPad { axes: Some(vec![-1, 0]) };
        assert_eq!(run_one(op, &[x.clone(), list(&[1, 2])]), (vec![2, 1], vec![2, 0]));
        let op = CenterCropPad { axes: Some(vec![1]) };
        assert_eq!(run_one(op, &[x, list(&[5])]), (vec![1, 5], vec![0, 1, 2, 3, 0]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let refused = |sizes: &[i64]| run(CenterCropPad::default(), &[floats(&[2]), list(sizes)]).is_err();
        assert!(refused(&[-1]));
        assert!(refused(&[1, 1]));
        assert!(refused(&[i64::MAX]));
    }
}
