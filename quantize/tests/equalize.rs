//! What evening out channels is worth: the error of a quantized pair of layers, before and after.

use std::collections::BTreeMap;

use quad_ir::compare::{Difference, Tolerance};
use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};
use quad_passes::check::draw_inputs;
use quad_passes::context::Context;
use quad_passes::fold::equalize::Equalize;
use quad_passes::pass::Pass;
use quad_quantize::encoding::{Codes, Range};
use quad_quantize::insert::{self, Encodings};

/// Two layers whose channels reach from 1/64 to 16, each as small behind `relu` as it was large before.
const LAYERS: &str = "quad 1

graph @main(%x: f32[64, 4]) {
  %w = weight [8.0, 0.011, -0.5, 2.0, -16.0, 0.0156, 0.25, -1.0, 11.0, -0.009, 0.75, 3.0, 5.0, 0.014, -0.3, -4.0] : f32[4, 4]
  %b = weight [1.0, 0.002, 0.05, 0.25] : f32[4]
  %0 = gemm(%x, %w, %b) : f32[64, 4]
  %a = relu(%0) : f32[64, 4]
  %v = weight [0.02, -0.04, 0.03, 0.06, 12.0, -9.0, 15.0, 4.0, 0.5, 0.75, -1.0, 0.3, 0.11, -0.2, 0.07, 0.25] : f32[4, 4]
  %y = matmul(%a, %v) : f32[64, 4]
  return \"y\" = %y
}
";

fn module() -> Module {
    text::parse(LAYERS, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

fn main_of(module: &Module) -> &Graph {
    module.main().expect("it runs")
}

/// The values of a run, and all constants that layers multiply with, by name.
fn values(module: &Module, inputs: &NamedTensors) -> BTreeMap<String, Tensor> {
    let graph = main_of(module);
    let mut values = BTreeMap::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        values.extend(value.name().map(|name| (name.to_string(), tensor.clone())));
    };
    Interpreter::new(graph).run_observed(inputs, &mut observe).expect("it runs");
    values
}

/// The signal-to-noise ratio, in decibels, of the output of `module` in 8 bits with one scale to a tensor.
fn quality(module: &Module, inputs: &NamedTensors, expected: &Tensor) -> f64 {
    let range = |tensor: &Tensor| {
        let elements = tensor.to_f32().expect("floats").into_owned();
        elements.iter().fold(Range { min: 0.0, max: 0.0 }, |range, element| Range {
            min: range.min.min(*element),
            max: range.max.max(*element),
        })
    };
    let mut encodings = Encodings::new();
    for (name, tensor) in values(module, inputs) {
        let codes = Codes::asymmetric(quad_ir::dtype::DType::U8);
        encodings.insert(name, codes.per_tensor(range(&tensor)).expect("encodes").into());
    }
    let graph = main_of(module);
    for node in graph.nodes() {
        let value = node.result();
        let (Some(weight), Some(name)) = (value.weight(), value.name()) else { continue };
        let tensor = graph.weights().tensor(weight).expect("in memory");
        if tensor.rank() == 2 {
            let codes = Codes::symmetric(quad_ir::dtype::DType::I8);
            encodings.insert(name.to_string(), codes.per_tensor(range(&tensor)).expect("encodes").into());
        } else {
            encodings.remove(&**name);
        }
    }
    let mut quantized = module.clone();
    insert::insert(&mut quantized, &encodings, &mut Context::default()).expect("inserted");
    let found = Interpreter::new(main_of(&quantized)).run(inputs).expect("it runs");
    let tolerance = Tolerance { rtol: 0.0, atol: 0.0 };
    Difference::between(&found["y"], expected, tolerance).expect("of one type").sqnr
}

#[test]
fn evened_layers_lose_less() {
    let plain = module();
    let inputs = draw_inputs(&plain, 7, &BTreeMap::new()).expect("known sizes");
    let expected = Interpreter::new(main_of(&plain)).run(&inputs).expect("it runs");
    let mut evened = plain.clone();
    let mut cx = Context::default();
    Equalize::default().run_module(&mut evened, &mut cx).expect("it runs");
    assert_eq!(cx.changes(), 1);
    let graph = evened.graphs.first_mut().expect("a graph");
    graph.compact();
    let unnamed: Vec<_> =
        graph.nodes().map(NodeRef::result).filter(|value| value.name().is_none()).map(ValueRef::id).collect();
    for (number, value) in unnamed.into_iter().enumerate() {
        graph.set_name(value, &format!("made.{number}"));
    }
    // The same in floats, bit for bit.
    assert_eq!(Interpreter::new(main_of(&evened)).run(&inputs).expect("it runs"), expected);
    let (before, after) =
        (quality(&plain, &inputs, &expected["y"]), quality(&evened, &inputs, &expected["y"]));
    assert!(after > before + 6.0, "{before:.1} dB before and {after:.1} dB after");
}
