//! The arithmetic, one block of queries of one head at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::keys::{Keys, numbers};
use super::{Attention, K, PAST_KEY, PAST_VALUE, Q, V, present};
use crate::dtype::DType;
use crate::kernels::KernelError;
use crate::kernels::matmul::{Element as Factor, Store, Threads, multiply};
use crate::kernels::matrix::{Matrix, MatrixMut};
use crate::kernels::real::Real;
use crate::ops::{EvalError, Inputs, Results, sizes_of};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;

/// Queries whose scores are held at a time. A fixed number, so that sums do not depend on the number of threads.
pub(super) const BLOCK: usize = 128;

/// The sizes of an attention.
#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    heads: usize,
    queries: usize,
    kv_heads: usize,
    /// Keys in all.
    keys: usize,
    size: usize,
    value_size: usize,
    /// Where query `i` of sample `b` and head `h` starts: `b`, `h` and `i` times these.
    q_strides: [usize; 3],
}

/// What all blocks read.
struct Problem<'a, T: Clone> {
    attention: &'a Attention,
    geometry: Geometry,
    keys: &'a Keys<'a, T>,
    q: &'a [T],
    /// `[batch, kv_heads, keys, size]`.
    k: &'a [T],
    v: &'a [T],
    scale: T,
}

/// A block of queries of one head, and where its results go.
struct Block<'r, T> {
    batch: usize,
    head: usize,
    queries: Range<usize>,
    /// `[queries of the block, value size]`.
    y: &'r mut [T],
    /// `[queries of the block, keys]`; empty when the scores are not asked for.
    scores: &'r mut [T],
}

impl Geometry {
    /// The sizes for queries of `q` and all keys and values of the sizes given.
    fn new(attention: &Attention, q: &[usize], keys: &[usize], values: &[usize]) -> Self {
        let size = keys[3];
        let (heads, queries, q_strides) = if let [_, queries, _] = q {
            let heads = attention.q_num_heads.unwrap_or(1) as usize;
            (heads, *queries, [queries * heads * size, size, heads * size])
        } else {
            (q[1], q[2], [q[1] * q[2] * size, q[2] * size, size])
        };
        let (batch, kv_heads, value_size) = (q[0], keys[1], values[3]);
        Self { batch, heads, queries, kv_heads, keys: keys[2], size, value_size, q_strides }
    }

    /// Sizes of the scores.
    fn scores(&self) -> [usize; 4] {
        [self.batch, self.heads, self.queries, self.keys]
    }

    /// The number of the matrix of keys that `head` of sample `batch` reads.
    fn kv_place(&self, batch: usize, head: usize) -> usize {
        batch * self.kv_heads + head / (self.heads / self.kv_heads)
    }
}

impl Attention {
    pub(super) fn evaluate<T>(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError>
    where
        T: Real + Factor<Sum = T>,
    {
        let (key_sizes, value_sizes) = (sizes_of(&types[1])?, sizes_of(&types[2])?);
        let k = present(operands.tensor(K)?, operands.optional(PAST_KEY), &key_sizes)?;
        let v = present(operands.tensor(V)?, operands.optional(PAST_VALUE), &value_sizes)?;
        let q = operands.tensor(Q)?;
        let geometry = Geometry::new(self, q.sizes(), &key_sizes, &value_sizes);
        let Geometry { batch, heads, queries, size, value_size, .. } = geometry;
        let default_scale = || 1.0 / (size as f64).sqrt();
        let problem = Problem {
            attention: self,
            geometry,
            keys: &Keys::new(self, operands, geometry.scores())?,
            q: &q.to_compute::<T>()?,
            k: &numbers::<T>(&k)?,
            v: &numbers::<T>(&v)?,
            scale: T::from_f64(self.scale.map_or_else(default_scale, |scale| f64::from(scale.get()))),
        };
        let kept = if self.with_qk { geometry.keys } else { 0 };
        let mut y = vec![T::default(); batch * heads * queries * value_size];
        let mut scores = vec![T::default(); batch * heads * queries * kept];
        let blocks = blocks(geometry, &mut y, (&mut scores, kept));
        blocks.into_par_iter().try_for_each(|block| problem.solve(block))?;
        if q.rank() == 3 {
            y = swap_inner(&y, [batch, heads, queries, value_size]);
        }
        let mut results = Results::new();
        results.push(Tensor::from_compute(types[0].dtype, &sizes_of(&types[0])?, y)?);
        results.extend([k, v]);
        if self.with_qk {
            results.push(Tensor::from_compute(types[3].dtype, &geometry.scores(), scores)?);
        }
        Ok(results)
    }

    /// `softcap * tanh(score / softcap)`.
    fn cap<T: Real>(&self, scores: &mut [T]) {
        let cap = f64::from(self.softcap.get());
        if cap > 0.0 {
            for score in scores {
                *score = T::from_f64(cap * T::tanh_of(score.to_f64() / cap));
            }
        }
    }
}

impl<T: Real + Factor<Sum = T>> Problem<'_, T> {
    fn solve(&self, block: Block<'_, T>) -> Result<(), KernelError> {
        let Block { batch, head, queries, y, scores: kept } = block;
        let Geometry { keys, value_size, .. } = self.geometry;
        let rows = queries.len();
        let keep = |mode: u64, scores: &[T], kept: &mut [T]| {
            if self.attention.qk_matmul_output_mode == mode && !kept.is_empty() {
                kept.copy_from_slice(scores);
            }
        };
        let mut scores = self.products(batch, head, &queries)?;
        keep(0, &scores, kept);
        self.attention.cap(&mut scores);
        keep(1, &scores, kept);
        let mut readable = vec![false; rows];
        for (row, readable) in readable.iter_mut().enumerate() {
            let scores = &mut scores[row * keys..][..keys];
            *readable = self.keys.add_bias(scores, [batch, head, queries.start + row]);
        }
        keep(2, &scores, kept);
        for (row, readable) in readable.into_iter().enumerate() {
            let scores = &mut scores[row * keys..][..keys];
            if readable {
                softmax(scores, self.attention.softmax_precision);
            } else {
                scores.fill(T::default());
            }
        }
        keep(3, &scores, kept);
        let start = self.geometry.kv_place(batch, head) * keys * value_size;
        let weights = Matrix::row_major(&scores, rows, keys)?;
        let values = Matrix::row_major(&self.v[start..], keys, value_size)?;
        let mut y = MatrixMut::row_major(y, rows, value_size)?;
        multiply(weights, values, &mut y, Store::Replace, Threads::One)
    }

