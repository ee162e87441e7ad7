//! `attention`: scaled dot product attention of queries to keys and values, head by head.
//!
//! `y = softmax(cap(scale * q . k^T) + bias) . v`, where `cap(s) = softcap * tanh(s / softcap)` and the bias is minus
//! infinity for keys that a query may not read. A query that may read no key gives zeros.
//!
//! - `q` is `[batch, q_heads, queries, size]`; `k` and `v` are `[batch, kv_heads, keys, size]`, where the size of `v`
//!   may be another one. `kv_heads` divides `q_heads`, and neighboring query heads share one of them. Or all three are
//!   `[batch, length, heads * size]`, and so is `y`.
//! - `past_key` and `past_value`, `[batch, kv_heads, past, size]`, are put before the new keys and values. The second
//!   and third result are the keys and values with them.
//! - `attn_mask` stretches to `[batch, q_heads, queries, all keys]`: truth values say which keys may be read, numbers
//!   are added to the scores. Keys beyond its last axis may not be read.
//! - `nonpad_kv_seqlen`, `[batch]`: how many of the keys are not padding.
//!
//! Query `i` stands at position `i + past`, or, with `nonpad_kv_seqlen`, such that the last query stands at the last
//! key that is not padding. `is_causal` and the windows count from there.
//!
//! Scores are computed in f32 (f64 for f64) and rounded once, after the product with `v`, unless `softmax_precision`
//! names a narrower type.

mod heads;
mod keys;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, optional};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::{Dim, DimExpr, Shape, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attention {
    /// Whether a query reads no key at a position after its own.
    pub is_causal: bool,
    /// Heads of `q`, where operands have three axes.
    pub q_num_heads: Option<u64>,
    /// Heads of `k` and `v`, where operands have three axes.
    pub kv_num_heads: Option<u64>,
    /// What products of queries and keys are multiplied by; absent means `1 / sqrt(size)`.
    pub scale: Option<F32Bits>,
    /// Bound that scores approach; 0 means none.
    pub softcap: F32Bits,
    /// The type that scores are rounded to before the softmax.
    pub softmax_precision: Option<DType>,
    /// How many positions before its own a query reads; -1 means all.
    pub left_window_size: i64,
    /// How many positions after its own a query reads; -1 means all.
    pub right_window_size: i64,
    /// Which scores the fourth result holds: 0 the products, 1 capped, 2 with the bias, 3 after the softmax.
    pub qk_matmul_output_mode: u64,
    /// Whether there is a fourth result, `[batch, q_heads, queries, all keys]`. It can be much larger than the others.
    pub with_qk: bool,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            is_causal: false,
            q_num_heads: None,
            kv_num_heads: None,
            scale: None,
            softcap: 0.0.into(),
            softmax_precision: None,
            left_window_size: -1,
            right_window_size: -1,
            qk_matmul_output_mode: 0,
            with_qk: false,
        }
    }
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const UNPADDED: usize = 6;

