//! Tests of what is refused, of what is told, and of fuel.

use std::collections::BTreeMap;

use quad_ir::module::Module;
use quad_ir::text::{self, NoWeights};
use quad_ir::verify::verify;
use quad_passes::check::{draw_inputs, evaluate};
use quad_passes::context::Context;

use super::*;
use crate::profile::Role;

/// A layer with a bias and a branch.
const LAYER: &str = "graph @main(%x: f32[1, 2], %n: i64[1], %s: f32[2, 2] adapter) {
  %w = weight [1, -2, 0.5, 1.5] : f32[2, 2]
  %b = weight [0.5, -1.5] : f32[2]
  %y = gemm(%x, %w, %b) : f32[1, 2]
  %z = matmul(%x, %s) : f32[1, 2]
  %sum = add(%y, %z) : f32[1, 2]
  return \"sum\" = %sum
}

graph @pack(%s: f32[2, 2] adapter) {
  return \"s\" = %s
}";

fn module(body: &str) -> Module {
    text::parse(&format!("quad 1\n\n{body}"), &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

fn insert_all(module: &mut Module, encodings: &str, fuel: Option<u64>) -> Result<Report, String> {
    let encodings = parse(encodings).expect("encodings");
    let mut cx = Context::with_fuel(fuel);
    insert(module, &encodings, &mut cx).map_err(|error| error.to_string())
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_changes() {
    let cases = [
        ("x=i32:0.5", "at most 16 bits"),
        ("n=u8:0.5", "expected a value of f32"),
        ("w=i8:0.5,0.5,0.5@1", "found 3 scales, expected 2"),
        ("w=i8:0.5,0.5@2", "no axis 2"),
        ("x=u8:0.5:256", "zero point 256 is not between 0 and 255"),
        ("x=u8:0.5:-1", "zero point -1"),
        ("w=i32:0.5,0.5@1", "only axis"),
    ];
    for (encodings, expected) in cases {
        let mut layer = module(LAYER);
        let before = text::print(&layer).expect("printed");
        let error = insert_all(&mut layer, encodings, None).expect_err(encodings);
        assert!(error.contains(expected), "{encodings}: {error}");
        assert_eq!(text::print(&layer).expect("printed"), before);
    }
    let mut alone = module(LAYER);
    alone.graphs.truncate(1);
    let error = insert_all(&mut alone, "s=i16:0.5", None).expect_err("no @pack");
    assert!(error.contains("no graph @pack fills it"), "{error}");
}

#[test]
fn what_was_quantized_and_what_was_left_is_told() {
    let encodings = "x=u8:0.5:128 w=i8:0.5,0.5@1 b=i32:0.25,0.25@0 gone=u8:1";
    let report = insert_all(&mut module(LAYER), encodings, None).expect("inserted");
    let counts = [Role::Activation, Role::Weight, Role::Bias, Role::Slot].map(|role| report.count(role));
    assert_eq!(counts, [1, 1, 1, 0]);
    assert_eq!(report.absent, ["gone"]);
    let float: Vec<(&str, Role, &str)> =
        report.float.iter().map(|value| (&*value.name, value.role, &*value.op)).collect();
    let expected = [
        ("s", Role::Slot, "matmul"),
        ("y", Role::Activation, "gemm"),
        ("z", Role::Activation, "matmul"),
        ("sum", Role::Activation, "add"),
    ];
    assert_eq!(float, expected);
    assert_eq!(report.lines()[0], "quantized 1 activations, 1 weights, 1 biases, 0 slots");
}

#[test]
fn a_second_time_changes_nothing() {
    let encodings = "x=u8:0.5:128 w=i8:0.5,0.5@1 b=i32:0.25,0.25@0 s=i16:0.001 sum=u8:0.5:100";
    let mut layer = module(LAYER);
    insert_all(&mut layer, encodings, None).expect("inserted");
    let once = text::print(&layer).expect("printed");
    let report = insert_all(&mut layer, encodings, None).expect("inserted");
    assert_eq!(text::print(&layer).expect("printed"), once);
    assert_eq!(report.already.len(), 5);
    assert!(report.quantized.is_empty());
}

#[test]
fn with_any_fuel_the_module_is_whole() {
    let encodings = "x=u8:0.5:128 w=i8:0.5,0.5@1 b=i32:0.25,0.25@0 s=i16:0.001 sum=u8:0.5:100";
    let layer = module(LAYER);
    let inputs = draw_inputs(&layer, 1, &BTreeMap::new()).expect("known sizes");
    for fuel in 0..7 {
        let mut layer = layer.clone();
        insert_all(&mut layer, encodings, Some(fuel)).expect("inserted");
        for graph in &layer.graphs {
            verify(graph).expect("valid");
        }
        evaluate(&layer, &inputs).expect("it runs");
    }
}

fn profile(graph: String, entries: &[(&str, Role, &str)]) -> Profile {
    let entry = |(name, role, text): &(&str, Role, &str)| {
        let Wanted { encoding, limit, .. } = parse(&format!("x={text}")).expect("an encoding")["x"].clone();
        let range = crate::encoding::Range { min: -1.0, max: 1.0 };
        ((*name).to_owned(), crate::profile::Entry { role: *role, encoding, range, limit })
    };
    Profile {
        graph,
        pipeline: "frozen".to_owned(),
        rules: "reference".to_owned(),
        precision: crate::precision::Precision::W8A16,
        mixed: Vec::new(),
        method: "min-max".to_owned(),
        weights: "per-channel".to_owned(),
        slots: quad_passes::lora::expose::Form::Plain,
        anchor: crate::profile::Anchor::default(),
        entries: entries.iter().map(entry).collect(),
        floats: BTreeMap::from([("z".to_owned(), "for a test".to_owned())]),
    }
}

#[test]
fn a_profile_is_for_one_graph() {
    let mut layer = module(LAYER);
    let graph = digest::of_graph(layer.main().expect("it runs")).expect("a digest");
    let entries = [("x", Role::Activation, "u8:0.5:128"), ("w", Role::Weight, "i8:0.5")];
    let right = profile(graph.clone(), &entries);
    let mut cx = Context::default();
    let error = insert_profile(&mut layer, &graph, &profile("0".repeat(32), &entries), &mut cx);
    let error = error.expect_err("of another graph").to_string();
    assert!(error.contains(&graph) && error.contains("another graph"), "{error}");
    let report = insert_profile(&mut layer.clone(), &graph, &right, &mut cx).expect("inserted");
    let unexpected: Vec<&str> = report.unexpected().map(|value| &*value.name).collect();
    assert_eq!(unexpected, ["s", "y", "sum"], "b is a constant, and z stays a float on purpose");
    // The same from a file, by the name of the pass.
    let file = tempfile::NamedTempFile::new().expect("a file");
    right.write(file.path()).expect("written");
    let pass = InsertQuant { profile: file.path().display().to_string(), ..InsertQuant::default() };
    let mut again = layer.clone();
    pass.run_module(&mut again, &mut cx).expect("inserted");
    let mut expected = layer.clone();
    insert_profile(&mut expected, &graph, &right, &mut cx).expect("inserted");
    assert_eq!(text::print(&again).expect("printed"), text::print(&expected).expect("printed"));
    let error = pass.run_module(&mut expected, &mut cx).expect_err("changed since").to_string();
    assert!(error.contains("another graph"), "{error}");
}

#[test]
fn entries_are_of_what_they_say() {
    let mut layer = module(LAYER);
    let graph = digest::of_graph(layer.main().expect("it runs")).expect("a digest");
    let wrong = profile(graph.clone(), &[("x", Role::Weight, "u8:0.5:128")]);
    let error = insert_profile(&mut layer, &graph, &wrong, &mut Context::default()).expect_err("no weight");
    assert!(
        error.to_string().contains("that of a weight, and here it is a value that is computed"),
        "{error}"
    );
}

#[test]
fn codes_stay_within_their_limit() {
    let mut layer = module(LAYER);
    let mut encodings = parse("s=u16:0.001:32768").expect("an encoding");
    let limited = encodings.get_mut("s").expect("it is there");
    limited.limit = Some(1000);
    insert(&mut layer, &encodings, &mut Context::default()).expect("inserted");
    let pack = layer.graph(PACK).expect("a graph");
    let factors = quad_ir::tensor::Tensor::from_vec(&[2, 2], vec![-7.0f32, 0.5, 7.0, 0.001]);
    let given = BTreeMap::from([("s".to_owned(), factors.expect("a matrix"))]);
    let packed = quad_ir::interpret::Interpreter::new(pack).run(&given).expect("packed");
    assert_eq!(packed["s"].to_i64().expect("integers"), [31768, 33268, 33768, 32769]);
}
