use quad_ir::ops::OpKind;

use crate::attention::testing::{Outcome, run_on};

fn lower(body: &str) -> Outcome {
    let outcome = run_on("lower-attention", body, 1e-5);
    assert_eq!(outcome.count(OpKind::Attention), 0);
    outcome
}

#[test]
fn one_head_needs_no_axis_of_heads() {
    let outcome = lower(
        "(%q: f32[batch, 6, 8], %k: f32[batch, 5, 8], %v: f32[batch, 5, 3], %mask: f32[batch, 1, 6, 5]) {
          %y, %0, %1 = attention(%q, %k, %v, %mask) {q_num_heads = 1, kv_num_heads = 1} : f32[batch, 6, 3], f32[batch, 1, 5, 8], f32[batch, 1, 5, 3]
          return \"y\" = %y
        }",
    );
    assert_eq!((outcome.count(OpKind::Transpose), outcome.count(OpKind::Reshape)), (1, 0));
    assert!(outcome.graph().nodes().all(|node| node.result().ty().rank() < 4 || node.operands().len() == 0));
    assert_eq!(outcome.count(OpKind::IsNan), 1, "the mask may hide everything");
}

#[test]
fn several_heads_are_brought_in_front_and_back() {
    let outcome = lower(
        "(%q: f32[batch, length, 8], %k: f32[batch, 5, 4], %v: f32[batch, 5, 6]) {
          %y, %keys, %1 = attention(%q, %k, %v) {q_num_heads = 4, kv_num_heads = 2, softcap = 2.0} : f32[batch, length, 12], f32[batch, 2, 5, 2], f32[batch, 2, 5, 3]
          return \"y\" = %y, \"keys\" = %keys
        }",
    );
    assert_eq!((outcome.count(OpKind::MatMul), outcome.count(OpKind::Tanh)), (2, 1));
}

#[test]
fn causality_and_windows_are_constants() {
    for attributes in [
        "is_causal = true",
        "left_window_size = 1",
        "is_causal = true, left_window_size = 2",
        "right_window_size = 1",
    ] {
        let outcome = lower(&format!(
            "(%q: f32[1, 2, 4, 8], %k: f32[1, 2, 4, 8], %v: f32[1, 2, 4, 8], %pk: f32[1, 2, 3, 8], %pv: f32[1, 2, 3, 8]) {{
              %y, %0, %1 = attention(%q, %k, %v, _, %pk, %pv) {{{attributes}}} : f32[1, 2, 4, 8], f32[1, 2, 7, 8], f32[1, 2, 7, 8]
              return \"y\" = %y
            }}"
        ));
        assert_eq!((outcome.count(OpKind::Concat), outcome.count(OpKind::IsNan)), (2, 0), "{attributes}");
    }
}

#[test]
fn queries_without_a_key_give_zeros() {
    let outcome = lower(
        "(%q: f32[1, 6, 8], %k: f32[1, 2, 8], %v: f32[1, 2, 8]) {
          %mask = weight [true, true, true, false, false, false, false, true, true, true, true, true] : bool[6, 2]
          %y, %0, %1 = attention(%q, %k, %v, %mask) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 8], f32[1, 2, 2, 4], f32[1, 2, 2, 4]
          return \"y\" = %y
        }",
    );
    assert_eq!((outcome.count(OpKind::IsNan), outcome.count(OpKind::Where)), (1, 2));
    let outcome = lower(
        "(%q: f32[1, 4, 8], %k: f32[1, 2, 8], %v: f32[1, 2, 8]) {
          %y, %0, %1 = attention(%q, %k, %v) {q_num_heads = 1, kv_num_heads = 1, left_window_size = 0} : f32[1, 4, 8], f32[1, 1, 2, 8], f32[1, 1, 2, 8]
          return \"y\" = %y
        }",
    );
    assert_eq!(outcome.count(OpKind::IsNan), 1);
}

#[test]
fn a_constant_mask_that_leaves_keys_needs_no_guard() {
    let outcome = lower(
        "(%q: f32[1, 2, 8], %k: f32[1, 2, 8], %v: f32[1, 2, 8]) {
          %mask = weight [0.0, -inf, 0.0, 1.0] : f32[2, 2]
          %y, %0, %1 = attention(%q, %k, %v, %mask) {q_num_heads = 1, kv_num_heads = 1, softmax_precision = f64} : f32[1, 2, 8], f32[1, 1, 2, 8], f32[1, 1, 2, 8]
          return \"y\" = %y
        }",
    );
    assert_eq!((outcome.count(OpKind::IsNan), outcome.count(OpKind::Cast)), (0, 2));
}

#[test]
fn what_is_written_out_is_found_again() {
    let found = "(%q: f32[1, 6, 8], %k: f32[1, 5, 8], %v: f32[1, 5, 8]) {
          %y, %0, %1 = attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 8], f32[1, 2, 5, 4], f32[1, 2, 5, 4]
          return \"y\" = %y
        }";
    let outcome = run_on("lower-attention,fuse-attention", found, 1e-5);
    assert_eq!((outcome.count(OpKind::Attention), outcome.rearrangements()), (1, 0));
}

#[test]
fn padding_given_as_an_operand_is_in_the_way() {
    let outcome = run_on(
        "lower-attention",
        "(%q: f32[1, 2, 1, 4], %k: f32[1, 2, 3, 4], %v: f32[1, 2, 3, 4], %n: i64[1]) {
          %y, %0, %1 = attention(%q, %k, %v, _, _, _, %n) : f32[1, 2, 1, 4], f32[1, 2, 3, 4], f32[1, 2, 3, 4]
          return \"y\" = %y
        }",
        1e-5,
    );
    assert_eq!(outcome.left, ["how many of its keys are not padding is known only when it runs"]);
}
