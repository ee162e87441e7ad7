//! `tensor_scatter`: a cache with new entries written into it along an axis, from a position of its own for each batch
//! element.
//!
//! `y[b, .., write_indices[b] + i, ..] = update[b, .., i, ..]`. The first axis is the batch.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, optional,
    rules, single,
};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::kernels::indexed;
use crate::tensor::{Tensor, with_lane};
use crate::types::TensorType;

attr_enum! {
    /// What happens to entries beyond the end of the cache.
    pub enum Wrapping {
        /// There may be none.
        #[default]
        Linear = "linear",
        /// They go to its start.
        Circular = "circular",
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorScatter {
    /// The axis of the entries, not the first; negative ones count from the end.
    pub axis: i64,
    /// What happens at the end of the cache.
    pub mode: Wrapping,
}

impl Default for TensorScatter {
    fn default() -> Self {
        Self { axis: -2, mode: Wrapping::Linear }
    }
}

impl OpDef for TensorScatter {
    const NAME: &'static str = "tensor_scatter";
    const OPERANDS: &'static [Operand] = &[one("past_cache"), one("update"), optional("write_indices")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("mode", &mut self.mode)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let cache = operands.ty(0)?;
        operands.same_dtype(1, 0)?;
        let update = operands.ranked(1, cache.rank())?;
        let axis = self.entry_axis(cache.rank())?;
        for other in (0..cache.rank()).filter(|other| *other != axis) {
            operands.same_dim(1, &update.shape[other], &cache.shape[other])?;
        }
        if let (Some(new), Some(size)) = (update.shape[axis].known(), cache.shape[axis].known())
            && new > size
        {
            return Err(operands.mismatch(1, format!("at most {size} entries on axis {axis}")));
        }
        if operands.has(2) {
            operands.one_of(2, movement::INDEX)?;
            operands.same_dim(2, &operands.ranked(2, 1)?.shape[0], &cache.shape[0])?;
        }
        Ok(single(cache.dtype, cache.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let (cache, update) = (operands.tensor(0)?, operands.tensor(1)?);
        let axis = self.entry_axis(cache.rank())?;
        let starts = match operands.optional(2) {
            Some(starts) => starts.to_i64()?,
            None => vec![0; cache.sizes()[0]],
        };
        if cache.is_empty() || update.is_empty() {
            return Ok(only(cache.clone()));
        }
        let (length, count) = (cache.sizes()[axis], update.sizes()[axis]);
        let starts: Vec<usize> =
            starts.iter().map(|start| self.first_entry(*start, length, count)).collect::<Result<_, _>>()?;
        let inner: usize = cache.sizes()[axis + 1..].iter().product();
        let rows: usize = cache.sizes()[1..axis].iter().product();
        let places = starts.iter().enumerate().flat_map(|(batch, start)| {
            let entry =
                move |row, position| ((batch * rows + row) * length + (start + position) % length) * inner;
            (0..rows).flat_map(move |row| (0..count).map(move |position| entry(row, position)))
        });
        Ok(only(with_lane!(cache.dtype(), L => {
            let mut lanes = cache.lanes::<L>().into_owned();
            indexed::scatter(&mut lanes, inner, places, &update.lanes::<L>(), |_, new| new);
            Tensor::from_lanes(cache.dtype(), cache.sizes(), lanes)
        })?))
    }
}

impl TensorScatter {
    fn entry_axis(&self, rank: usize) -> Result<usize, InferError> {
        rules::axis("axis", self.axis, rank).and_then(|axis| match axis {
            0 => Err(InferError::Attribute {
                attr: "axis",
                found: self.axis.to_string(),
                expected: "an axis other than the first, which is the batch".to_owned(),
            }),
            _ => Ok(axis),
        })
    }

    /// Where `count` entries written from `start` on begin in a cache of `length`.
    fn first_entry(&self, start: i64, length: usize, count: usize) -> Result<usize, EvalError> {
        let last = match self.mode {
            Wrapping::Linear => (length - count) as i64,
            Wrapping::Circular => i64::MAX,
        };
        if (0..=last).contains(&start) {
            return Ok((start % length as i64) as usize);
        }
        Err(EvalError::Value {
            operand: "write_indices",
            found: start.to_string(),
            expected: format!("positions from 0 to {last}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;

    #[test]
    fn entries_go_where_each_batch_element_says() {
        let (cache, update) = (ints(&[2, 3, 1], &[0; 6]), ints(&[2, 2, 1], &[1, 2, 3, 4]));
        let results = |mode, starts: &[i64]| {
            let op = TensorScatter { mode, ..TensorScatter::default() };
            run(op, &[cache.clone(), update.clone(), list(starts)])
                .map(|results| results[0].to_i64().expect("integers"))
        };
        assert_eq!(results(Wrapping::Linear, &[0, 1]), Ok(vec![1, 2, 0, 0, 3, 4]));
        assert_eq!(results(Wrapping::Circular, &[2, 4]), Ok(vec![2, 0, 1, 0, 3, 4]));
        assert!(results(Wrapping::Linear, &[0, 2]).is_err());
        assert!(results(Wrapping::Circular, &[0, -1]).is_err());
        assert_eq!(run_one(TensorScatter::default(), &[cache, update]).1, [1, 2, 0, 3, 4, 0]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |axis, cache: &[usize], update: &[usize]| {
            let op = TensorScatter { axis, mode: Wrapping::Circular };
            run(op, &[floats(cache), floats(update)]).is_err()
        };
        assert!(!refused(1, &[2, 3], &[2, 3]));
        assert!(refused(1, &[2, 3], &[2, 4]));
        assert!(refused(1, &[2, 3], &[1, 3]));
        assert!(refused(0, &[2, 3], &[2, 3]));
    }
}
