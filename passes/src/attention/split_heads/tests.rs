use quad_ir::graph::NodeRef;
use quad_ir::ops::{Attention, OpKind};

use crate::attention::testing::{Outcome, run_on};

/// What is split when the graph runs, as numbers of axes in ascending order.
fn splits(outcome: &Outcome) -> Vec<usize> {
    let splits = outcome.graph().nodes().filter(|node| node.op().kind() == OpKind::Split);
    let mut ranks: Vec<usize> = splits.filter_map(|node| Some(node.operand("x")?.ty().rank())).collect();
    ranks.sort_unstable();
    assert_eq!(outcome.count(OpKind::Slice), 0);
    ranks
}

fn check_single_heads(outcome: &Outcome, heads: usize) {
    let attentions: Vec<_> = outcome.graph().nodes().filter_map(NodeRef::is::<Attention>).collect();
    assert_eq!(attentions.len(), heads);
    assert!(attentions.iter().all(|attention| attention.q_num_heads == Some(1)));
}

/// Two heads, with a bias, and a low-rank product of weights that are given when the graph runs beside the queries'
/// projection; one of the weights comes transposed.
const PROJECTED: &str = "(%x: f32[1, 6, 2], %wk: f32[2, 8], %wv: f32[2, 8], %down: f32[2, 2], %up: f32[8, 2], %wo: f32[8, 3]) {
      %wq = weight [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3] : f32[2, 8]
      %bq = weight [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0] : f32[8]
      %two = weight 2.0 : f32[]
      %0 = matmul(%x, %wq) : f32[1, 6, 8]
      %1 = add(%bq, %0) : f32[1, 6, 8]
      %2 = matmul(%x, %down) : f32[1, 6, 2]
      %3 = transpose(%up) {perm = [1, 0]} : f32[2, 8]
      %4 = matmul(%2, %3) : f32[1, 6, 8]
      %5 = mul(%4, %two) : f32[1, 6, 8]
      %q = add(%1, %5) : f32[1, 6, 8]
      %k = matmul(%x, %wk) : f32[1, 6, 8]
      %v = matmul(%x, %wv) : f32[1, 6, 8]
      %y, %7, %8 = attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 8], f32[1, 2, 6, 4], f32[1, 2, 6, 4]
      %9 = matmul(%y, %wo) : f32[1, 6, 3]
      return \"y\" = %9
    }";

#[test]
fn projections_are_cut_at_their_weights() {
    let outcome = run_on("split-heads", PROJECTED, 1e-5);
    check_single_heads(&outcome, 2);
    assert_eq!(splits(&outcome), [2; 3], "the weights of k, v and the second one of q");
    assert_eq!(outcome.count(OpKind::Concat), 1);
    // Per head three of weights and one low-rank one; the first low-rank one and the last one are whole.
    assert_eq!(outcome.count(OpKind::MatMul), 2 * 4 + 2);
}

#[test]
fn results_may_be_added_up() {
    let outcome = run_on("split-heads{out=sum}", PROJECTED, 1e-5);
    check_single_heads(&outcome, 2);
    assert_eq!((outcome.count(OpKind::Concat), outcome.count(OpKind::MatMul)), (0, 2 * 5 + 1));
    assert_eq!(splits(&outcome), [2; 4]);
}

#[test]
fn results_that_others_read_are_put_together() {
    let body = PROJECTED.replace("return ", "return \"heads\" = %y, ");
    assert_eq!(run_on("split-heads{out=sum}", &body, 1e-5).count(OpKind::Concat), 1);
}

#[test]
fn projections_may_be_convolutions() {
    let pipeline = "linear-to-conv,split-heads,lower-attention,clean";
    let after = run_on(pipeline, PROJECTED, 1e-5);
    let before = run_on("split-heads,lower-attention,linear-to-conv,clean", PROJECTED, 1e-5);
    for kind in [OpKind::Conv, OpKind::Split, OpKind::Transpose, OpKind::MatMul] {
        assert_eq!(after.count(kind), before.count(kind), "{kind:?}");
    }
}

