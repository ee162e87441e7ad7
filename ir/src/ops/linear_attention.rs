//! `linear_attention`: attention as a recurrence over a matrix of state for each head, instead of a softmax.
//!
//! For each token `t`, with the state `s` of a head, `[key size, value size]`:
//!
//! - `s = exp(decay[t]) * s`, with the gated rules;
//! - `s = s + k[t]^T . u`, where `u` is `v[t]`, or with the delta rules `beta[t] * (v[t] - k[t] . s)`;
//! - `y[t] = scale * q[t] . s`.
//!
//! Operands are packed: `query` is `[batch, length, q_heads * key size]`, `key` `[batch, length, kv_heads * key size]`,
//! `value` `[batch, length, kv_heads * value size]`; neighboring query heads share a state. `past_state` is
//! `[batch, kv_heads, key size, value size]`, zeros where absent. `decay` has one number for each head, or for each
//! element of its keys; `beta` has one for each head, or one for all. The second result is the last state.

use rayon::prelude::*;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, optional, sizes_of};
use crate::attr::{AttrError, AttrVisitor, F32Bits, attr_enum};
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, DimExpr, Shape, TensorType};
use crate::with_float;

attr_enum! {
    /// How a token changes the state.
    pub enum UpdateRule {
        /// Decay, then the difference to what the state gives for the key.
        #[default]
        GatedDelta = "gated_delta",
        /// The value is added.
        Linear = "linear",
        /// Decay, then the value is added.
        Gated = "gated",
        /// The difference to what the state gives for the key.
        Delta = "delta",
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinearAttention {
    /// Heads of `query`.
    pub q_num_heads: u64,
    /// Heads of `key` and `value`; divides `q_num_heads`.
    pub kv_num_heads: u64,
    /// Factor of the result; 0 means `1 / sqrt(key size)`.
    pub scale: F32Bits,
    /// How a token changes the state.
    pub update_rule: UpdateRule,
}

impl Default for LinearAttention {
    fn default() -> Self {
        Self { q_num_heads: 1, kv_num_heads: 1, scale: 0.0.into(), update_rule: UpdateRule::default() }
    }
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const STATE: usize = 3;
const DECAY: usize = 4;
const BETA: usize = 5;

impl OpDef for LinearAttention {
    const NAME: &'static str = "linear_attention";
    const OPERANDS: &'static [Operand] = &[
        one("query"),
        one("key"),
        one("value"),
        optional("past_state"),
        optional("decay"),
        optional("beta"),
    ];
    const RESULTS: &'static [&'static str] = &["y", "present_state"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("q_num_heads", &mut self.q_num_heads)?;
        visitor.attr("kv_num_heads", &mut self.kv_num_heads)?;
        visitor.attr("scale", &mut self.scale)?;
        visitor.attr("update_rule", &mut self.update_rule)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.check_heads()?;
        let dtype = operands.float(QUERY)?.dtype;
        let query = &operands.ranked(QUERY, 3)?.shape;
        for index in [KEY, VALUE, DECAY, BETA].into_iter().filter(|index| operands.has(*index)) {
            operands.same_dtype(index, QUERY)?;
            let shape = &operands.ranked(index, 3)?.shape;
            operands.same_dim(index, &shape[0], &query[0])?;
            operands.same_dim(index, &shape[1], &query[1])?;
        }
        self.check_gates(operands)?;
        let key_size = per_head(operands, QUERY, self.q_num_heads)?;
        operands.same_dim(KEY, &per_head(operands, KEY, self.kv_num_heads)?, &key_size)?;
        let value_size = per_head(operands, VALUE, self.kv_num_heads)?;
        let heads = Dim::Known(self.kv_num_heads);
        let state = Shape::from_iter([query[0].clone(), heads, key_size, value_size.clone()]);
        let mut state_dtype = dtype;
        if operands.has(STATE) {
            state_dtype = operands.float(STATE)?.dtype;
            for (found, expected) in operands.ranked(STATE, 4)?.shape.iter().zip(state.iter()) {
                operands.same_dim(STATE, found, expected)?;
            }
        }
        let width = value_size.expr().mul(&DimExpr::constant(self.q_num_heads.cast_signed()));
        let y = Shape::from_iter([query[0].clone(), query[1].clone(), operands.dim(VALUE, width)?]);
        Ok(smallvec::smallvec![TensorType::new(dtype, y), TensorType::new(state_dtype, state)])
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands, types))
    }
}

