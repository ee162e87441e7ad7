//! Tests of exposed branches: what they compute is what the layer computes with the adapter merged into its weight.

use std::collections::BTreeMap;

use quad_ir::compare::{Difference, Tolerance};
use quad_ir::interpret::NamedTensors;
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::{Gemm, Op, Transpose};
use quad_ir::tensor::Tensor;
use quad_ir::verify::verify;

use super::*;
use crate::check::{Draw, evaluate};

const RANK: usize = 3;

/// A layer under test: its operation and operands.
struct Case {
    op: Op,
    x: Vec<usize>,
    w: Vec<usize>,
    /// Sizes of what is added behind it.
    bias: Option<Vec<usize>>,
    /// From `[out, in, kernel..]`, in which adapters say what they change, to how `w` lies, as an order of axes.
    perm: &'static [i64],
    /// Sizes of the change: `[out, in, kernel..]`.
    delta: Vec<usize>,
}

/// A graph of the layer of `case` with weight `w`, which computes with `op`.
fn graph(case: &Case, op: &Op, w: &Tensor) -> Graph {
    let mut graph = Graph::new("main");
    let sizes: Vec<u64> = case.x.iter().map(|size| *size as u64).collect();
    let x =
        graph.add_input("x", TensorType::known(DType::F32, &sizes), Binding::Run, Loc::Built).expect("typed");
    let w = graph.add_constant(w, Loc::Built).expect("typed");
    let mut y = graph.add_value(op.clone(), &[x, w], Loc::Built).expect("typed");
    graph.set_name(y, "layer");
    if let Some(bias) = &case.bias {
        let bias = Draw::new(9).tensor(DType::F32, bias).expect("small");
        let bias = graph.add_constant(&bias, Loc::Built).expect("typed");
        y = graph.add_value(Add, &[bias, y], Loc::Built).expect("typed");
    }
    let output = quad_ir::graph::Output { name: "y".into(), value: y };
    graph.set_outputs(vec![output]).expect("it is there");
    graph
}

/// `scale * B A` in the layout of the adapter, in double precision, one product to an element.
fn delta(a: &Tensor, b: &Tensor, scale: &Tensor, sizes: &[usize]) -> Vec<f64> {
    let (a, b, scale) = (a.to_f64().expect("f32"), b.to_f64().expect("f32"), scale.to_f64().expect("f32"));
    let inner: usize = sizes[1..].iter().product();
    let element = |out: usize, at: usize| -> f64 {
        (0..RANK).map(|rank| scale[rank] * b[out * RANK + rank] * a[rank * inner + at]).sum()
    };
    (0..sizes[0])
        .flat_map(|out| (0..inner).map(move |at| (out, at)))
        .map(|(out, at)| element(out, at))
        .collect()
}

fn transposed(tensor: &Tensor, perm: &[i64]) -> Tensor {
    let mut graph = Graph::new("main");
    let x = graph.add_constant(tensor, Loc::Built).expect("typed");
    let y = graph.add_value(Transpose { perm: Some(perm.to_vec()) }, &[x], Loc::Built).expect("typed");
    let output = quad_ir::graph::Output { name: "y".into(), value: y };
    graph.set_outputs(vec![output]).expect("it is there");
    let module = Module { graphs: vec![graph] };
    evaluate(&module, &NamedTensors::new()).expect("it runs").remove("y").expect("an output")
}

fn sum(a: &Tensor, b: &Tensor) -> Tensor {
    let elements =
        a.to_f32().expect("f32").iter().zip(b.to_f32().expect("f32").iter()).map(|(a, b)| a + b).collect();
    Tensor::from_vec(a.sizes(), elements).expect("as many")
}