    /// The scaled products of some queries of a head with all its keys.
    fn products(&self, batch: usize, head: usize, queries: &Range<usize>) -> Result<Vec<T>, KernelError> {
        let Geometry { keys, size, q_strides: [batch_stride, head_stride, stride], .. } = self.geometry;
        let rows = queries.len();
        let start = batch * batch_stride + head * head_stride + queries.start * stride;
        let queries = Matrix::new(&self.q[start..], [rows, size], [stride, 1])?;
        let scaled = queries.gather(0..rows, 0..size, |value| Number::mul(value, self.scale));
        let queries = Matrix::row_major(&scaled, rows, size)?;
        let start = self.geometry.kv_place(batch, head) * keys * size;
        let all_keys = Matrix::row_major(&self.k[start..], keys, size)?.transposed();
        let mut products = vec![T::default(); rows * keys];
        let mut target = MatrixMut::row_major(&mut products, rows, keys)?;
        multiply(queries, all_keys, &mut target, Store::Replace, Threads::One)?;
        Ok(products)
    }
}

/// The keys or values of `[batch, heads, all keys, size]`, the cached ones first. `in_rows` says that the new ones are
/// `[batch, keys, heads * size]`.
pub(super) fn join<T: Number>(new: &[T], in_rows: bool, past: Option<&[T]>, sizes: &[usize]) -> Vec<T> {
    let [batch, heads, count, size] = [sizes[0], sizes[1], sizes[2], sizes[3]];
    let old = past.map_or(0, |past| past.len().checked_div(batch * heads * size).unwrap_or(0));
    let fresh = count - old;
    let mut joined = Vec::with_capacity(batch * heads * count * size);
    for place in 0..batch * heads {
        joined.extend_from_slice(&past.unwrap_or_default()[place * old * size..][..old * size]);
        if !in_rows {
            joined.extend_from_slice(&new[place * fresh * size..][..fresh * size]);
            continue;
        }
        let (sample, head) = (place / heads, place % heads);
        for key in 0..fresh {
            let start = ((sample * fresh + key) * heads + head) * size;
            joined.extend_from_slice(&new[start..][..size]);
        }
    }
    joined
}

/// Cuts the results into blocks of at most [`BLOCK`] queries of one head; `kept` scores are kept for each query.
fn blocks<'r, T>(
    geometry: Geometry,
    mut y: &'r mut [T],
    (mut scores, kept): (&'r mut [T], usize),
) -> Vec<Block<'r, T>> {
    let Geometry { batch, heads, queries, value_size, .. } = geometry;
    let mut blocks = Vec::new();
    for place in 0..batch * heads {
        for first in (0..queries).step_by(BLOCK) {
            let queries = first..queries.min(first + BLOCK);
            let (own_y, other_y) = y.split_at_mut(queries.len() * value_size);
            let (own_scores, other_scores) = scores.split_at_mut(queries.len() * kept);
            (y, scores) = (other_y, other_scores);
            let (batch, head) = (place / heads, place % heads);
            blocks.push(Block { batch, head, queries, y: own_y, scores: own_scores });
        }
    }
    blocks
}

/// `[a, b, c, d]` as `[a, c, b, d]`.
fn swap_inner<T: Copy>(values: &[T], [a, b, c, d]: [usize; 4]) -> Vec<T> {
    let mut swapped = Vec::with_capacity(values.len());
    for outer in 0..a {
        for row in 0..c {
            for column in 0..b {
                swapped.extend_from_slice(&values[((outer * b + column) * c + row) * d..][..d]);
            }
        }
    }
    swapped
}

/// Softmax of one row, of which at least one score is not minus infinity, unless that is what rounding made of it.
fn softmax<T: Real>(scores: &mut [T], precision: Option<DType>) {
    round_to(scores, precision);
    let highest = scores.iter().copied().fold(T::LOWEST, |highest, score| if score > highest { score } else { highest });
    if highest == T::LOWEST && !scores.iter().any(|score| score.is_nan()) {
        scores.fill(T::default());
        return;
    }
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = T::from_f64(T::exp_of(score.sub(highest).to_f64()));
        sum += score.to_f64();
    }
    let factor = T::from_f64(1.0 / sum);
    for score in scores.iter_mut() {
        *score = Number::mul(*score, factor);
    }
    round_to(scores, precision);
}

/// Rounds to the 16-bit type that the softmax is asked to be computed in; wider ones hold the scores as they are.
fn round_to<T: Number>(scores: &mut [T], precision: Option<DType>) {
    let round: fn(f64) -> f64 = match precision {
        Some(DType::F16) => |score| half::f16::from_f64(score).to_f64(),
        Some(DType::BF16) => |score| half::bf16::from_f64(score).to_f64(),
        _ => return,
    };
    for score in scores {
        *score = T::from_f64(round(score.to_f64()));
    }
}
