//! Which keys each query may read, and what is added to its scores.

use std::borrow::Cow;
use std::ops::Range;

use super::{Attention, MASK, PAST_KEY, UNPADDED};
use crate::dtype::DType;
use crate::kernels::broadcast::broadcast_strides;
use crate::ops::{EvalError, Inputs};
use crate::tensor::{Number, Sizes, Tensor, TensorError};

/// The mask operand, read as `[batch, heads, queries, up to all keys]`.
enum Mask<'a, T: Clone> {
    None,
    /// Not 0 where a key may be read.
    Allowed(Cow<'a, [u8]>, Rows),
    /// Numbers to add.
    Bias(Cow<'a, [T]>, Rows),
}

/// Where the rows of a mask lie.
struct Rows {
    strides: [usize; 3],
    length: usize,
}

/// The rules by which keys are hidden from queries.
pub(super) struct Keys<'a, T: Clone> {
    /// Keys in all.
    pub(super) count: usize,
    mask: Mask<'a, T>,
    /// For each sample, the position of its first query; or one for all.
    positions: Vec<i64>,
    /// For each sample, how many keys are not padding; empty when there is no padding.
    unpadded: Vec<i64>,
    causal: bool,
    left: i64,
    right: i64,
}

impl<'a, T: Number> Keys<'a, T> {
    /// The rules of `attention` for scores of `sizes`: batch, heads, queries, keys.
    pub(super) fn new(
        attention: &Attention,
        operands: &Inputs<'a>,
        sizes: [usize; 4],
    ) -> Result<Self, EvalError> {
        let queries = sizes[2] as i64;
        let unpadded = operands.optional(UNPADDED).map_or(Ok(Vec::new()), Tensor::to_i64)?;
        let past = operands.optional(PAST_KEY).map_or(0, |past| past.sizes()[2] as i64);
        let positions = if unpadded.is_empty() {
            vec![past; sizes[0]]
        } else {
            unpadded.iter().map(|count| count.saturating_sub(queries)).collect()
        };
        Ok(Self {
            count: sizes[3],
            mask: Mask::new(operands.optional(MASK), sizes)?,
            positions,
            unpadded,
            causal: attention.is_causal,
            left: attention.left_window_size,
            right: attention.right_window_size,
        })
    }

    /// Adds the bias to the scores of one query; `false` when it may read no key.
    pub(super) fn add_bias(&self, scores: &mut [T], [batch, head, query]: [usize; 3]) -> bool {
        let range = self.range(batch, query);
        let mut readable = false;
        let mask = self.mask.row([batch, head, query]);
        for (key, score) in scores.iter_mut().enumerate() {
            let bias = if range.contains(&key) { mask.at(key) } else { T::LOWEST };
            if bias == T::LOWEST {
                *score = T::LOWEST;
            } else {
                *score = score.add(bias);
                readable = true;
            }
        }
        readable
    }

    /// The keys that position, windows and padding leave to a query.
    fn range(&self, batch: usize, query: usize) -> Range<usize> {
        let position = self.positions[batch].saturating_add(query as i64);
        let mut end = self.unpadded.get(batch).copied().unwrap_or(i64::MAX);
        if self.causal {
            end = end.min(position.saturating_add(1));
        }
        if self.right >= 0 {
            end = end.min(position.saturating_add(self.right).saturating_add(1));
        }
        let start = if self.left >= 0 { position.saturating_sub(self.left) } else { 0 };
        let clamp = |key: i64| usize::try_from(key).unwrap_or(0).min(self.count);
        clamp(start)..clamp(end)
    }
}

/// One row of a mask.
enum MaskRow<'m, T> {
    None,
    Allowed(&'m [u8]),
    Bias(&'m [T]),
}

impl<T: Number> MaskRow<'_, T> {
    /// What is added to the score of `key`.
    fn at(&self, key: usize) -> T {
        match self {
            Self::None => T::default(),
            Self::Allowed(row) => match row.get(key) {
                Some(allowed) if *allowed != 0 => T::default(),
                _ => T::LOWEST,
            },
            Self::Bias(row) => row.get(key).copied().unwrap_or(T::LOWEST),
        }
    }
}

impl<'a, T: Number> Mask<'a, T> {
    fn new(mask: Option<&'a Tensor>, sizes: [usize; 4]) -> Result<Self, EvalError> {
        let Some(mask) = mask else { return Ok(Self::None) };
        let length = mask.sizes().last().copied().unwrap_or(0);
        // All but the last axis stretch.
        let whole: Sizes = sizes[..3].iter().copied().chain([length]).collect();
        let strides = broadcast_strides(mask.sizes(), &whole);
        let rows = Rows { strides: [strides[0], strides[1], strides[2]], length };
        Ok(if mask.dtype() == DType::Bool {
            Self::Allowed(mask.to_compute::<u8>()?, rows)
        } else {
            Self::Bias(numbers(mask)?, rows)
        })
    }

    fn row(&self, at: [usize; 3]) -> MaskRow<'_, T> {
        match self {
            Self::None => MaskRow::None,
            Self::Allowed(values, rows) => MaskRow::Allowed(&values[rows.at(at)]),
            Self::Bias(values, rows) => MaskRow::Bias(&values[rows.at(at)]),
        }
    }
}

impl Rows {
    fn at(&self, index: [usize; 3]) -> Range<usize> {
        let start: usize = self.strides.iter().zip(index).map(|(stride, index)| stride * index).sum();
        start..start + self.length
    }
}

/// The elements of `tensor`, of any element type, as `T`.
pub(super) fn numbers<T: Number>(tensor: &Tensor) -> Result<Cow<'_, [T]>, TensorError> {
    match tensor.to_compute::<T>() {
        Ok(values) => Ok(values),
        Err(_) => Ok(tensor.to_f64()?.into_iter().map(T::from_f64).collect()),
    }
}
