//! No operation is left behind: each is shown by a test that is a file, and can be written to an ONNX model.

use std::collections::BTreeMap;

use quad_frontends::onnx::support;
use quad_ir::ops::all_ops;
use quad_tests::coverage;

/// Operations that have a syntax of their own in the text form, and that models hold as inputs and initializers.
const SOURCES: [&str; 2] = ["input", "weight"];

/// Operations that are not written to ONNX models, and why.
const NOT_WRITTEN: &[(&str, &str)] = &[
    ("quantize", "pass `unfold-quant` makes `quantize_linear` of it"),
    ("dequantize", "pass `unfold-quant` makes `dequantize_linear` of it"),
];

fn names() -> impl Iterator<Item = &'static str> {
    all_ops().into_iter().map(|op| op.def().name()).filter(|name| !SOURCES.contains(name))
}

#[test]
fn every_operation_is_shown_by_a_test() {
    let shown = coverage::shown_in().expect("the tests that are files");
    let missing: Vec<&str> = names().filter(|name| !shown.contains_key(*name)).collect();
    assert!(missing.is_empty(), "no file below tests/filetests computes with {}", missing.join(", "));
}

#[test]
fn every_operation_is_written_to_onnx_or_has_an_excuse() {
    let excuses: BTreeMap<&str, &str> = NOT_WRITTEN.iter().copied().collect();
    let support = support();
    let written = |name: &str| support.iter().any(|row| row.written_from == Some(name));
    let missing: Vec<&str> = names().filter(|name| !written(name) && !excuses.contains_key(name)).collect();
    assert!(missing.is_empty(), "no row of the ONNX table writes {}", missing.join(", "));
    let stale: Vec<&str> = excuses.into_keys().filter(|name| written(name)).collect();
    assert!(stale.is_empty(), "these are written after all: {}", stale.join(", "));
}
