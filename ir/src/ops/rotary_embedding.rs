//! `rotary_embedding`: turns pairs of elements of each head by angles that depend on the position.
//!
//! `(a, b)` becomes `(a * cos - b * sin, a * sin + b * cos)`. The first `rotary_embedding_dim` elements of a head are
//! turned: element `i` is paired with the one half of them further on, or, interleaved, with its neighbor. The others
//! stay.
//!
//! - `x` is `[batch, heads, length, size]`, or `[batch, length, heads * size]`.
//! - `cos_cache` and `sin_cache` are `[batch, length, pairs]`, where a batch of 1 serves all; or, with `position_ids`,
//!   `[positions, pairs]`.
//! - `position_ids` is `[batch, length]`: the row of the caches for each token.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RotaryEmbedding {
    /// Whether pairs are neighbors.
    pub interleaved: bool,
    /// How many elements of each head are turned, an even number; 0 means all.
    pub rotary_embedding_dim: u64,
    /// Number of heads, read where `x` has three axes.
    pub num_heads: Option<u64>,
}

const COS: usize = 1;
const SIN: usize = 2;
const POSITIONS: usize = 3;

impl OpDef for RotaryEmbedding {
    const NAME: &'static str = "rotary_embedding";
    const OPERANDS: &'static [Operand] =
        &[one("x"), one("cos_cache"), one("sin_cache"), optional("position_ids")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("interleaved", &mut self.interleaved)?;
        visitor.attr("rotary_embedding_dim", &mut self.rotary_embedding_dim)?;
        visitor.attr("num_heads", &mut self.num_heads)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        if x.rank() != 3 && x.rank() != 4 {
            return Err(operands.mismatch(0, "3 or 4 axes"));
        }
        let length = &x.shape[x.rank() - 2];
        let pairs = self.pairs(operands)?;
        for cache in [COS, SIN] {
            let ty = operands.same_dtype(cache, 0)?;
            let shape = &ty.shape;
            operands.ranked(cache, if operands.has(POSITIONS) { 2 } else { 3 })?;
            operands.same_dim(cache, &shape[shape.rank() - 1], &pairs)?;
            if !operands.has(POSITIONS) {
                operands.same_dim(cache, &shape[1], length)?;
                if shape[0] != Dim::Known(1) {
                    operands.same_dim(cache, &shape[0], &x.shape[0])?;
                }
            }
        }
        operands.same_dim(SIN, &operands.ty(SIN)?.shape[0], &operands.ty(COS)?.shape[0])?;
        if operands.has(POSITIONS) {
            let shape = &operands.one_of(POSITIONS, &[DType::I64])?.shape;
            operands.ranked(POSITIONS, 2)?;
            operands.same_dim(POSITIONS, &shape[0], &x.shape[0])?;
            operands.same_dim(POSITIONS, &shape[1], length)?;
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands))
    }
}

impl RotaryEmbedding {
    /// The number of pairs in a head.
    fn pairs(&self, operands: &Operands<'_>) -> Result<Dim, InferError> {
        let shape = &operands.ty(0)?.shape;
        let last = shape[shape.rank() - 1].known();
        let wrong = |attr, found: u64, expected: String| {
            Err(InferError::Attribute { attr, found: found.to_string(), expected })
        };
        let size = if shape.rank() == 4 {
            last
        } else {
            let heads = self.num_heads.unwrap_or(0);
            if heads == 0 || last.is_some_and(|last| last % heads != 0) {
                return wrong("num_heads", heads, "a number that divides the last of three axes".to_owned());
            }
            last.map(|last| last / heads)
        };
        let turned = match (self.rotary_embedding_dim, size) {
            (0, None) => return Ok(operands.fresh()),
            (0, Some(size)) => size,
            (turned, _) => turned,
        };
        if turned % 2 != 0 || size.is_some_and(|size| turned > size) {
            let heads = size.map_or_else(|| "unknown size".to_owned(), |size| format!("size {size}"));
            return wrong("rotary_embedding_dim", turned, format!("an even part of heads of {heads}"));
        }
        Ok(Dim::Known(turned / 2))
    }

