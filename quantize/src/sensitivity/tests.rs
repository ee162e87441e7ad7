//! Tests of the bench and of layers on a graph that is small enough to compute by hand.

use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};

use super::bench::{Bench, BenchError, Subject, View, reference};
use super::divergence::Divergence;
use super::layers::{layers, scores};
use super::matrix::Matrix;
use crate::encoding::Encoding;
use crate::executor::samples::Samples;
use crate::insert::Encodings;

/// Twice the input, and the slot added to it.
const TEXT: &str = r#"quad 1

graph @main(%x: f32[1, 2], %s: f32[1, 2] adapter) {
  %w = weight [2.0, 2.0] : f32[1, 2]
  %y = mul(%x, %w) : f32[1, 2] from "scale"
  %z = add(%y, %s) : f32[1, 2] from "shift"
  return "z" = %z
}
"#;

fn module() -> Module {
    text::parse(TEXT, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

fn tensor(sizes: &[usize], numbers: &[f32]) -> Tensor {
    Tensor::from_vec(sizes, numbers.to_vec()).expect("as many as the sizes say")
}

/// An adapter whose slot is `shift`, on the inputs (0, 1), (2, 3) and so on.
fn subject(module: &Module, name: &str, shift: f32, samples: usize) -> Subject {
    let numbers: Vec<f32> = (0..2 * samples).map(|number| number as f32).collect();
    let arrays = NamedTensors::from([("x".to_owned(), tensor(&[samples, 1, 2], &numbers))]);
    let mut all = Samples::default();
    all.add(module.main().expect("a graph"), arrays).expect("samples");
    let slots = NamedTensors::from([("s".to_owned(), tensor(&[1, 2], &[shift, shift]))]);
    Subject::new(name, slots, all, None)
}

fn encodings(scales: &[(&str, f32)]) -> Encodings {
    let encoding = |(name, scale): &(&str, f32)| {
        ((*name).to_owned(), Encoding::per_tensor(DType::I8, *scale, 0).expect("encodes").into())
    };
    scales.iter().map(encoding).collect()
}

fn view(divergence: Divergence) -> View {
    View { peak: Some(10.0), divergence, ..View::default() }
}

#[test]
fn outputs_are_those_of_the_quantized_graph() {
    let module = module();
    let subjects = vec![subject(&module, "a", 0.3, 2)];
    let bench =
        Bench::new(&module, subjects, &reference, view(Divergence::MeanSquaredError), &|| ()).expect("runs");
    let output =
        |outputs: &[NamedTensors], sample: usize| outputs[sample]["z"].to_f32().expect("floats").to_vec();
    assert_eq!(output(bench.expected(0), 1), [4.3, 6.3]);
    // In steps of 4, the doubled inputs 0, 2, 4, 6 are 0, 0, 4, 8; in steps of 1/4, the slot is 1/4.
    let found = bench.outputs(&encodings(&[("y", 4.0), ("s", 0.25)]), &[0], &|| ()).expect("runs");
    assert_eq!(output(&found[0], 0), [0.25, 0.25]);
    assert_eq!(output(&found[0], 1), [4.25, 8.25]);
    let fidelity = bench.fidelity(0, &found[0]).expect("compared");
    let errors = [[-0.05f64, -2.05], [-0.05f64, 1.95]].map(|[a, b]| f64::midpoint(a.powi(2), b.powi(2)));
    assert!((fidelity.qss - f64::midpoint(errors[0], errors[1])).abs() < 1e-5, "{fidelity:?}");
    let psnr = errors.map(|error| 10.0 * (100.0 / error).log10());
    assert!((fidelity.psnr - f64::midpoint(psnr[0], psnr[1])).abs() < 1e-5, "{fidelity:?}");
    assert_eq!(fidelity.ssim, None);
}

#[test]
fn the_matrix_has_a_row_for_each_candidate() {
    let module = module();
    let subjects = vec![subject(&module, "a", 1.0, 2), subject(&module, "b", 100.0, 2)];
    let bench = Bench::new(&module, subjects, &reference, view(Divergence::default()), &|| ()).expect("runs");
    let candidates =
        [("a", 0.01), ("b", 1.0)].map(|(name, scale)| (name.to_owned(), encodings(&[("s", scale)])));
    let matrix = Matrix::measure(&bench, &candidates, &|| ()).expect("runs");
    let psnr = |candidate, adapter| matrix.get(candidate, adapter).expect("measured").psnr;
    // 1 is 100 steps of 0.01; 100 is clipped to 1.27, an error of 98.73.
    assert!(psnr("a", "a") > 100.0, "{matrix:?}");
    assert!((psnr("a", "b") - 20.0 * (10.0f64 / 98.73).log10()).abs() < 1e-3, "{matrix:?}");
    assert!(psnr("b", "a") > 100.0 && psnr("b", "b") > 100.0, "{matrix:?}");
}

#[test]
fn each_layer_is_scored_alone() {
    let module = module();
    let subjects = vec![subject(&module, "a", 0.3, 2)];
    let bench =
        Bench::new(&module, subjects, &reference, view(Divergence::MeanSquaredError), &|| ()).expect("runs");
    let all = encodings(&[("y", 4.0), ("z", 0.5)]);
    let layers = layers(module.main().expect("a graph"), all.keys());
    let scores = scores(&bench, &layers, &all, &Encodings::new(), &|| ()).expect("runs");
    let found: Vec<(&str, usize)> = scores.iter().map(|score| (score.layer.as_str(), score.values)).collect();
    assert_eq!(found, [("scale", 1), ("shift", 1)]);
    // Errors 0, 2, 0, 2 of the product; every sum ends in .3, and the next half is 0.2 away.
    assert!((scores[0].worst() - 2.0).abs() < 1e-6, "{scores:?}");
    assert!((scores[1].worst() - 0.04).abs() < 1e-6, "{scores:?}");
}

#[test]
fn samples_are_spread_and_must_be_there() {
    let module = module();
    let all = subject(&module, "a", 0.0, 8);
    assert_eq!(all.limited(3).which, [0, 2, 5]);
    assert_eq!(all.limited(100).which, [0, 1, 2, 3, 4, 5, 6, 7]);
    let none = vec![all.limited(0)];
    let refused = Bench::new(&module, none, &reference, View::default(), &|| ()).err();
    assert!(matches!(refused, Some(BenchError::NoSamples(name)) if name == "a"));
    let bench = Bench::new(&module, vec![all], &reference, View::default(), &|| ()).expect("runs");
    // From 0 to 30, without a peak that somebody stated.
    assert_eq!(bench.peak(), 30.0);
}