/// Checks that the exposed layer of `case` computes what the layer with the merged weight computes, and without an adapter
/// what the layer computes.
fn check(case: &Case, merged_op: &Op, dense: impl Fn(&Tensor) -> Tensor) {
    let mut draw = Draw::new(7);
    let mut tensor = |sizes: &[usize]| draw.tensor(DType::F32, sizes).expect("small");
    let (x, w) = (tensor(&case.x), tensor(&case.w));
    let a = tensor(&[&[RANK], &case.delta[1..]].concat());
    let (b, scale) = (tensor(&[case.delta[0], RANK]), tensor(&[RANK]));
    let change: Vec<f32> = delta(&a, &b, &scale, &case.delta).iter().map(|element| *element as f32).collect();
    let change = transposed(&Tensor::from_vec(&case.delta, change).expect("as many"), case.perm);
    let merged = Module { graphs: vec![graph(case, merged_op, &sum(&dense(&w), &change))] };
    let base = Module { graphs: vec![graph(case, &case.op, &w)] };
    let x = NamedTensors::from([("x".to_owned(), x)]);
    let mut with_adapter = x.clone();
    for (part, tensor) in [(LORA_A, a), (LORA_B, b), (LORA_SCALE, scale)] {
        with_adapter.insert(format!("block.fc.{part}"), tensor);
    }
    for (strength, form) in [
        (Strength::Fold, Form::Plain),
        (Strength::Input, Form::Plain),
        (Strength::Fold, Form::RankNormalized),
    ] {
        let mut exposed = base.clone();
        let graph = &mut exposed.graphs[0];
        let layers = vec![graph.find("layer").expect("named").producer().id()];
        let site = Site { path: "block.fc".to_owned(), layers, rank: RANK as u64 };
        let mut cx = Context::default();
        expose(graph, &[site], Options { strength, form }, &mut cx).expect("it can be exposed");
        verify(graph).expect("valid");
        let expected = evaluate(&merged, &x).expect("it runs");
        let found = evaluate(&exposed, &with_adapter).expect("it runs");
        let tolerance = Tolerance { rtol: 1e-4, atol: 1e-4 };
        let difference = Difference::between(&found["y"], &expected["y"], tolerance).expect("same types");
        assert!(difference.holds(), "{strength:?} {form:?}: {difference:?}");
        assert_eq!(evaluate(&exposed, &x).expect("it runs"), evaluate(&base, &x).expect("it runs"));
    }
}

#[test]
fn a_product_with_a_bias_behind_it() {
    let case = Case {
        op: MatMul.into(),
        x: vec![2, 5, 6],
        w: vec![6, 4],
        bias: Some(vec![4]),
        perm: &[1, 0],
        delta: vec![4, 6],
    };
    check(&case, &case.op, Tensor::clone);
}

#[test]
fn a_product_with_a_transposed_weight() {
    let op: Op = Gemm { transB: true, ..Gemm::default() }.into();
    let case =
        Case { op: op.clone(), x: vec![5, 6], w: vec![4, 6], bias: None, perm: &[0, 1], delta: vec![4, 6] };
    check(&case, &op, Tensor::clone);
}

#[test]
fn a_convolution_with_strides_pads_and_dilations() {
    let conv = Conv {
        strides: vec![2, 1],
        pads: vec![1, 0, 2, 1],
        dilations: vec![1, 2],
        group: 1,
        ..Conv::default()
    };
    let case = Case {
        op: conv.into(),
        x: vec![2, 6, 9, 8],
        w: vec![4, 6, 3, 3],
        bias: Some(vec![1, 4, 1, 1]),
        perm: &[0, 1, 2, 3],
        delta: vec![4, 6, 3, 3],
    };
    check(&case, &case.op, Tensor::clone);
}

#[test]
fn a_grouped_convolution_becomes_dense_with_its_adapter() {
    let grouped = Conv { pads: vec![1; 4], group: 2, ..Conv::default() };
    let dense: Op = Conv { group: 1, ..grouped.clone() }.into();
    let case = Case {
        op: grouped.into(),
        x: vec![1, 6, 5, 5],
        w: vec![4, 3, 3, 3],
        bias: None,
        perm: &[0, 1, 2, 3],
        delta: vec![4, 6, 3, 3],
    };
    check(&case, &dense, |w| {
        let elements = w.to_f32().expect("f32");
        let mut dense = vec![0.0; 4 * 6 * 9];
        for out in 0..4 {
            let at = out * 6 * 9 + (out / 2) * 3 * 9;
            dense[at..at + 27].copy_from_slice(&elements[out * 27..(out + 1) * 27]);
        }
        Tensor::from_vec(&[4, 6, 3, 3], dense).expect("as many")
    });
}

