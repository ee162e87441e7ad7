//! `pad`: elements added before and after each of some axes, or removed where a pad is negative.
//!
//! `pads` holds the numbers of elements to add at the start of each axis, then those at the end. Elements are removed
//! first, and what is added is made from what is left.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, optional,
    rules, single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::kernels::copy::{self, Layout};
use crate::tensor::{Tensor, with_lane};
use crate::types::{Dim, DimExpr, TensorType};

attr_enum! {
    /// What is added.
    pub enum PadMode {
        /// A value.
        #[default]
        Constant = "constant",
        /// The axis mirrored at its first and last element, which are not repeated.
        Reflect = "reflect",
        /// The first and last element.
        Edge = "edge",
        /// The axis over again.
        Wrap = "wrap",
    }
}

/// See the [module](self). Without `axes` there are pads for every axis; without `value` it is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pad {
    /// What is added.
    pub mode: PadMode,
}

impl OpDef for Pad {
    const NAME: &'static str = "pad";
    const OPERANDS: &'static [Operand] = &[one("x"), one("pads"), optional("value"), optional("axes")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("mode", &mut self.mode)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let count = if operands.has(3) { movement::list_len(operands, 3)? } else { x.rank() };
        if movement::list_len(operands, 1)? != 2 * count {
            return Err(operands.mismatch(1, format!("{} pads, two for each axis", 2 * count)));
        }
        if operands.has(2) {
            operands.same_dtype(2, 0)?;
            movement::check_scalar(operands, 2)?;
        }
        let axes = if operands.has(3) {
            movement::axes_operand(operands, 3, x.rank())?
        } else {
            Some((0..count).collect())
        };
        let mut shape = x.shape.clone();
        let Some(axes) = axes else {
            return Ok(single(x.dtype, shape.iter().map(|_| operands.fresh()).collect()));
        };
        let pads = operands.symbolic(1);
        for (position, axis) in axes.iter().enumerate() {
            let pair = pads.as_ref().map(|pads| (&pads.elements[position], &pads.elements[position + count]));
            shape.0[*axis] = self.padded(operands, &shape[*axis], pair)?;
        }
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, given) = (operands.tensor(0)?, operands.tensor(1)?.to_i64()?);
        let axes = match operands.optional(3) {
            Some(axes) => rules::axes("axes", &axes.to_i64()?, x.rank())?,
            None => (0..x.rank()).collect(),
        };
        let mut pads = vec![(0, 0); x.rank()];
        for (position, axis) in axes.iter().enumerate() {
            pads[*axis] = (given[position], given[position + axes.len()]);
        }
        let sizes = sizes_of(&types[0])?;
        match self.mode {
            PadMode::Constant => surround(x, operands.optional(2), &pads, &sizes),
            _ => self.extend(x, &pads, &sizes),
        }
    }
}

impl Pad {
    /// The size of an axis of `size` with pads at its start and end.
    fn padded(
        &self,
        operands: &Operands<'_>,
        size: &Dim,
        pads: Option<(&DimExpr, &DimExpr)>,
    ) -> Result<Dim, InferError> {
        let sum = pads.and_then(|(start, end)| size.expr().add(start)?.add(end));
        let Some((start, end)) = pads.and_then(|(start, end)| start.as_constant().zip(end.as_constant()))
        else {
            return operands.dim(1, sum);
        };
        let Some(known) = size.known() else { return operands.dim(1, sum) };
        let left = (known as i64).saturating_add(start.min(0)).saturating_add(end.min(0));
        if self.mode != PadMode::Constant && left <= 0 && (start > 0 || end > 0) {
            return Err(operands.mismatch(0, format!("elements to {} the axis with", self.mode_word())));
        }
        if sum.is_none() {
            return Err(operands.mismatch(1, "pads that an axis has room for"));
        }
        operands.dim(1, sum)
    }

    fn mode_word(&self) -> &'static str {
        match self.mode {
            PadMode::Constant => "pad",
            PadMode::Reflect => "reflect",
            PadMode::Edge => "extend",
            PadMode::Wrap => "wrap",
        }
    }

    /// `x` cut where pads are negative, then each axis extended from its own elements.
    fn extend(&self, x: &Tensor, pads: &[(i64, i64)], sizes: &[usize]) -> Result<Results, EvalError> {
        if sizes.contains(&0) {
            return Ok(only(Tensor::zeros(x.dtype(), sizes)?));
        }
        let mut layout = Layout::dense(x.sizes());
        let mut left: Vec<usize> = x.sizes().to_vec();
        for (axis, (start, end)) in pads.iter().enumerate() {
            let before = removed(*start);
            left[axis] = left[axis].saturating_sub(before).saturating_sub(removed(*end));
            layout.offset += before * layout.strides[axis].cast_unsigned();
        }
        let mut result = movement::boxed(x, &left, &layout)?;
        for (axis, (start, end)) in pads.iter().enumerate().filter(|(_, (start, end))| *start > 0 || *end > 0)
        {
            let (before, count) = ((*start).max(0), left[axis] as i64);
            let picks: Vec<usize> =
                (-before..count + (*end).max(0)).map(|place| self.source(place, count) as usize).collect();
            result = movement::take(&result, axis, &picks)?;
        }
        Ok(only(result))
    }

    /// The element that stands at `place` of an axis of `count` elements continued on both sides.
    fn source(&self, place: i64, count: i64) -> i64 {
        match self.mode {
            PadMode::Constant | PadMode::Edge => place.clamp(0, count - 1),
            PadMode::Wrap => place.rem_euclid(count),
            PadMode::Reflect => {
                // Forward and back again, without repeating either end.
                let period = (2 * (count - 1)).max(1);
                let phase = place.rem_euclid(period);
                phase.min(period - phase).min(count - 1)
            }
        }
    }
}

