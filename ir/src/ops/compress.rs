//! `compress`: the slices of `x` along an axis for which `condition` is true.
//!
//! Without `axis` the elements of `x` are taken as a vector. A condition shorter than the axis is false beyond its end.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, rules,
    single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compress {
    /// The axis; negative ones count from the end.
    pub axis: Option<i64>,
}

impl OpDef for Compress {
    const NAME: &'static str = "compress";
    const OPERANDS: &'static [Operand] = &[one("x"), one("condition")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        operands.one_of(1, &[DType::Bool])?;
        operands.ranked(1, 1)?;
        let (mut shape, axis) = match self.axis {
            Some(axis) => (x.shape.clone(), rules::axis("axis", axis, x.rank())?),
            None => (Shape::from_iter([operands.dim(0, x.shape.elements())?]), 0),
        };
        let picks = operands.constant(1).and_then(|condition| picks(condition).ok());
        if let (Some(last), Some(size)) = (picks.as_ref().and_then(|picks| picks.last()), shape[axis].known())
            && *last as u64 >= size
        {
            return Err(operands.mismatch(1, format!("nothing true beyond the {size} elements of the axis")));
        }
        shape.0[axis] = picks.map_or_else(|| operands.fresh(), |picks| Dim::Known(picks.len() as u64));
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, picks) = (operands.tensor(0)?, picks(operands.tensor(1)?)?);
        Ok(only(match self.axis {
            Some(axis) => movement::take(x, rules::axis("axis", axis, x.rank())?, &picks)?,
            None => movement::take(&x.reshaped(&[x.len()])?, 0, &picks)?,
        }))
    }
}

/// The indices at which `condition` is true.
fn picks(condition: &Tensor) -> Result<Vec<usize>, EvalError> {
    let truths = condition.to_bools()?;
    Ok(truths.iter().enumerate().filter_map(|(index, truth)| truth.then_some(index)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run, run_one};
    use super::*;

    fn truths(values: &[bool]) -> Tensor {
        Tensor::from_bools(&[values.len()], values.to_vec()).expect("a vector")
    }

    #[test]
    fn true_slices_stay() {
        let x = ints(&[3, 2], &[1, 2, 3, 4, 5, 6]);
        let compressed =
            |axis, condition: &[bool]| run_one(Compress { axis }, &[x.clone(), truths(condition)]);
        assert_eq!(compressed(Some(0), &[false, true, true]), (vec![2, 2], vec![3, 4, 5, 6]));
        assert_eq!(compressed(Some(-1), &[false, true]), (vec![3, 1], vec![2, 4, 6]));
        assert_eq!(compressed(None, &[false, true, false, false, true]), (vec![2], vec![2, 5]));
        assert_eq!(compressed(Some(1), &[]), (vec![3, 0], vec![]));
    }

    #[test]
    fn a_condition_beyond_the_axis_is_refused() {
        let refused =
            |condition: &[bool]| run(Compress { axis: Some(0) }, &[floats(&[2]), truths(condition)]).is_err();
        assert!(!refused(&[true, false, false]));
        assert!(refused(&[true, false, true]));
    }
}