/// A graph that calls one module twice, the second time on the result of the first.
fn called_twice() -> Graph {
    let mut graph = Graph::new("main");
    let ty = TensorType::known(DType::F32, &[2, 4]);
    let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("typed");
    let w = Draw::new(3).tensor(DType::F32, &[4, 4]).expect("small");
    let w = graph.add_constant(&w, Loc::Built).expect("typed");
    let first = graph.add_value(MatMul, &[x, w], Loc::Built).expect("typed");
    let second = graph.add_value(MatMul, &[first, w], Loc::Built).expect("typed");
    let output = quad_ir::graph::Output { name: "y".into(), value: second };
    graph.set_outputs(vec![output]).expect("it is there");
    graph
}

#[test]
fn every_call_of_a_module_gets_the_branch() {
    let mut graph = called_twice();
    let layers: Vec<NodeId> =
        graph.nodes().filter(|node| node.is::<MatMul>().is_some()).map(quad_ir::graph::NodeRef::id).collect();
    let w = graph.node(layers[0]).operand("b").and_then(quad_ir::graph::ValueRef::weight).expect("a weight");
    let w = graph.weights().tensor(w).expect("in memory");
    let site = Site { path: "fc".to_owned(), layers, rank: RANK as u64 };
    expose(&mut graph, &[site], Options::default(), &mut Context::default()).expect("it can be exposed");
    assert_eq!(graph.inputs().len(), 4, "x and three parts of one site");
    let mut draw = Draw::new(5);
    let mut tensor = |sizes: &[usize]| draw.tensor(DType::F32, sizes).expect("small");
    let (x, a, b, scale) = (tensor(&[2, 4]), tensor(&[RANK, 4]), tensor(&[4, RANK]), tensor(&[RANK]));
    let change = delta(&a, &b, &scale, &[4, 4]);
    let w: Vec<f64> =
        w.to_f64().expect("f32").iter().enumerate().map(|(at, w)| w + change[at % 4 * 4 + at / 4]).collect();
    let product = |x: &[f64]| -> Vec<f64> {
        (0..8).map(|at| (0..4).map(|k| x[at / 4 * 4 + k] * w[k * 4 + at % 4]).sum()).collect()
    };
    let expected = product(&product(&x.to_f64().expect("f32")));
    let inputs = BTreeMap::from([("x", x), ("fc.lora_A", a), ("fc.lora_B", b), ("fc.lora_scale", scale)]);
    let inputs = inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    let found = evaluate(&Module { graphs: vec![graph] }, &inputs).expect("it runs");
    for (found, expected) in found["y"].to_f64().expect("f32").iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{found} against {expected}");
    }
}

#[test]
fn what_cannot_be_exposed_is_said_and_changes_nothing() {
    let graph = called_twice();
    let product = graph.nodes().find(|node| node.is::<MatMul>().is_some()).expect("there are two").id();
    let input = graph.inputs().next().expect("one").producer().id();
    let site =
        |path: &str, layers: &[NodeId], rank| Site { path: path.to_owned(), layers: layers.to_vec(), rank };
    for (sites, expected) in [
        (vec![site("fc", &[input], 4)], "it is `input`, expected `matmul`, `gemm` or `conv`"),
        (vec![site("fc", &[product], 0)], "the rank is 0"),
        (vec![site("fc", &[], 4)], "it has no layer"),
        (vec![site("fc", &[product], 4), site("fc", &[product], 4)], "`fc`: it is listed twice"),
        (vec![site("a", &[product], 4), site("b", &[input], 4)], "site `b`"),
    ] {
        let mut graph = graph.clone();
        let before = graph.nodes().count();
        let error =
            expose(&mut graph, &sites, Options::default(), &mut Context::default()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(graph.nodes().count(), before);
    }
    let mut twice = graph;
    let sites = [site("fc", &[product], 4)];
    expose(&mut twice, &sites, Options::default(), &mut Context::default()).expect("once");
    let error = expose(&mut twice, &sites, Options::default(), &mut Context::default()).expect_err("twice");
    assert!(error.to_string().contains("%fc.lora_A already"), "{error}");
}
