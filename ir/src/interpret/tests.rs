//! Runs of a graph with symbolic sizes, and what is said of inputs that do not fit.

use super::*;
use crate::dtype::DType;
use crate::graph::Output;
use crate::ops::source::Binding;
use crate::ops::{Add, Reshape, ShapeOf};
use crate::types::{Dim, Shape};

/// `y = reshape(x + x, shape_of(x))` with a dynamic batch.
fn doubled() -> Graph {
    let mut graph = Graph::new("main");
    let batch = Dim::Sym(graph.symbols_mut().named("batch"));
    let ty = TensorType::new(DType::F32, Shape::from_iter([batch, Dim::Known(2)]));
    let x = graph.add_input("x", ty.clone(), Binding::Run, Loc::Built).expect("typed");
    let sum = graph.add_value(Add, &[x, x], Loc::Built).expect("typed");
    let shape = graph.add_value(ShapeOf::default(), &[x], Loc::Built).expect("typed");
    let y = graph.add_value(Reshape::default(), &[sum, shape], Loc::Built).expect("typed");
    assert_eq!(graph.value(y).ty(), &ty, "the symbolic shape is followed through `shape_of`");
    graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("y is in the graph");
    graph
}

#[test]
fn runs_with_any_batch() {
    let graph = doubled();
    let x = Tensor::from_vec(&[1, 2], vec![1.5f32, -2.0]).expect("two elements");
    let outputs = Interpreter::new(&graph).run(&NamedTensors::from([("x".to_owned(), x)])).expect("runs");
    assert_eq!(&*outputs["y"].elements::<f32>().expect("f32"), [3.0, -4.0]);
}

#[test]
fn wrong_inputs_are_named() {
    let graph = doubled();
    let run = |name: &str, sizes: &[usize]| {
        let zeros = Tensor::zeros(DType::F32, sizes).expect("small");
        let inputs = NamedTensors::from([(name.to_owned(), zeros)]);
        Interpreter::new(&graph).run(&inputs).expect_err("must be refused").to_string()
    };
    assert_eq!(run("z", &[1, 2]), "input `x` is missing; the graph takes `x`: f32[batch, 2]; given are `z`");
    assert_eq!(run("x", &[1, 3]), "input `x` is f32[1, 3], expected f32[batch, 2]");
}

#[test]
fn messages_list_few_names() {
    let graph = doubled();
    let ty = Tensor::zeros(DType::F32, &[1, 2]).expect("small").ty();
    let given = (0..300).map(|at| (format!("z{at:03}"), ty.clone())).collect();
    let said = Interpreter::new(&graph).check_inputs(&given).expect_err("must be refused").to_string();
    assert!(
        said.ends_with(
            "given are `z000`, `z001`, `z002`, `z003`, `z004`, `z005`, `z006`, `z007`, and 292 more"
        ),
        "{said}"
    );
}

#[test]
fn the_memory_limit_holds() {
    let graph = doubled();
    let x = Tensor::zeros(DType::F32, &[1000, 2]).expect("small");
    let limited = Interpreter::new(&graph).with_memory_limit(5_000);
    let error = limited.run(&NamedTensors::from([("x".to_owned(), x)])).expect_err("over the limit");
    assert!(matches!(error, RunError::Memory { op: "add", needed: 8000, .. }), "{error}");
}