impl OpDef for Attention {
    const NAME: &'static str = "attention";
    const OPERANDS: &'static [Operand] = &[
        one("q"),
        one("k"),
        one("v"),
        optional("attn_mask"),
        optional("past_key"),
        optional("past_value"),
        optional("nonpad_kv_seqlen"),
    ];
    const RESULTS: &'static [&'static str] = &["y", "present_key", "present_value", "qk_matmul_output"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("is_causal", &mut self.is_causal)?;
        visitor.attr("q_num_heads", &mut self.q_num_heads)?;
        visitor.attr("kv_num_heads", &mut self.kv_num_heads)?;
        visitor.attr("scale", &mut self.scale)?;
        visitor.attr("softcap", &mut self.softcap)?;
        visitor.attr("softmax_precision", &mut self.softmax_precision)?;
        visitor.attr("left_window_size", &mut self.left_window_size)?;
        visitor.attr("right_window_size", &mut self.right_window_size)?;
        visitor.attr("qk_matmul_output_mode", &mut self.qk_matmul_output_mode)?;
        visitor.attr("with_qk", &mut self.with_qk)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.check_attributes()?;
        let (q, k, v) = (operands.float(Q)?, operands.same_dtype(K, Q)?, operands.float(V)?);
        let [queries, keys, values] = self.split_heads(operands)?;
        check_fit(operands, &queries, &keys, &values)?;
        let past = past_length(operands, &keys, &values)?;
        if operands.has(UNPADDED) {
            operands.one_of(UNPADDED, &[DType::I64])?;
            operands.same_dim(UNPADDED, &operands.ranked(UNPADDED, 1)?.shape[0], &queries.batch)?;
        }
        let all_keys = match past {
            Some(past) => operands.dim(K, keys.length.expr().add(&past.expr()))?,
            None => keys.length.clone(),
        };
        check_mask(operands, &queries, &all_keys)?;
        let with_heads = |q: &Heads, length: &Dim, size: &Dim| {
            Shape::from_iter([&q.batch, &q.count, length, size].map(Clone::clone))
        };
        let y = if q.rank() == 4 {
            with_heads(&queries, &queries.length, &values.size)
        } else {
            let width = operands.dim(V, queries.count.expr().mul(&values.size.expr()))?;
            Shape::from_iter([queries.batch.clone(), queries.length.clone(), width])
        };
        let mut types = Types::new();
        types.push(TensorType::new(q.dtype, y));
        types.push(TensorType::new(k.dtype, with_heads(&keys, &all_keys, &keys.size)));
        types.push(TensorType::new(v.dtype, with_heads(&values, &all_keys, &values.size)));
        if self.with_qk {
            types.push(TensorType::new(q.dtype, with_heads(&queries, &queries.length, &all_keys)));
        }
        Ok(types)
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands, types))
    }
}

/// The sizes of queries, keys or values, seen with an axis for heads.
struct Heads {
    batch: Dim,
    count: Dim,
    length: Dim,
    size: Dim,
}

impl Attention {
    fn check_attributes(&self) -> Result<(), InferError> {
        let wrong = |attr, found: String, expected: &str| {
            Err(InferError::Attribute { attr, found, expected: expected.to_owned() })
        };
        for (attr, window) in
            [("left_window_size", self.left_window_size), ("right_window_size", self.right_window_size)]
        {
            if window < -1 {
                return wrong(attr, window.to_string(), "-1, or a number that is not negative");
            }
        }
        if self.qk_matmul_output_mode > 3 {
            return wrong("qk_matmul_output_mode", self.qk_matmul_output_mode.to_string(), "0, 1, 2 or 3");
        }
        match self.softmax_precision {
            None | Some(DType::F32 | DType::F64 | DType::F16 | DType::BF16) => Ok(()),
            Some(other) => wrong("softmax_precision", other.to_string(), "f32, f16, f64 or bf16"),
        }
    }

    /// The sizes of `q`, `k` and `v` with an axis for heads.
    fn split_heads(&self, operands: &Operands<'_>) -> Result<[Heads; 3], InferError> {
        let rank = operands.ty(Q)?.rank();
        if rank != 3 && rank != 4 {
            return Err(operands.mismatch(Q, "3 or 4 axes"));
        }
        let counts = [(Q, self.q_num_heads), (K, self.kv_num_heads), (V, self.kv_num_heads)];
        let split = |(index, count): (usize, Option<u64>)| {
            let shape = &operands.ranked(index, rank)?.shape;
            let (batch, last) = (shape[0].clone(), &shape[rank - 1]);
            if rank == 4 {
                let heads = match count {
                    Some(count) => operands.same_dim(index, &shape[1], &Dim::Known(count))?,
                    None => shape[1].clone(),
                };
                return Ok(Heads { batch, count: heads, length: shape[2].clone(), size: last.clone() });
            }
            let attr = if index == Q { "q_num_heads" } else { "kv_num_heads" };
            let heads = count.filter(|count| (1..1 << 32).contains(count)).ok_or_else(|| {
                let expected = "a positive number of heads, as operands have three axes".to_owned();
                InferError::Attribute { attr, found: format!("{count:?}"), expected }
            })?;
            let size = last.expr().div_exact(&DimExpr::constant(heads.cast_signed()));
            if size.is_none() && last.known().is_some() {
                return Err(operands.mismatch(index, format!("a last axis of {heads} heads")));
            }
            let size = operands.dim(index, size)?;
            Ok(Heads { batch, count: Dim::Known(heads), length: shape[1].clone(), size })
        };
        let [q, k, v] = counts.map(split);
        Ok([q?, k?, v?])
    }
}

