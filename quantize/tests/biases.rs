//! Biases are stored in as many bits as sums of products.

use quad_ir::graph::ValueRef;
use quad_ir::text::{self, NoWeights};
use quad_passes::context::Context;
use quad_quantize::insert;

const LAYER: &str = "quad 1

graph @main(%x: f32[1, 2]) {
  %w = weight [1, -2, 0.5, 1.5] : f32[2, 2]
  %b = weight [0.5, -1.5] : f32[2]
  %y = gemm(%x, %w, %b) : f32[1, 2]
  return \"y\" = %y
}
";

#[test]
fn biases_have_32_or_64_bits() {
    let cases = [
        ("i64", [500_000_000_000, -1_500_000_000_000]),
        ("i32", [i64::from(i32::MAX), -i64::from(i32::MAX)]),
    ];
    for (stored, expected) in cases {
        let mut layer = text::parse(LAYER, &NoWeights).expect("a module");
        let encodings = insert::parse(&format!("b={stored}:1e-12")).expect("an encoding");
        insert::insert(&mut layer, &encodings, &mut Context::default()).expect("inserted");
        let graph = layer.main().expect("it runs");
        let bias = graph.find("b").and_then(ValueRef::weight).expect("it keeps its name");
        let found = graph.weights().tensor(bias).expect("made").to_i64().expect("integers");
        // The scale is no power of ten in f32.
        let apart = found.iter().zip(expected).map(|(found, expected)| found.abs_diff(expected));
        assert!(apart.max() < Some(100_000), "{stored}: {found:?}");
    }
}