impl LinearAttention {
    fn check_heads(&self) -> Result<(), InferError> {
        let positive = |heads: u64| (1..1 << 32).contains(&heads);
        if positive(self.q_num_heads) && positive(self.kv_num_heads) && self.q_num_heads.is_multiple_of(self.kv_num_heads) {
            return Ok(());
        }
        Err(InferError::Attribute {
            attr: "kv_num_heads",
            found: self.kv_num_heads.to_string(),
            expected: format!("a positive number that divides the {} heads of queries", self.q_num_heads),
        })
    }

    /// Checks that the operands are there that the rule reads, and no other.
    fn check_gates(&self, operands: &Operands<'_>) -> Result<(), InferError> {
        let gated = matches!(self.update_rule, UpdateRule::Gated | UpdateRule::GatedDelta);
        let delta = matches!(self.update_rule, UpdateRule::Delta | UpdateRule::GatedDelta);
        for (index, read) in [(DECAY, gated), (BETA, delta)] {
            if operands.has(index) != read {
                let expected = if read { "to be there" } else { "nothing" };
                return Err(operands.mismatch(index, format!("{expected} with this update rule")));
            }
        }
        let keys = operands.ty(KEY)?.shape[2].known();
        for (index, other) in [(DECAY, keys), (BETA, Some(1))] {
            let last = operands.optional(index).and_then(|ty| ty.shape[2].known());
            if last.is_some_and(|last| last != self.kv_num_heads && other.is_some_and(|other| other != last)) {
                return Err(operands.mismatch(index, format!("a last axis of {} heads", self.kv_num_heads)));
            }
        }
        Ok(())
    }

    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (y_sizes, state_sizes) = (sizes_of(&types[0])?, sizes_of(&types[1])?);
        let [batch, length, width] = [y_sizes[0], y_sizes[1], y_sizes[2]];
        let [heads, key_size, value_size] = [state_sizes[1], state_sizes[2], state_sizes[3]];
        let factor = match f64::from(self.scale.get()) {
            0.0 => 1.0 / (key_size as f64).sqrt(),
            scale => scale,
        };
        let packed = |index: usize| operands.optional(index).map(Packed::<T>::new).transpose();
        let states = match operands.optional(STATE) {
            Some(state) => state.to_f64()?.into_iter().map(T::from_f64).collect(),
            None => vec![T::default(); state_sizes.iter().product()],
        };
        let group = self.q_num_heads as usize / heads;
        let recurrence = Recurrence {
            query: Packed::new(operands.tensor(QUERY)?)?,
            key: Packed::new(operands.tensor(KEY)?)?,
            value: Packed::new(operands.tensor(VALUE)?)?,
            decay: packed(DECAY)?,
            beta: packed(BETA)?,
            heads,
            group,
            sizes: [key_size, value_size],
            factor: T::from_f64(factor),
        };
        let solved: Vec<(Vec<T>, Vec<T>)> = (0..batch * heads)
            .into_par_iter()
            .map(|place| {
                let state = key_size * value_size;
                let state = states[place * state..][..state].to_vec();
                recurrence.solve(place / heads, place % heads, length, state)
            })
            .collect();
        let mut y = Vec::with_capacity(batch * length * width);
        for token in 0..batch * length {
            let (sample, row) = (token / length, token % length);
            for (part, _) in &solved[sample * heads..][..heads] {
                y.extend_from_slice(&part[row * group * value_size..][..group * value_size]);
            }
        }
        let state: Vec<T> = solved.into_iter().flat_map(|(_, state)| state).collect();
        let state = with_float!(types[1].dtype, S => {
            let state = state.into_iter().map(|value| S::from_f64(value.to_f64())).collect();
            Tensor::from_compute(types[1].dtype, &state_sizes, state)?
        });
        Ok(smallvec::smallvec![Tensor::from_compute(types[0].dtype, &y_sizes, y)?, state])
    }
}

