use quad_ir::ops::{Attention, OpKind};

use crate::attention::testing::{Outcome, run_on};

/// The only attention of `outcome`.
fn attention(outcome: &Outcome) -> Attention {
    let mut found = outcome.graph().nodes().filter_map(|node| node.is::<Attention>().cloned());
    let attention = found.next().expect("an attention");
    assert!(found.next().is_none(), "one attention only");
    attention
}

fn fuse(body: &str) -> Outcome {
    run_on("fuse-attention", body, 1e-5)
}

#[test]
fn keys_transposed_in_a_batch_of_matrices() {
    let outcome = fuse(
        "(%q: f32[batch, 6, 8], %k: f32[batch, 5, 8], %v: f32[batch, 5, 8]) {
          %heads = weight [0, 0, 2, 4] : i64[4]
          %matrices = weight [-1, 5, 4] : i64[3]
          %apart = weight [-1, 2, 4, 5] : i64[4]
          %packed = weight [0, 0, 8] : i64[3]
          %s = weight 0.70710677 : f32[]
          %0 = reshape(%q, %heads) : f32[batch, 6, 2, 4]
          %1 = transpose(%0) {perm = [0, 2, 1, 3]} : f32[batch, 2, 6, 4]
          %2 = reshape(%k, %heads) : f32[batch, 5, 2, 4]
          %3 = transpose(%2) {perm = [0, 2, 1, 3]} : f32[batch, 2, 5, 4]
          %4 = reshape(%3, %matrices) : f32[2*batch, 5, 4]
          %5 = transpose(%4) {perm = [0, 2, 1]} : f32[2*batch, 4, 5]
          %6 = reshape(%5, %apart) : f32[batch, 2, 4, 5]
          %7 = mul(%1, %s) : f32[batch, 2, 6, 4]
          %8 = mul(%6, %s) : f32[batch, 2, 4, 5]
          %9 = matmul(%7, %8) : f32[batch, 2, 6, 5]
          %10 = softmax(%9) : f32[batch, 2, 6, 5]
          %11 = reshape(%v, %heads) : f32[batch, 5, 2, 4]
          %12 = transpose(%11) {perm = [0, 2, 1, 3]} : f32[batch, 2, 5, 4]
          %13 = matmul(%10, %12) : f32[batch, 2, 6, 4]
          %14 = transpose(%13) {perm = [0, 2, 1, 3]} : f32[batch, 6, 2, 4]
          %15 = reshape(%14, %packed) : f32[batch, 6, 8]
          return \"y\" = %15
        }",
    );
    let attention = attention(&outcome);
    assert_eq!((attention.q_num_heads, attention.kv_num_heads, attention.scale), (Some(2), Some(2), None));
    assert_eq!(outcome.rearrangements(), 0);
    assert_eq!(outcome.left, Vec::<String>::new());
}

#[test]
fn heads_merged_with_the_batch_and_a_mask_of_their_own() {
    let outcome = fuse(
        "(%q: f32[2, 6, 8], %k: f32[2, 5, 8], %v: f32[2, 5, 8], %mask: f32[4, 6, 5]) {
          %q4 = weight [2, 6, 2, 4] : i64[4]
          %k4 = weight [2, 5, 2, 4] : i64[4]
          %q3 = weight [4, 6, 4] : i64[3]
          %k3 = weight [4, 5, 4] : i64[3]
          %packed = weight [2, 6, 8] : i64[3]
          %s = weight 3.0 : f32[]
          %0 = reshape(%q, %q4) : f32[2, 6, 2, 4]
          %1 = transpose(%0) {perm = [0, 2, 1, 3]} : f32[2, 2, 6, 4]
          %2 = reshape(%1, %q3) : f32[4, 6, 4]
          %3 = reshape(%k, %k4) : f32[2, 5, 2, 4]
          %4 = transpose(%3) {perm = [0, 2, 1, 3]} : f32[2, 2, 5, 4]
          %5 = reshape(%4, %k3) : f32[4, 5, 4]
          %6 = transpose(%5) {perm = [0, 2, 1]} : f32[4, 4, 5]
          %7 = reshape(%v, %k4) : f32[2, 5, 2, 4]
          %8 = transpose(%7) {perm = [0, 2, 1, 3]} : f32[2, 2, 5, 4]
          %9 = reshape(%8, %k3) : f32[4, 5, 4]
          %10 = matmul(%2, %6) : f32[4, 6, 5]
          %11 = div(%10, %s) : f32[4, 6, 5]
          %12 = add(%mask, %11) : f32[4, 6, 5]
          %13 = softmax(%12) : f32[4, 6, 5]
          %14 = matmul(%13, %9) : f32[4, 6, 4]
          %15 = reshape(%14, %q4_back) : f32[2, 2, 6, 4]
          %16 = transpose(%15) {perm = [0, 2, 1, 3]} : f32[2, 6, 2, 4]
          %17 = reshape(%16, %packed) : f32[2, 6, 8]
          return \"y\" = %17
        }"
        .replace("%q3 =", "%q4_back = weight [2, 2, 6, 4] : i64[4]\n          %q3 =")
        .as_str(),
    );
    let attention = attention(&outcome);
    assert_eq!((attention.q_num_heads, attention.kv_num_heads), (Some(2), Some(2)));
    let scale = attention.scale.expect("an unusual scale").get();
    assert!((scale - 1.0 / 3.0).abs() < 1e-6, "{scale}");
    // An axis for heads is added to the mask, and then its batch is divided.
    assert_eq!((outcome.count(OpKind::Transpose), outcome.rearrangements()), (0, 2));
}

