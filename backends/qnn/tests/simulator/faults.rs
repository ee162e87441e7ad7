//! Faults of the compiler for the tensor processor: graphs are kept from them, and they are there still.

use std::fmt::Write as _;

use libtest_mimic::Failed;
use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;
use quad_ir::text::{NoWeights, parse};
use quad_qnn::model::{DataType, QnnGraph};
use quad_qnn::native::{Native, Program, Run};
use quad_qnn::table::{Setting, lower};

use crate::support::{Numbers, SOCS, Test, soc, unpack};

pub(crate) const TESTS: &[Test] =
    &[("a sum that its own sigmoid gates comes out right", gated_sums_come_out_right)];

/// Steps that a gated sum may be off; without what keeps it from the fault it is thousands.
const STEPS: f64 = 8.0;

/// A result of `kind` that is multiplied by its own sigmoid, and added to.
fn gated(kind: &str) -> Graph {
    let ty = |scale: f32, zero: u32| {
        format!("u16[1, 48, 8, 8] quant(scale = [{scale}], zero_point = [{zero}], of = f32)")
    };
    let text = format!(
        "quad 1\n\ngraph @main(%a: {x}, %b: {x}) {{\n  %s = {kind}(%a, %b) : {sum}\n  %g = swish(%s) : {gate}\n  \
         %y = add(%g, %a) : {result}\n  return \"y\" = %y\n}}\n",
        x = ty(1.6e-4, 32000),
        sum = ty(3.2e-4, 32100),
        gate = ty(1.8e-4, 1600),
        result = ty(2.6e-4, 20000),
    );
    let mut module = parse(&text, &NoWeights).unwrap_or_else(|errors| panic!("{}\n{text}", errors.show()));
    module.graphs.remove(0)
}

/// How many steps `graph` on the simulator is from `exact`.
fn off(native: &Native, graph: &QnnGraph, chip: &str, run: &Run, exact: &Tensor) -> Result<f64, Failed> {
    let outputs =
        native.execute(&Program::Graph(Box::new(graph.clone())), soc(chip), std::slice::from_ref(run))?;
    let found = unpack(DataType::Ufixed16, &outputs[0][0].1);
    let exact = exact.to_f64()?;
    Ok(found.iter().zip(exact.iter()).map(|(found, exact)| (*found as f64 - exact).abs()).fold(0.0, f64::max))
}

/// The graph with sigmoids that read what is computed, as if nothing were wrong.
fn unguarded(mut graph: QnnGraph) -> QnnGraph {
    let converted: Vec<_> = graph.nodes.iter().filter(|node| node.kind == "Convert").cloned().collect();
    for node in graph.nodes.iter_mut().filter(|node| node.kind == "Sigmoid") {
        let from = converted.iter().find(|convert| convert.outputs == node.inputs);
        node.inputs = from.map_or_else(|| node.inputs.clone(), |convert| convert.inputs.clone());
    }
    graph.nodes.retain(|node| node.kind != "Convert");
    graph
}

fn gated_sums_come_out_right(native: &Native) -> Result<(), Failed> {
    let mut numbers = Numbers::new(11);
    let mut input = || {
        let codes = (0..48 * 8 * 8).map(|_| numbers.integer(20_000, 50_000)).collect();
        Tensor::from_i64(DType::U16, &[1, 48, 8, 8], codes)
    };
    let (a, b) = (input()?, input()?);
    let inputs = NamedTensors::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    let run: Run = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.bytes().to_vec())).collect();
    let mut wrong = String::new();
    for kind in ["add", "sub", "max", "min"] {
        let graph = gated(kind);
        let exact = Interpreter::new(&graph).run(&inputs)?["y"].clone();
        for chip in SOCS {
            let lowered = lower(&graph, Setting { soc: soc(chip) })?.graph;
            let guarded = off(native, &lowered, chip, &run, &exact)?;
            if guarded > STEPS {
                writeln!(wrong, "{kind}, {chip}: {guarded} steps off, at most {STEPS}")?;
            }
            let plain = off(native, &unguarded(lowered), chip, &run, &exact)?;
            if plain < 100.0 * STEPS {
                writeln!(
                    wrong,
                    "{kind}, {chip}: {plain} steps off without a conversion, which need not be made"
                )?;
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