/// A packed operand: `[batch, length, width]`.
struct Packed<'a, T: Clone> {
    values: std::borrow::Cow<'a, [T]>,
    length: usize,
    width: usize,
}

impl<'a, T: Number> Packed<'a, T> {
    fn new(tensor: &'a Tensor) -> Result<Self, EvalError> {
        Ok(Self { values: tensor.to_compute()?, length: tensor.sizes()[1], width: tensor.sizes()[2] })
    }

    /// The elements of part `part` of a token, when each has `size` of them.
    fn part(&self, sample: usize, token: usize, part: usize, size: usize) -> &[T] {
        &self.values[(sample * self.length + token) * self.width + part * size..][..size]
    }
}

/// What the recurrences of all heads read.
struct Recurrence<'a, T: Clone> {
    query: Packed<'a, T>,
    key: Packed<'a, T>,
    value: Packed<'a, T>,
    decay: Option<Packed<'a, T>>,
    beta: Option<Packed<'a, T>>,
    heads: usize,
    /// Query heads for each state.
    group: usize,
    sizes: [usize; 2],
    factor: T,
}

impl<T: Number> Recurrence<'_, T> {
    /// The results of the queries of one state, `[length, group, value size]`, and the last state.
    fn solve(&self, sample: usize, head: usize, length: usize, mut state: Vec<T>) -> (Vec<T>, Vec<T>) {
        let [key_size, value_size] = self.sizes;
        let mut y = vec![T::default(); length * self.group * value_size];
        if value_size == 0 {
            return (y, state);
        }
        for (token, rows) in y.chunks_exact_mut((self.group * value_size).max(1)).enumerate() {
            self.fade(sample, head, token, &mut state);
            let key = self.key.part(sample, token, head, key_size);
            let value = self.update(sample, head, token, &state);
            for (row, key) in state.chunks_exact_mut(value_size).zip(key) {
                add_scaled(row, &value, *key);
            }
            for (member, row) in rows.chunks_exact_mut(value_size).enumerate() {
                let query = self.query.part(sample, token, head * self.group + member, key_size);
                for (state, query) in state.chunks_exact(value_size).zip(query) {
                    add_scaled(row, state, query.mul(self.factor));
                }
            }
        }
        (y, state)
    }

    /// Multiplies the state by the exponential of its decay.
    fn fade(&self, sample: usize, head: usize, token: usize, state: &mut [T]) {
        let Some(decay) = &self.decay else { return };
        let [key_size, value_size] = self.sizes;
        let per_head = decay.width == self.heads;
        let rates = decay.part(sample, token, head, if per_head { 1 } else { key_size });
        for (row, values) in state.chunks_exact_mut(value_size).enumerate() {
            let factor = T::from_f64(rates[if per_head { 0 } else { row }].to_f64().exp());
            for value in values {
                *value = value.mul(factor);
            }
        }
    }

    /// What is written to the state at the key.
    fn update(&self, sample: usize, head: usize, token: usize, state: &[T]) -> Vec<T> {
        let [key_size, value_size] = self.sizes;
        let value = self.value.part(sample, token, head, value_size);
        let Some(beta) = &self.beta else { return value.to_vec() };
        let beta = beta.part(sample, token, if beta.width == 1 { 0 } else { head }, 1)[0];
        let mut known = vec![T::default(); value_size];
        for (row, key) in state.chunks_exact(value_size).zip(self.key.part(sample, token, head, key_size)) {
            add_scaled(&mut known, row, *key);
        }
        value.iter().zip(known).map(|(value, known)| beta.mul(value.sub(known))).collect()
    }
}

/// `sum += values * factor`.
fn add_scaled<T: Number>(sum: &mut [T], values: &[T], factor: T) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum = sum.add(value.mul(factor));
    }
}