#[test]
fn a_guard_and_wider_scores_go_into_the_operation() {
    let outcome = run_on(
        "fuse-attention",
        "(%q: f16[1, 2, 6, 4], %k: f16[1, 2, 4, 5], %v: f16[1, 2, 5, 4], %mask: f32[6, 5]) {
          %zero = weight 0.0 : f32[]
          %0 = matmul(%q, %k) : f16[1, 2, 6, 5]
          %1 = cast(%0) {to = f32} : f32[1, 2, 6, 5]
          %2 = add(%1, %mask) : f32[1, 2, 6, 5]
          %3 = softmax(%2) : f32[1, 2, 6, 5]
          %4 = is_nan(%3) : bool[1, 2, 6, 5]
          %5 = where(%4, %zero, %3) : f32[1, 2, 6, 5]
          %6 = cast(%5) {to = f16} : f16[1, 2, 6, 5]
          %7 = matmul(%6, %v) : f16[1, 2, 6, 4]
          return \"y\" = %7
        }",
        1e-2,
    );
    assert_eq!(attention(&outcome).scale, Some(1.0.into()));
    assert_eq!((outcome.count(OpKind::Transpose), outcome.count(OpKind::Where)), (1, 0));
    assert_eq!(outcome.left, ["its result is not a rearrangement of heads side by side"]);
}

#[test]
fn all_heads_may_share_keys() {
    let outcome = fuse(
        "(%q: f32[1, 4, 6, 8], %k: f32[1, 1, 8, 5], %v: f32[1, 1, 5, 8]) {
          %0 = matmul(%q, %k) : f32[1, 4, 6, 5]
          %1 = softmax(%0) {axis = 3} : f32[1, 4, 6, 5]
          %2 = matmul(%1, %v) : f32[1, 4, 6, 8]
          return \"y\" = %2
        }",
    );
    assert_eq!(outcome.count(OpKind::Attention), 1);
}

/// What is left of an attention whose middle is `middle`: from `%scores` to `%weights`.
fn left(middle: &str, results: &str) -> Vec<String> {
    let outcome = fuse(&format!(
        "(%q: f32[1, 6, 8], %k: f32[1, 8, 5], %v: f32[1, 5, 8], %mask: f32[6, 5], %bias: f32[6, 1]) {{
          %s = weight 0.5 : f32[]
          %scores = matmul(%q, %k) : f32[1, 6, 5]
          {middle}
          %y = matmul(%weights, %v) : f32[1, 6, 8]
          return {results}\"y\" = %y
        }}"
    ));
    assert_eq!(outcome.count(OpKind::Attention), 0);
    outcome.left
}

#[test]
fn near_misses_say_why() {
    let softmax = "%weights = softmax(%scores) : f32[1, 6, 5]";
    let output = "its result is also an output of the graph";
    assert_eq!(left(softmax, "\"weights\" = %weights, "), [output]);
    assert_eq!(left(softmax, "\"scores\" = %scores, "), [output]);
    let late = "%0 = add(%scores, %mask) : f32[1, 6, 5]
          %1 = mul(%0, %s) : f32[1, 6, 5]
          %weights = softmax(%1) : f32[1, 6, 5]";
    assert_eq!(left(late, ""), ["it multiplies scores that are masked"]);
    let bias = "%0 = add(%scores, %bias) : f32[1, 6, 5]
          %weights = softmax(%0) : f32[1, 6, 5]";
    assert_eq!(left(bias, ""), ["the mask is the same for all keys"]);
}

#[test]
fn a_softmax_over_classes_is_none() {
    let outcome = fuse(
        "(%x: f32[2, 3], %w: f32[3, 4]) {
          %0 = matmul(%x, %w) : f32[2, 4]
          %1 = softmax(%0) : f32[2, 4]
          return \"y\" = %1
        }",
    );
    assert_eq!((outcome.count(OpKind::Softmax), outcome.left.len()), (1, 0));
}

#[test]
fn scores_may_be_replaced_by_minus_infinity() {
    for (hides, choice) in [(false, "%mask, %0, %hidden"), (true, "%mask, %hidden, %0")] {
        let outcome = fuse(&format!(
            "(%q: f32[1, 2, 3, 4], %k: f32[1, 2, 4, 2], %v: f32[1, 2, 2, 4], %bias: f32[2, 3, 2]) {{
              %mask = weight [{hides}, true, {hides}, false, false, true] : bool[3, 2]
              %hidden = weight -inf : f32[]
              %0 = matmul(%q, %k) : f32[1, 2, 3, 2]
              %1 = where({choice}) : f32[1, 2, 3, 2]
              %2 = add(%1, %bias) : f32[1, 2, 3, 2]
              %3 = softmax(%2) : f32[1, 2, 3, 2]
              %4 = is_nan(%3) : bool[1, 2, 3, 2]
              %zero = weight 0.0 : f32[]
              %5 = where(%4, %zero, %3) : f32[1, 2, 3, 2]
              %6 = matmul(%5, %v) : f32[1, 2, 3, 4]
              return \"y\" = %6
            }}"
        ));
        assert_eq!((outcome.count(OpKind::Attention), outcome.count(OpKind::Softmax)), (1, 0));
    }
}