#[test]
fn channels_of_convolutions_are_cut() {
    let outcome = run_on(
        "split-heads",
        "(%x: f32[1, 3, 2, 3], %w: f32[8, 3, 1, 1], %b: f32[8], %k: f32[1, 5, 8], %v: f32[1, 5, 8]) {
          %tokens = weight [1, 8, 6] : i64[3]
          %0 = conv(%x, %w, %b) : f32[1, 8, 2, 3]
          %1 = reshape(%0, %tokens) : f32[1, 8, 6]
          %2 = transpose(%1) {perm = [0, 2, 1]} : f32[1, 6, 8]
          %y, %3, %4 = attention(%2, %k, %v) {q_num_heads = 4, kv_num_heads = 4} : f32[1, 6, 8], f32[1, 4, 5, 2], f32[1, 4, 5, 2]
          return \"y\" = %y
        }",
        1e-5,
    );
    check_single_heads(&outcome, 4);
    assert_eq!(outcome.count(OpKind::Conv), 4);
    assert_eq!(splits(&outcome), [1, 3, 3, 4], "bias, keys and values, weight");
}

#[test]
fn heads_apart_shared_keys_and_masks_per_head() {
    let outcome = run_on(
        "split-heads",
        "(%q: f32[2, 4, 6, 8], %k: f32[2, 2, 5, 8], %v: f32[2, 2, 5, 3], %mask: f32[4, 6, 5]) {
          %y, %0, %1 = attention(%q, %k, %v, %mask) {is_causal = true} : f32[2, 4, 6, 3], f32[2, 2, 5, 8], f32[2, 2, 5, 3]
          return \"y\" = %y
        }",
        1e-5,
    );
    check_single_heads(&outcome, 4);
    assert_eq!(splits(&outcome), [3, 4, 4, 4], "the mask has heads, too");
}

#[test]
fn one_projection_for_all_three_is_cut_too() {
    let outcome = run_on(
        "split-heads",
        "(%x: f32[1, 6, 3], %w: f32[3, 12]) {
          %0 = matmul(%x, %w) : f32[1, 6, 12]
          %q, %k, %v = split(%0) {axis = -1, num_outputs = 3} : f32[1, 6, 4], f32[1, 6, 4], f32[1, 6, 4]
          %y, %1, %2 = attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 4], f32[1, 2, 6, 2], f32[1, 2, 6, 2]
          return \"y\" = %y
        }",
        1e-5,
    );
    check_single_heads(&outcome, 2);
    assert_eq!(splits(&outcome), [2]);
}

#[test]
fn what_others_read_is_split_where_it_is() {
    let outcome = run_on(
        "split-heads",
        "(%x: f32[1, 6, 3], %w: f32[3, 4]) {
          %q = matmul(%x, %w) : f32[1, 6, 4]
          %y, %1, %2 = attention(%q, %q, %q) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 4], f32[1, 2, 6, 2], f32[1, 2, 6, 2]
          return \"y\" = %y
        }",
        1e-5,
    );
    check_single_heads(&outcome, 2);
    assert_eq!((splits(&outcome), outcome.count(OpKind::MatMul)), (vec![3], 1));
}

#[test]
fn cached_keys_are_in_the_way() {
    let outcome = run_on(
        "split-heads",
        "(%q: f32[1, 2, 1, 4], %k: f32[1, 2, 1, 4], %v: f32[1, 2, 1, 4], %pk: f32[1, 2, 3, 4], %pv: f32[1, 2, 3, 4]) {
          %y, %0, %1 = attention(%q, %k, %v, _, %pk, %pv) : f32[1, 2, 1, 4], f32[1, 2, 4, 4], f32[1, 2, 4, 4]
          return \"y\" = %y
        }",
        1e-5,
    );
    assert_eq!(outcome.left, ["it has cached keys and values"]);
}

#[test]
fn channels_may_be_last() {
    let outcome = run_on(
        "split-heads",
        "(%x: f32[1, 2, 3, 3], %w: f32[4, 1, 1, 3], %k: f32[1, 5, 4], %v: f32[1, 5, 4]) {
          %tokens = weight [1, 6, 4] : i64[3]
          %0 = conv(%x, %w) {layout = \"nhwc\"} : f32[1, 2, 3, 4]
          %q = reshape(%0, %tokens) : f32[1, 6, 4]
          %y, %3, %4 = attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} : f32[1, 6, 4], f32[1, 2, 5, 2], f32[1, 2, 5, 2]
          return \"y\" = %y
        }",
        1e-5,
    );
    check_single_heads(&outcome, 2);
    assert_eq!((outcome.count(OpKind::Conv), splits(&outcome)), (2, vec![3, 3, 4]));
}
