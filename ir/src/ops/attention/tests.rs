use std::ops::Range;

use super::*;
use crate::ops::testing::{evaluate, evaluate_some, refused, tensor};

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_f64().expect("numbers")
}

/// One head of one query and two keys of size 1, with scores 0 and `ln 3`: weights 1/4 and 3/4.
fn quarter() -> [Tensor; 3] {
    [
        tensor(&[1, 1, 1, 1], &[1.0]),
        tensor(&[1, 1, 2, 1], &[0.0, 3f32.ln()]),
        tensor(&[1, 1, 2, 2], &[4.0, 0.0, 0.0, 8.0]),
    ]
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6 || a == b);
    assert!(near, "{found:?} instead of {expected:?}");
}

#[test]
fn values_are_weighted_by_the_softmax_of_the_scores() {
    let [q, k, v] = quarter();
    let results = evaluate(&Attention::default().into(), &[&q, &k, &v]);
    assert_eq!(results[0].sizes(), [1, 1, 1, 2]);
    close(&values(&results[0]), &[1.0, 6.0]);
    assert_eq!((&results[1], &results[2]), (&k, &v));
}

#[test]
fn each_mode_shows_the_scores_at_its_stage() {
    let [q, k, v] = quarter();
    let mask = tensor(&[1, 1], &[-2.0]);
    let shown = |qk_matmul_output_mode| {
        let op = Attention { qk_matmul_output_mode, with_qk: true, softcap: 2.0.into(), ..Attention::default() };
        values(&evaluate(&op.into(), &[&q, &k, &v, &mask])[3])
    };
    let (score, capped) = (3f64.ln(), 2.0 * (3f64.ln() / 2.0).tanh());
    close(&shown(0), &[0.0, score]);
    close(&shown(1), &[0.0, capped]);
    // The mask ends after the first key.
    close(&shown(2), &[-2.0, f64::NEG_INFINITY]);
    close(&shown(3), &[1.0, 0.0]);
}

#[test]
fn a_query_without_keys_gives_zeros() {
    let [q, k, v] = quarter();
    let mask = Tensor::from_bools(&[2], vec![false; 2]).expect("two elements");
    close(&values(&evaluate(&Attention::default().into(), &[&q, &k, &v, &mask])[0]), &[0.0, 0.0]);
    let k = tensor(&[1, 1, 0, 1], &[]);
    let v = tensor(&[1, 1, 0, 2], &[]);
    close(&values(&evaluate(&Attention::default().into(), &[&q, &k, &v])[0]), &[0.0, 0.0]);
}

/// Queries and keys of zeros: every query gives the mean of the values it may read, which are the numbers from 1 on.
fn means(op: Attention, queries: usize, keys: usize, past: usize, unpadded: Option<i64>) -> Vec<f64> {
    let zeros = |count| Tensor::zeros(DType::F32, &[1, 1, count, 1]).expect("small");
    let numbers = |range: Range<usize>| {
        tensor(&[1, 1, range.len(), 1], &range.map(|number| number as f32 + 1.0).collect::<Vec<_>>())
    };
    let caches = (past > 0).then(|| (zeros(past), numbers(0..past)));
    let unpadded = unpadded.map(|count| Tensor::from_vec(&[1], vec![count]).expect("one element"));
    let (old_keys, old_values) = caches.as_ref().map(|(k, v)| (k, v)).unzip();
    let (q, k, v) = (zeros(queries), zeros(keys), numbers(past..past + keys));
    let operands = [Some(&q), Some(&k), Some(&v), None, old_keys, old_values, unpadded.as_ref()];
    values(&evaluate_some(&op.into(), &operands)[0])
}

#[test]
fn causal_queries_stand_after_the_cached_keys() {
    let causal = Attention { is_causal: true, ..Attention::default() };
    close(&means(causal.clone(), 3, 3, 0, None), &[1.0, 1.5, 2.0]);
    close(&means(causal.clone(), 2, 2, 2, None), &[2.0, 2.5]);
    close(&means(causal.clone(), 2, 4, 0, Some(3)), &[1.5, 2.0]);
    // One key for two queries: the first stands before it.
    close(&means(causal, 2, 4, 0, Some(1)), &[0.0, 1.0]);
}

