//! `slice`: along each of some axes, the elements from `starts` to before `ends`, every `steps`th of them.
//!
//! Negative starts and ends count from the end, and both are clamped to the axis, as Python's slices are; with a
//! negative step the elements come backward. Sizes stay symbolic where the clamping is decided without numbers, such
//! as for `x[0:batch]` of an axis of `2*batch` elements.

use smallvec::SmallVec;

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, optional, rules,
    single, sizes_of,
};
use crate::kernels::copy::Layout;
use crate::tensor::Tensor;
use crate::types::{DimExpr, SymTensor, TensorType};

/// See the [module](self). Without `axes` the slices are of the first axes; without `steps` all steps are 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice;

impl OpDef for Slice {
    const NAME: &'static str = "slice";
    const OPERANDS: &'static [Operand] =
        &[one("x"), one("starts"), one("ends"), optional("axes"), optional("steps")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let (axes, steps) = axes_and_steps(operands, x.rank())?;
        let mut shape = x.shape.clone();
        let Some(axes) = axes else {
            // Any of them may be the one that is cut.
            return Ok(single(x.dtype, shape.iter().map(|_| operands.fresh()).collect()));
        };
        let (starts, ends) = (operands.symbolic(1), operands.symbolic(2));
        for (position, axis) in axes.iter().enumerate() {
            let length =
                starts.as_ref().zip(ends.as_ref()).zip(steps.as_ref()).and_then(|((starts, ends), steps)| {
                    let bounds = (&starts.elements[position], &ends.elements[position]);
                    Some(extent(&shape[*axis].expr(), bounds, steps[position])?.1)
                });
            shape.0[*axis] = operands.dim(0, length)?;
        }
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let (starts, ends) = (operands.tensor(1)?.to_i64()?, operands.tensor(2)?.to_i64()?);
        let axes = match operands.optional(3) {
            Some(axes) => rules::axes("axes", &axes.to_i64()?, x.rank())?,
            None => (0..starts.len()).collect(),
        };
        let steps = operands.optional(4).map_or_else(|| Ok(vec![1; starts.len()]), Tensor::to_i64)?;
        let sizes = sizes_of(&types[0])?;
        let mut layout = Layout::dense(x.sizes());
        for (position, axis) in axes.iter().enumerate() {
            let [size, start, end] =
                [x.sizes()[*axis] as i64, starts[position], ends[position]].map(DimExpr::constant);
            let first =
                extent(&size, (&start, &end), steps[position]).and_then(|(first, _)| first.as_constant());
            let stride = layout.strides[*axis];
            // A slice of one element takes no step, and the step may be any number there.
            if sizes[*axis] > 1 {
                layout.strides[*axis] = stride.saturating_mul(steps[position] as isize);
            }
            if sizes[*axis] > 0 {
                layout.offset += first.unwrap_or_default() as usize * stride.cast_unsigned();
            }
        }
        movement::read(x, &types[0], &layout)
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

/// The axes that are cut and the steps along them, each `None` while unknown.
#[expect(clippy::type_complexity, reason = "two lists that are used where they are made")]
fn axes_and_steps(
    operands: &Operands<'_>,
    rank: usize,
) -> Result<(Option<SmallVec<[usize; 6]>>, Option<Vec<i64>>), InferError> {
    let count = movement::same_len(operands, 2, 1)?;
    let axes = if operands.has(3) {
        movement::same_len(operands, 3, 1)?;
        movement::axes_operand(operands, 3, rank)?
    } else if count > rank {
        return Err(operands.mismatch(1, "no more slices than `x` has axes"));
    } else {
        Some((0..count).collect())
    };
    if !operands.has(4) {
        return Ok((axes, Some(vec![1; count])));
    }
    movement::same_len(operands, 4, 1)?;
    let steps = operands.integers(4);
    if steps.as_ref().is_some_and(|steps| steps.contains(&0)) {
        return Err(operands.mismatch(4, "steps other than 0"));
    }
    Ok((axes, steps))
}

/// The first index and the number of elements of a slice of an axis of `size`; always known for numbers, `None` where
/// symbolic sizes do not decide it.
fn extent(size: &DimExpr, (start, end): (&DimExpr, &DimExpr), step: i64) -> Option<(DimExpr, DimExpr)> {
    let (zero, one) = (DimExpr::constant(0), DimExpr::constant(1));
    let last = size.sub(&one)?;
    let (start, end) = if step > 0 {
        (clamp(start, size, &zero, size)?, clamp(end, size, &zero, size)?)
    } else {
        (clamp(start, size, &zero, &last)?, clamp(end, size, &DimExpr::constant(-1), &last)?)
    };
    let span = if step > 0 { end.sub(&start)? } else { start.sub(&end)? };
    let step = i64::try_from(step.unsigned_abs()).unwrap_or(i64::MAX);
    let count = match (span.as_constant(), size.as_constant()) {
        (Some(_), Some(0)) => zero,
        (Some(span), _) => DimExpr::constant(span.max(0) / step + i64::from(span.max(0) % step != 0)),
        // The number of steps is a polynomial only where the step divides the span.
        (None, _) if span.is_never_negative() => span.div_exact(&DimExpr::constant(step))?,
        (None, _) => zero.sub(&span)?.is_never_negative().then_some(zero)?,
    };
    Some((start, count))
}

/// `bound` counted from the start of an axis of `size`, and clamped to what lies between `low` and `high`.
fn clamp(bound: &DimExpr, size: &DimExpr, low: &DimExpr, high: &DimExpr) -> Option<DimExpr> {
    let beyond = |a: &DimExpr, b: &DimExpr| a.sub(b).is_some_and(|excess| excess.is_never_negative());
    match (bound.as_constant(), size.as_constant(), low.as_constant(), high.as_constant()) {
        (Some(bound), Some(size), Some(low), Some(high)) => {
            let from_start = if bound < 0 { bound.saturating_add(size) } else { bound };
            return Some(DimExpr::constant(from_start.min(high).max(low)));
        }
        // Exporters write the ends of the integer types for "up to the end".
        (Some(bound), ..) if bound >= i64::from(i32::MAX) => return Some(high.clone()),
        (Some(bound), ..) if bound <= i64::from(-i32::MAX) => return Some(low.clone()),
        _ => {}
    }
    let negative = !bound.is_never_negative();
    if negative && !DimExpr::constant(-1).sub(bound)?.is_never_negative() {
        return None;
    }
    let from_start = if negative { bound.add(size)? } else { bound.clone() };
    if beyond(&from_start, high) {
        return Some(high.clone());
    }
    if beyond(low, &from_start) {
        return Some(low.clone());
    }
    (beyond(&from_start, low) && beyond(high, &from_start)).then_some(from_start)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;
    use crate::entity::Entity;
    use crate::types::SymId;
    use proptest::prelude::*;

    fn elements(length: usize, start: i64, end: i64, step: i64) -> Vec<i64> {
        let x = ints(&[length], &(0..length as i64).collect::<Vec<_>>());
        run_one(Slice, &[x, list(&[start]), list(&[end]), list(&[0]), list(&[step])]).1
    }

    #[test]
    fn bounds_are_clamped_and_counted_from_the_end() {
        assert_eq!(elements(5, 1, -1, 1), [1, 2, 3]);
        assert_eq!(elements(5, -100, 100, 2), [0, 2, 4]);
        assert_eq!(elements(5, 4, 2, 1), [0; 0]);
        assert_eq!(elements(5, i64::MAX, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(elements(5, 3, 0, -2), [3, 1]);
        // The start of a backward slice is clamped to the first element, not to the place before it.
        assert_eq!(elements(5, -100, i64::MIN, -1), [0]);
        assert_eq!(elements(5, 2, 3, i64::MIN), [0; 0]);
        assert_eq!(elements(5, 2, 0, i64::MIN), [2]);
        assert_eq!(elements(5, 2, 5, i64::MAX), [2]);
        assert_eq!(elements(0, -1, i64::MIN, -1), [0; 0]);
    }

    #[test]
    fn several_axes_in_any_order() {
        let x = ints(&[2, 3], &[0, 1, 2, 3, 4, 5]);
        let operands = [x.clone(), list(&[1, 0]), list(&[3, 1]), list(&[-1, 0])];
        assert_eq!(run_one(Slice, &operands), (vec![1, 2], vec![1, 2]));
        assert_eq!(run_one(Slice, &[x, list(&[1]), list(&[2])]), (vec![1, 3], vec![3, 4, 5]));
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |operands: &[Tensor]| run(Slice, operands).is_err();
        let x = floats(&[2]);
        assert!(refused(&[x.clone(), list(&[0]), list(&[1, 1])]));
        assert!(refused(&[x.clone(), list(&[0, 0]), list(&[1, 1])]));
        assert!(refused(&[x.clone(), list(&[0]), list(&[1]), list(&[1])]));
        assert!(refused(&[x.clone(), list(&[0]), list(&[1]), list(&[0]), list(&[0])]));
        assert!(refused(&[x, list(&[0, 0]), list(&[1, 1]), list(&[0, -1])]));
    }

    #[test]
    fn symbolic_extents_where_they_are_decided() {
        let batch = DimExpr::symbol(SymId::from_index(0));
        let number = DimExpr::constant;
        let twice = batch.add(&batch).expect("small");
        let count = |size: &DimExpr, start: &DimExpr, end: &DimExpr, step| {
            extent(size, (start, end), step).map(|(_, count)| count)
        };
        assert_eq!(count(&twice, &number(0), &batch, 1), Some(batch.clone()));
        assert_eq!(count(&twice, &batch, &number(i64::MAX), 1), Some(batch.clone()));
        assert_eq!(count(&twice, &number(0), &number(i64::from(i32::MAX)), 2), Some(batch.clone()));
        assert_eq!(count(&batch, &number(-1), &number(i64::MIN), -1), Some(batch.clone()));
        assert_eq!(count(&batch, &batch, &number(0), 1), Some(number(0)));
        let longer = batch.add(&number(2)).expect("small");
        assert_eq!(count(&longer, &number(1), &number(-1), 1), Some(batch.clone()));
        // An axis of `batch` elements may have none, so that nothing is known of all but the first.
        assert_eq!(count(&batch, &number(1), &number(i64::MAX), 1), None);
        assert_eq!(count(&number(77), &number(0), &batch, 1), None);
        assert_eq!(count(&batch, &number(0), &batch, 2), None);
    }

    proptest! {
        /// The indices that a loop visits.
        #[test]
        fn numbers_agree_with_a_loop(
            length in 0usize..7, start in -9i64..9, end in -9i64..9, step in (1i64..4, any::<bool>()),
        ) {
            let (step, size) = (if step.1 { -step.0 } else { step.0 }, length as i64);
            let from_start = |bound: i64| if bound < 0 { bound + size } else { bound };
            let mut at = from_start(start);
            at = if step > 0 { at.clamp(0, size) } else { at.min(size - 1).max(0) };
            let mut expected = Vec::new();
            while (0..size).contains(&at) && if step > 0 { at < from_start(end) } else { at > from_start(end) } {
                expected.push(at);
                at += step;
            }
            prop_assert_eq!(elements(length, start, end, step), expected);
        }
    }
}