/// Checks that queries, keys and values belong together.
fn check_fit(operands: &Operands<'_>, q: &Heads, k: &Heads, v: &Heads) -> Result<(), InferError> {
    operands.same_dim(K, &k.batch, &q.batch)?;
    operands.same_dim(V, &v.batch, &q.batch)?;
    operands.same_dim(K, &k.size, &q.size)?;
    operands.same_dim(V, &v.count, &k.count)?;
    operands.same_dim(V, &v.length, &k.length)?;
    match (q.count.known(), k.count.known()) {
        (Some(queries), Some(keys)) if queries > 0 && queries.checked_rem(keys) != Some(0) => {
            Err(operands.mismatch(K, format!("a number of heads that divides the {queries} of `q`")))
        }
        _ => Ok(()),
    }
}

/// How many keys are cached, when any are.
fn past_length(operands: &Operands<'_>, k: &Heads, v: &Heads) -> Result<Option<Dim>, InferError> {
    match (operands.has(PAST_KEY), operands.has(PAST_VALUE)) {
        (false, false) => return Ok(None),
        (true, true) if !operands.has(UNPADDED) => {}
        (true, true) => return Err(operands.mismatch(UNPADDED, "nothing where there are past keys")),
        _ => return Err(operands.mismatch(PAST_KEY, "past keys and past values, or neither")),
    }
    let mut length = None;
    for (past, new, heads) in [(PAST_KEY, K, k), (PAST_VALUE, V, v)] {
        let shape = &operands.ranked(past, 4)?.shape;
        operands.same_dtype(past, new)?;
        operands.same_dim(past, &shape[0], &heads.batch)?;
        operands.same_dim(past, &shape[1], &heads.count)?;
        operands.same_dim(past, &shape[3], &heads.size)?;
        length = Some(match length {
            Some(other) => operands.same_dim(past, &shape[2], &other)?,
            None => shape[2].clone(),
        });
    }
    Ok(length)
}

/// Checks that the mask stretches to the scores; its last axis may be shorter.
fn check_mask(operands: &Operands<'_>, q: &Heads, keys: &Dim) -> Result<(), InferError> {
    let Some(mask) = operands.optional(MASK) else { return Ok(()) };
    let scores = Shape::from_iter([&q.batch, &q.count, &q.length, keys].map(Clone::clone));
    let fits = |(from_end, (own, wanted)): (usize, (&Dim, &Dim))| match (own.known(), wanted.known()) {
        (Some(own), Some(wanted)) if from_end == 0 => own <= wanted,
        (Some(own), Some(wanted)) => own == 1 || own == wanted,
        _ => true,
    };
    let mut pairs = mask.shape.iter().rev().zip(scores.iter().rev()).enumerate();
    if (1..=4).contains(&mask.rank()) && pairs.all(fits) {
        return Ok(());
    }
    Err(operands.mismatch(MASK, format!("sizes that stretch to {scores}, or fewer along the last axis")))
}

/// The keys or values with the cached ones before them, `[batch, heads, all keys, size]`.
fn present(new: &Tensor, past: Option<&Tensor>, sizes: &[usize]) -> Result<Tensor, EvalError> {
    if new.rank() == 4 && past.is_none() {
        return Ok(new.clone());
    }
    Ok(with_float!(new.dtype(), T => {
        let values = new.to_compute::<T>()?;
        let old = past.map(Tensor::to_compute::<T>).transpose()?;
        let joined = heads::join(&values, new.rank() == 3, old.as_deref(), sizes);
        Tensor::from_compute(new.dtype(), sizes, joined)?
    }))
}

#[cfg(test)]
mod tests;