/// How many elements a pad removes.
fn removed(pad: i64) -> usize {
    pad.min(0).unsigned_abs() as usize
}

/// A tensor of `sizes` filled with `value`, with what of `x` lies inside it copied in.
fn surround(
    x: &Tensor,
    value: Option<&Tensor>,
    pads: &[(i64, i64)],
    sizes: &[usize],
) -> Result<Results, EvalError> {
    let (mut from, mut to) = (Layout::dense(x.sizes()), Layout::dense(sizes));
    let mut inside: Vec<usize> = Vec::with_capacity(sizes.len());
    for (axis, (start, _)) in pads.iter().enumerate() {
        let (skipped, first) = (removed(*start), (*start).max(0) as usize);
        let count = x.sizes()[axis].saturating_sub(skipped).min(sizes[axis].saturating_sub(first));
        if count > 0 {
            from.offset += skipped * from.strides[axis].cast_unsigned();
            to.offset += first * to.strides[axis].cast_unsigned();
        }
        inside.push(count);
    }
    Ok(only(with_lane!(x.dtype(), L => {
        let filler = value.and_then(|value| value.lanes::<L>().first().copied()).unwrap_or_default();
        let mut lanes = vec![filler; sizes.iter().product()];
        copy::copy(&inside, (&x.lanes::<L>(), &from), (&mut lanes, &to));
        Tensor::from_lanes(x.dtype(), sizes, lanes)
    })?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, parts, run, run_one, run_some};
    use super::*;

    fn padded(mode: PadMode, values: &[i64], start: i64, end: i64) -> Vec<i64> {
        run_one(Pad { mode }, &[list(values), list(&[start, end])]).1
    }

    #[test]
    fn a_value_around_two_axes() {
        let x = ints(&[1, 2], &[1, 2]);
        let operands = [x, list(&[1, 0, 0, 1]), ints(&[], &[9])];
        assert_eq!(run_one(Pad::default(), &operands), (vec![2, 3], vec![9, 9, 9, 1, 2, 9]));
    }

    #[test]
    fn pads_of_some_axes() {
        let x = Some(ints(&[1, 2], &[1, 2]));
        let operands = [x, Some(list(&[1, -1])), None, Some(list(&[-1]))];
        let results = run_some(Pad::default(), &operands).expect("the pads fit");
        assert_eq!(parts(&results[0]), (vec![1, 2], vec![0, 1]));
    }

    #[test]
    fn axes_are_continued_far_beyond_their_ends() {
        let x = [1, 2, 3];
        assert_eq!(padded(PadMode::Reflect, &x, 5, 3), [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2]);
        assert_eq!(padded(PadMode::Wrap, &x, 4, 2), [3, 1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(padded(PadMode::Edge, &x, 2, 1), [1, 1, 1, 2, 3, 3]);
        assert_eq!(padded(PadMode::Reflect, &[7], 2, 1), [7, 7, 7, 7]);
    }

    #[test]
    fn negative_pads_remove_first() {
        let x = [1, 2, 3, 4];
        assert_eq!(padded(PadMode::Constant, &x, -1, -2), [2]);
        assert_eq!(padded(PadMode::Constant, &x, -6, 3), [0]);
        assert_eq!(padded(PadMode::Constant, &x, 3, -5), [0, 0]);
        assert_eq!(padded(PadMode::Wrap, &x, -1, 2), [2, 3, 4, 2, 3]);
        assert_eq!(padded(PadMode::Edge, &x, 1, -2), [1, 1, 2]);
        assert_eq!(padded(PadMode::Reflect, &x, -2, -2), [0; 0]);
    }

    #[test]
    fn pads_that_do_not_fit_are_refused() {
        let refused = |mode, pads: &[i64]| run(Pad { mode }, &[floats(&[2]), list(pads)]).is_err();
        assert!(refused(PadMode::Constant, &[1]));
        assert!(refused(PadMode::Constant, &[-2, -1]));
        assert!(refused(PadMode::Constant, &[i64::MAX, i64::MAX]));
        assert!(refused(PadMode::Edge, &[-2, 3]), "nothing is left to repeat");
        assert!(refused(PadMode::Edge, &[i64::MIN, i64::MAX]));
        assert!(!refused(PadMode::Constant, &[i64::MIN, i64::MAX]), "a single element is added in all");
    }
}
