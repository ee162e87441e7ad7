//! Tests of taking branches out of a graph: exposed again, with what was taken out, it computes the same.

use std::collections::BTreeMap;

use quad_ir::compare::{Difference, Tolerance};
use quad_ir::text::{self, NoWeights};
use quad_ir::verify::verify;

use super::*;
use crate::check::{draw_inputs, evaluate};
use crate::lora::expose::{Options, expose};
use crate::lora::pack::{Share, pack};

/// Two branches beside one product, the second with a transposed weight, a cast that does nothing, and a `gemm`; both
/// share the weight that reduces.
const TWO_BRANCHES: &str = "quad 1

    graph @main(%x: f32[2, 3]) {
      %w = weight [1.0, 2.0, -1.0, 0.5, 0.25, 3.0] : f32[3, 2]
      %bias = weight [0.5, -0.5] : f32[2]
      %down = weight [1.0, -1.0, 0.5, 2.0, 1.5, 0.25] : f32[3, 2]
      %up = weight [1.0, 0.5, -2.0, 1.0] : f32[2, 2]
      %up_t = weight [0.5, 1.0, 1.0, -1.0] : f32[2, 2]
      %half = weight 0.5 : f32[]
      %layer = matmul(%x, %w) : f32[2, 2]
      %base = add(%bias, %layer) : f32[2, 2]
      %d1 = matmul(%x, %down) : f32[2, 2]
      %u1 = matmul(%d1, %up) : f32[2, 2]
      %s1 = mul(%half, %u1) : f32[2, 2]
      %first = add(%base, %s1) : f32[2, 2]
      %d2 = matmul(%x, %down) : f32[2, 2]
      %u2 = gemm(%d2, %up_t) {transB = true} : f32[2, 2]
      %c2 = cast(%u2) {to = f32} : f32[2, 2]
      %second = add(%c2, %first) : f32[2, 2]
      %y = relu(%second) : f32[2, 2]
      return \"y\" = %y
    }";

fn node(graph: &Graph, value: &str) -> NodeId {
    graph.find(value).expect("named").producer().id()
}

fn branch(graph: &Graph, [join, layer, down, up]: [&str; 4], scale: f64) -> Branch {
    let node = |value| node(graph, value);
    Branch { path: "fc".into(), join: node(join), layer: node(layer), down: node(down), up: node(up), scale }
}

#[test]
fn what_is_taken_out_and_put_in_again_computes_the_same() {
    let module = text::parse(TWO_BRANCHES, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
    let mut exposed = module.clone();
    let graph = &mut exposed.graphs[0];
    let branches = [
        branch(graph, ["first", "layer", "d1", "u1"], 0.5),
        branch(graph, ["second", "layer", "d2", "u2"], 1.0),
    ];
    let lifted = lift(graph, &branches, &mut Context::default()).expect("they are branches");
    verify(graph).expect("valid");
    let left: Vec<&str> =
        graph.nodes().map(|node| node.op().def().name()).filter(|name| *name != "weight").collect();
    assert_eq!(left, ["input", "matmul", "add", "relu"]);
    assert_eq!(lifted.adapter.sites[0].scale, [0.5, 0.5, 1.0, 1.0]);
    assert_eq!((lifted.sites[0].rank, lifted.sites[0].layers.len()), (4, 1));
    expose(graph, &lifted.sites, Options::default(), &mut Context::default()).expect("it can be exposed");
    let slots = pack(&exposed, &[Share { adapter: &lifted.adapter, strength: 1.0 }]).expect("it fits");
    let mut inputs = draw_inputs(&module, 1, &BTreeMap::new()).expect("known sizes");
    let expected = evaluate(&module, &inputs).expect("it runs");
    inputs.extend(slots);
    let found = evaluate(&exposed, &inputs).expect("it runs");
    let tolerance = Tolerance { rtol: 1e-6, atol: 1e-6 };
    let difference = Difference::between(&found["y"], &expected["y"], tolerance).expect("same types");
    assert!(difference.holds(), "{difference:?}");
}

#[test]
fn calls_of_a_module_must_have_the_same_branches() {
    let mut module = text::parse(TWO_BRANCHES, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
    let graph = &mut module.graphs[0];
    // As if the two branches stood beside two calls: they differ.
    let branches = [
        branch(graph, ["first", "layer", "d1", "u1"], 0.5),
        branch(graph, ["second", "d1", "d2", "u2"], 1.0),
    ];
    let error = lift(graph, &branches, &mut Context::default()).expect_err("they differ").to_string();
    assert!(error.contains("module `fc` has other branches"), "{error}");
}

#[test]
fn a_branch_that_slides_in_another_way_than_its_layer_is_refused() {
    let text = "quad 1

        graph @main(%x: f32[1, 2, 5, 5]) {
          %w = weight [1.0, 2.0, -1.0, 0.5] : f32[2, 2, 1, 1]
          %down = weight [1.0, -1.0] : f32[1, 2, 1, 1]
          %up = weight [1.0, 0.5] : f32[2, 1, 1, 1]
          %layer = conv(%x, %w) {strides = [2, 2], pads = [0, 0, 1, 1]} : f32[1, 2, 3, 3]
          %d = conv(%x, %down) {strides = [2, 2], pads = [1, 1, 0, 0]} : f32[1, 1, 3, 3]
          %u = conv(%d, %up) : f32[1, 2, 3, 3]
          %y = add(%layer, %u) : f32[1, 2, 3, 3]
          return \"y\" = %y
        }";
    let mut module = text::parse(text, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
    let graph = &mut module.graphs[0];
    let branches = [branch(graph, ["y", "layer", "d", "u"], 1.0)];
    let error = lift(graph, &branches, &mut Context::default()).expect_err("other pads").to_string();
    assert!(error.contains("does not reduce what its layer reads as the layer would"), "{error}");
}