/// The size of each of `heads` heads of a packed operand.
fn per_head(operands: &Operands<'_>, index: usize, heads: u64) -> Result<Dim, InferError> {
    let last = &operands.ty(index)?.shape[2];
    let size = last.expr().div_exact(&DimExpr::constant(heads.cast_signed()));
    if size.is_none() && last.known().is_some() {
        return Err(operands.mismatch(index, format!("a last axis of {heads} heads")));
    }
    operands.dim(index, size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate_some, refused, tensor};

    /// One sample of two tokens, one head, keys and values of size 1: keys 1 and 2, values 3 and 5, queries 1.
    fn run(update_rule: UpdateRule, state: Option<f32>, decay: Option<f32>, beta: Option<f32>) -> [Vec<f64>; 2] {
        let op = LinearAttention { update_rule, scale: 1.0.into(), ..LinearAttention::default() };
        let packed = |values: [f32; 2]| tensor(&[1, 2, 1], &values);
        let (q, k, v) = (packed([1.0, 1.0]), packed([1.0, 2.0]), packed([3.0, 5.0]));
        let state = state.map(|state| tensor(&[1, 1, 1, 1], &[state]));
        let [decay, beta] = [decay, beta].map(|gate| gate.map(|gate| packed([gate; 2])));
        let operands = [Some(&q), Some(&k), Some(&v), state.as_ref(), decay.as_ref(), beta.as_ref()];
        let results = evaluate_some(&op.into(), &operands);
        [0, 1].map(|index: usize| results[index].to_f64().expect("numbers"))
    }

    #[test]
    fn the_rules_by_hand() {
        assert_eq!(run(UpdateRule::Linear, None, None, None), [vec![3.0, 13.0], vec![13.0]]);
        assert_eq!(run(UpdateRule::Linear, Some(2.0), None, None), [vec![5.0, 15.0], vec![15.0]]);
        // u = (3 - 0) / 2, then s = 1.5 + 2 * (5 - 3) / 2.
        assert_eq!(run(UpdateRule::Delta, None, None, Some(0.5)), [vec![1.5, 3.5], vec![3.5]]);
        // Halving first: 1 + 3, then 2 + 10.
        let halved = run(UpdateRule::Gated, Some(2.0), Some(0.5f32.ln()), None);
        assert!((halved[0][0] - 4.0).abs() < 1e-6 && (halved[1][0] - 12.0).abs() < 1e-6, "{halved:?}");
    }

    #[test]
    fn query_heads_share_a_state() {
        let op = LinearAttention { q_num_heads: 2, scale: 2.0.into(), update_rule: UpdateRule::Linear, kv_num_heads: 1 };
        let (q, k) = (tensor(&[1, 1, 4], &[1.0, 0.0, 0.0, 1.0]), tensor(&[1, 1, 2], &[3.0, 4.0]));
        let results = evaluate_some(&op.into(), &[Some(&q), Some(&k), Some(&tensor(&[1, 1, 1], &[5.0]))]);
        assert_eq!(results[0], tensor(&[1, 1, 2], &[30.0, 40.0]));
        assert_eq!(results[1], tensor(&[1, 1, 2, 1], &[15.0, 20.0]));
    }

    #[test]
    fn gates_that_do_not_belong_are_refused() {
        let x = tensor(&[1, 1, 2], &[0.0; 2]);
        let linear = LinearAttention { update_rule: UpdateRule::Linear, ..LinearAttention::default() };
        let state = tensor(&[1, 1, 2, 2], &[0.0; 4]);
        assert!(refused(&linear.into(), &[&x, &x, &x, &state, &x]).contains("`decay`"));
        assert!(refused(&LinearAttention::default().into(), &[&x, &x, &x]).contains("`decay`"));
        let heads = LinearAttention { q_num_heads: 1, kv_num_heads: 2, ..LinearAttention::default() };
        assert!(refused(&heads.into(), &[&x, &x, &x]).contains("kv_num_heads"));
    }
}