    fn evaluate<T: Number>(&self, operands: &Inputs<'_>) -> Result<Results, EvalError> {
        let (x, cos, sin) = (operands.tensor(0)?, operands.tensor(COS)?, operands.tensor(SIN)?);
        // Heads lie before the tokens, or between them.
        let (outer, length, inner) = match *x.sizes() {
            [_, heads, length, _] => (heads, length, 1),
            [_, length, _] => (1, length, self.num_heads.unwrap_or(1) as usize),
            _ => return Err(EvalError::Unsupported(format!("{} axes", x.rank()))),
        };
        let rows = match operands.optional(POSITIONS) {
            Some(positions) => rows_at(positions, cos.sizes()[0])?,
            None => (0..x.sizes()[0] * length).map(|row| if cos.sizes()[0] == 1 { row % length } else { row }).collect(),
        };
        let pairs = cos.sizes()[cos.rank() - 1];
        let (cos, sin) = (cos.to_compute::<T>()?, sin.to_compute::<T>()?);
        let mut values = x.to_compute::<T>()?.into_owned();
        let size = values.len().checked_div(rows.len() * outer * inner).unwrap_or(0).max(1);
        for (place, head) in values.chunks_exact_mut(size).enumerate() {
            let token = place / inner % length;
            let sample = place / (inner * length * outer);
            let row = rows[sample * length + token] * pairs;
            self.turn(&mut head[..2 * pairs], &cos[row..row + pairs], &sin[row..row + pairs]);
        }
        Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), values)?))
    }

    fn turn<T: Number>(&self, head: &mut [T], cos: &[T], sin: &[T]) {
        let (step, apart) = if self.interleaved { (2, 1) } else { (1, cos.len()) };
        for (pair, (cos, sin)) in cos.iter().zip(sin).enumerate() {
            let (first, second) = (pair * step, pair * step + apart);
            let (a, b) = (head[first], head[second]);
            head[first] = a.mul(*cos).sub(b.mul(*sin));
            head[second] = a.mul(*sin).add(b.mul(*cos));
        }
    }
}

/// The rows that `positions` names, of `count`.
fn rows_at(positions: &Tensor, count: usize) -> Result<Vec<usize>, EvalError> {
    let row = |position: i64| {
        usize::try_from(position).ok().filter(|row| *row < count).ok_or_else(|| EvalError::Value {
            operand: "position_ids",
            found: position.to_string(),
            expected: format!("a row of the caches, from 0 to {}", count as i64 - 1),
        })
    };
    positions.to_i64()?.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::infer_run_time;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};

    /// Angles of 0 and of a quarter turn.
    fn caches() -> (Tensor, Tensor) {
        (tensor(&[1, 1, 2], &[1.0, 0.0]), tensor(&[1, 1, 2], &[0.0, 1.0]))
    }

    #[test]
    fn pairs_are_halves_apart_or_neighbors() {
        let x = tensor(&[1, 1, 1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let (cos, sin) = caches();
        let turned = |interleaved| {
            let op = RotaryEmbedding { interleaved, rotary_embedding_dim: 4, num_heads: None };
            evaluate(&op.into(), &[&x, &cos, &sin]).remove(0)
        };
        assert_eq!(turned(false), tensor(&[1, 1, 1, 5], &[1.0, -4.0, 3.0, 2.0, 5.0]));
        assert_eq!(turned(true), tensor(&[1, 1, 1, 5], &[1.0, 2.0, -4.0, 3.0, 5.0]));
    }

    #[test]
    fn positions_pick_rows_for_every_head() {
        let (cos, sin) = (tensor(&[2, 1], &[1.0, 0.0]), tensor(&[2, 1], &[0.0, 1.0]));
        let positions = Tensor::from_vec(&[1, 2], vec![1i64, 0]).expect("two elements");
        let (heads_first, tokens_first) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
        let op = RotaryEmbedding { num_heads: Some(2), ..RotaryEmbedding::default() };
        let y = evaluate(&op.clone().into(), &[&tensor(&[1, 2, 2, 2], &heads_first), &cos, &sin, &positions]);
        assert_eq!(y[0], tensor(&[1, 2, 2, 2], &[-2.0, 1.0, 3.0, 4.0, -6.0, 5.0, 7.0, 8.0]));
        let y = evaluate(&op.into(), &[&tensor(&[1, 2, 4], &tokens_first), &cos, &sin, &positions]);
        assert_eq!(y[0], tensor(&[1, 2, 4], &[-2.0, 1.0, -6.0, 5.0, 3.0, 4.0, 7.0, 8.0]));
    }

    #[test]
    fn bad_positions_and_odd_heads_are_refused() {
        let (cos, sin) = (tensor(&[1, 1], &[1.0]), tensor(&[1, 1], &[0.0]));
        let x = tensor(&[1, 1, 1, 2], &[0.0; 2]);
        for position in [-1, 1, i64::MAX] {
            let positions = Tensor::from_vec(&[1, 1], vec![position]).expect("one element");
            let op = Op::from(RotaryEmbedding::default());
            let tensors = [x.clone(), cos.clone(), sin.clone(), positions].map(Some);
            let types = infer_run_time(&op, &tensors).expect("the types fit");
            let error = op.def().eval(&Inputs::new(op.def().operands(), &tensors), &types).expect_err("no such row");
            assert!(error.to_string().contains("position_ids"), "{error}");
        }
        let odd = RotaryEmbedding { rotary_embedding_dim: 1, ..RotaryEmbedding::default() };
        let positions = Tensor::from_vec(&[1, 1], vec![0i64]).expect("one element");
        assert!(refused(&odd.into(), &[&x, &cos, &sin, &positions]).contains("even part"));
        let flat = x.reshaped(&[1, 1, 2]).expect("same");
        assert!(refused(&RotaryEmbedding::default().into(), &[&flat, &cos, &sin, &positions]).contains("num_heads"));
    }
}
