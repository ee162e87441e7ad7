//! Rules applied to small graphs.

use quad_ir::dtype::DType;
use quad_ir::text::{NoWeights, parse};

use super::Rules;
use super::plan::{self, Plan};
use crate::precision::{Mixed, Precision};

/// The plan for the graph with these lines by the rules called `rules`.
fn plan(rules: &str, inputs: &str, lines: &str) -> Plan {
    mixed(rules, inputs, lines, &Mixed::uniform(Precision::W8A8))
}

fn mixed(rules: &str, inputs: &str, lines: &str, mixed: &Mixed) -> Plan {
    let text = format!("quad 1\n\ngraph @main({inputs}) {{\n{lines}\n}}\n");
    let module = parse(&text, &NoWeights).expect("a graph");
    let rules = Rules::preset(rules).expect("a preset");
    plan::plan(&module.graphs[0], &rules, mixed, &[]).expect("a plan")
}

/// Whether `a` and `b` share an encoding.
fn share(plan: &Plan, a: &str, b: &str) -> bool {
    plan.activations.iter().any(|shared| [a, b].iter().all(|name| shared.members.iter().any(|m| m == name)))
}

#[test]
fn a_pad_shares_an_encoding_unless_it_adds_numbers_of_its_own() {
    let padded = |constants: &str, pad: &str| {
        let lines = format!(
            "  %pads = weight [0, 1, 0, 1] : i64[4]\n{constants}  %x = tanh(%in) : f32[1, 4]\n  %y = pad({pad} : f32[1, 6]\n  return \"y\" = %y"
        );
        share(&plan("reference", "%in: f32[1, 4], %given: f32[]", &lines), "x", "y")
    };
    let value = |number: &str| format!("  %value = weight {number} : f32[]\n");
    assert!(padded("", "%x, %pads)"));
    assert!(padded(&value("0.0"), "%x, %pads, %value)"));
    assert!(padded("", "%x, %pads) {mode = edge}"));
    assert!(!padded(&value("10.0"), "%x, %pads, %value)"));
    assert!(!padded("", "%x, %pads, %given)"), "nobody knows the number");
}

#[test]
fn a_resize_shares_an_encoding_unless_it_makes_numbers_of_its_own() {
    let resized = |attributes: &str| {
        let lines = format!(
            "  %roi = weight [-0.5, -0.5, 1.5, 1.5] : f32[4]
  %sizes = weight [1, 8] : i64[2]
  %x = tanh(%in) : f32[1, 4]
  %y = resize(%x, %roi, _, %sizes) {{{attributes}}} : f32[1, 8]
  return \"y\" = %y"
        );
        share(&plan("reference", "%in: f32[1, 4]", &lines), "x", "y")
    };
    let outside = "coordinate_transformation_mode = tf_crop_and_resize";
    assert!(resized(outside));
    assert!(!resized(&format!("{outside}, extrapolation_value = 10.0")));
    assert!(resized("extrapolation_value = 10.0"), "no place is outside");
    assert!(!resized("mode = linear"));
}

#[test]
fn a_slot_is_of_the_first_module_that_reads_it() {
    let mut precisions = Mixed::uniform(Precision::W8A8);
    precisions.patterns =
        vec![("s".parse().expect("a pattern"), "w8a8-slots4".parse().expect("a precision"))];
    let plan = mixed(
        "reference",
        "%x: f32[1, 2], %slot: f32[2, 2] adapter",
        "  %y = matmul(%x, %slot) : f32[1, 2] from \"s\"
  %z = matmul(%y, %slot) : f32[1, 2]
  return \"z\" = %z",
        &precisions,
    );
    assert_eq!(plan.slots["slot"].codes.stored, DType::I4);
}

#[test]
fn a_first_factor_has_scales_of_rows_where_the_target_takes_them() {
    let plan = |rules| {
        plan(
            rules,
            "%x: f32[2, 2]",
            "  %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
  %v = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 2]
  %b = weight [1.0, 2.0] : f32[2]
  %c = weight [1.0, 2.0] : f32[2]
  %left = gemm(%w, %x, %b) : f32[2, 2]
  %right = gemm(%left, %v, %c) : f32[2, 2]
  return \"y\" = %right",
        )
    };
    for (rules, axis) in [("reference", Some(0)), ("litert", None), ("qnn", None)] {
        let plan = plan(rules);
        assert_eq!((plan.weights["w"].axis, plan.weights["v"].axis), (axis, Some(1)), "{rules}");
        // The bias lies along columns, which have no scales of their own.
        assert!(!plan.biases.contains_key("b"), "{rules}");
        assert_eq!(plan.biases.contains_key("c"), rules != "reference");
    }
}

#[test]
fn a_bias_is_nothing_else() {
    let plan = |second: &str| {
        let lines = format!(
            "  %w = weight [1.0, 2.0, 3.0, 4.0] : f32[2, 1, 1, 2]
  %b = weight [1.0, 2.0] : f32[2]
  %y = conv(%x, %w, %b) {{layout = nhwc}} : f32[1, 2, 2, 2]
  %z = {second} : f32[1, 2, 2, 2]
  return \"z\" = %z"
        );
        plan("litert", "%x: f32[1, 2, 2, 2]", &lines)
    };
    assert!(plan("relu(%y)").biases.contains_key("b"));
    for other in ["add(%y, %b)", "pow(%y, %b)"] {
        let plan = plan(other);
        assert!(!plan.biases.contains_key("b") && !plan.weights.contains_key("b"), "{other}");
        assert!(plan.floats["b"].contains("is no bias to `z`"), "{:?}", plan.floats);
    }
}
