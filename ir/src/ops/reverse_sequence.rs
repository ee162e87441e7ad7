//! `reverse_sequence`: for each batch element, its first `sequence_lens[b]` time steps in reverse order.
//!
//! Batch and time are the first two axes of `x`, in either order.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::indexed;
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReverseSequence {
    /// The axis of the batch, 0 or 1.
    pub batch_axis: i64,
    /// The other of the two axes.
    pub time_axis: i64,
}

impl Default for ReverseSequence {
    fn default() -> Self {
        Self { batch_axis: 1, time_axis: 0 }
    }
}

impl OpDef for ReverseSequence {
    const NAME: &'static str = "reverse_sequence";
    const OPERANDS: &'static [Operand] = &[one("x"), one("sequence_lens")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("batch_axis", &mut self.batch_axis)?;
        visitor.attr("time_axis", &mut self.time_axis)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if x.rank() < 2 {
            return Err(operands.mismatch(0, "at least two axes"));
        }
        if !matches!((self.batch_axis, self.time_axis), (0, 1) | (1, 0)) {
            return Err(InferError::Attribute {
                attr: "time_axis",
                found: format!("{} beside batch_axis {}", self.time_axis, self.batch_axis),
                expected: "one of the axes 0 and 1 for each".to_owned(),
            });
        }
        operands.one_of(1, movement::INDEX)?;
        operands.same_dim(1, &operands.ranked(1, 1)?.shape[0], &x.shape[self.batch_axis as usize])?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let (rows, columns) = (x.sizes()[0], x.sizes()[1]);
        let steps = x.sizes()[self.time_axis as usize];
        let lengths = operands.tensor(1)?.to_i64()?;
        let lengths: Vec<usize> =
            lengths.iter().map(|length| checked_length(*length, steps)).collect::<Result<_, _>>()?;
        if x.is_empty() {
            return Ok(only(x.clone()));
        }
        let inner: usize = x.sizes()[2..].iter().product();
        let reversed =
            |batch: usize, step: usize| if step < lengths[batch] { lengths[batch] - 1 - step } else { step };
        let place = |number: usize| {
            let (row, column) = (number / columns, number % columns);
            let (row, column) = match self.batch_axis {
                0 => (row, reversed(row, column)),
                _ => (reversed(column, row), column),
            };
            (row * columns + column) * inner
        };
        Ok(only(with_lane!(x.dtype(), L => {
            let lanes = indexed::gather(&x.lanes::<L>(), inner, rows * columns, (0..rows * columns).map(place));
            Tensor::from_lanes(x.dtype(), x.sizes(), lanes)
        })?))
    }
}

fn checked_length(length: i64, steps: usize) -> Result<usize, EvalError> {
    usize::try_from(length).ok().filter(|length| *length <= steps).ok_or_else(|| EvalError::Value {
        operand: "sequence_lens",
        found: length.to_string(),
        expected: format!("lengths from 0 to {steps}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;

    #[test]
    fn only_the_first_steps_are_reversed() {
        let (x, lengths) = (ints(&[2, 3], &[0, 1, 2, 3, 4, 5]), list(&[2, 3]));
        let op = ReverseSequence { batch_axis: 0, time_axis: 1 };
        assert_eq!(run_one(op, &[x, lengths]).1, [1, 0, 2, 5, 4, 3]);
        let (x, lengths) = (ints(&[3, 2, 1], &[0, 1, 2, 3, 4, 5]), list(&[0, 2]));
        assert_eq!(run_one(ReverseSequence::default(), &[x, lengths]).1, [0, 3, 2, 1, 4, 5]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |op, lengths: &[i64]| run(op, &[floats(&[3, 2]), list(lengths)]).is_err();
        assert!(refused(ReverseSequence::default(), &[1, 4]));
        assert!(refused(ReverseSequence::default(), &[1, -1]));
        assert!(refused(ReverseSequence::default(), &[1, 1, 1]));
        assert!(refused(ReverseSequence { batch_axis: 0, time_axis: 0 }, &[1, 1, 1]));
        assert!(refused(ReverseSequence { batch_axis: 1, time_axis: -2 }, &[1, 1]));
    }
}