#[test]
fn windows_bound_what_is_read_on_both_sides() {
    let window = |left_window_size, right_window_size| {
        means(Attention { left_window_size, right_window_size, ..Attention::default() }, 3, 3, 0, None)
    };
    close(&window(0, 0), &[1.0, 2.0, 3.0]);
    close(&window(1, -1), &[2.0, 2.0, 2.5]);
    close(&window(-1, 1), &[1.5, 2.0, 2.0]);
    close(&window(i64::MAX, i64::MAX), &[2.0; 3]);
}

#[test]
fn padding_is_not_read() {
    close(&means(Attention::default(), 1, 4, 0, Some(2)), &[1.5]);
    close(&means(Attention::default(), 1, 4, 0, Some(i64::MIN)), &[0.0]);
    close(&means(Attention::default(), 1, 4, 0, Some(i64::MAX)), &[2.5]);
}

#[test]
fn three_axes_hold_heads_side_by_side() {
    // Two query heads share the one head of keys and values.
    let op = Attention { q_num_heads: Some(2), kv_num_heads: Some(1), ..Attention::default() };
    let q = tensor(&[1, 2, 2], &[1.0, 0.0, 0.0, 1.0]);
    let [_, k, v] = quarter();
    let (k, v) = (k.reshaped(&[1, 2, 1]).expect("same"), v.reshaped(&[1, 2, 2]).expect("same"));
    let results = evaluate(&op.into(), &[&q, &k, &v]);
    assert_eq!(results[0].sizes(), [1, 2, 4]);
    close(&values(&results[0]), &[1.0, 6.0, 2.0, 4.0, 2.0, 4.0, 1.0, 6.0]);
    assert_eq!(results[2].sizes(), [1, 1, 2, 2]);
}

#[test]
fn many_queries_agree_with_one_at_a_time() {
    let count = heads::BLOCK + 5;
    let wave = |sizes: &[usize], step: f32| {
        let elements: Vec<f32> = (0..sizes.iter().product()).map(|i: usize| (i as f32 * step).sin()).collect();
        tensor(sizes, &elements)
    };
    let (q, k, v) = (wave(&[1, 2, count, 4], 0.3), wave(&[1, 2, 7, 4], 0.7), wave(&[1, 2, 7, 3], 1.1));
    let all = values(&evaluate(&Attention::default().into(), &[&q, &k, &v])[0]);
    let last = q.to_f64().expect("numbers");
    let last: Vec<f32> = last[last.len() - 4..].iter().map(|value| *value as f32).collect();
    let one_head = |tensor: &Tensor, size| {
        let elements = tensor.to_f32().expect("numbers");
        super::tests::tensor(&[1, 1, 7, size], &elements[7 * size..])
    };
    let one = evaluate(
        &Attention::default().into(),
        &[&tensor(&[1, 1, 1, 4], &last), &one_head(&k, 4), &one_head(&v, 3)],
    );
    close(&all[all.len() - 3..], &values(&one[0]));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let [q, k, v] = quarter();
    let op = |op: Attention| op.into();
    let mask = tensor(&[3], &[0.0; 3]);
    assert!(refused(&op(Attention::default()), &[&q, &k, &v, &mask]).contains("`attn_mask`"));
    assert!(refused(&op(Attention::default()), &[&q, &k, &v, &mask, &k]).contains("past values"));
    let three = Attention { kv_num_heads: Some(0), q_num_heads: Some(1), ..Attention::default() };
    let flat = q.reshaped(&[1, 1, 1]).expect("same");
    assert!(refused(&op(three), &[&flat, &flat, &flat]).contains("`kv_num_heads`"));
    let heads = tensor(&[1, 3, 1, 1], &[0.0; 3]);
    let pair = tensor(&[1, 2, 1, 1], &[0.0; 2]);
    assert!(refused(&op(Attention::default()), &[&heads, &pair, &pair]).contains("divides the 3"));
    let window = Attention { left_window_size: -2, ..Attention::default() };
    assert!(refused(&op(window), &[&q, &k, &v]).contains("left_window_size"));
}
