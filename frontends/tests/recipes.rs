//! Weights that are recipes, in model files: their bytes are made while the file is written.

use quad_frontends::onnx::{import, write};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Output, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Expand, MatMul, Transpose};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use quad_ir::weights::{Digest, Source, WeightId};

/// Rows of each weight; two of them take more than the 64 MiB that fit into a model file.
const ROWS: u64 = 9000;

/// Columns of each weight.
const COLUMNS: u64 = 1024;

/// `y = x . w . w'`, where `w` is a row that is repeated and `w'` is `w` transposed: both are recipes.
fn graph() -> Graph {
    let mut graph = Graph::new("main");
    let x = TensorType::known(DType::F32, &[1, ROWS]);
    let x = graph.add_input("x", x, Binding::Run, Loc::Built).expect("an input");
    let row: Vec<f32> = (0..COLUMNS).map(|column| column as f32).collect();
    let row = Tensor::from_vec(&[1, COLUMNS as usize], row).expect("a row");
    let sizes = Tensor::from_vec(&[2], vec![ROWS.cast_signed(), COLUMNS.cast_signed()]).expect("two sizes");
    let weights = graph.weights_mut();
    let (row, sizes) = (weights.add_tensor(&row).expect("added"), weights.add_tensor(&sizes).expect("added"));
    let tall = weights.derive(Expand, &[Some(row), Some(sizes)]).expect("typed");
    let wide = weights.derive(Transpose::default(), &[Some(tall)]).expect("typed");
    let tall = graph.add_weight(tall, Loc::Built).expect("a node");
    let wide = graph.add_weight(wide, Loc::Built).expect("a node");
    let middle = graph.add_value(MatMul, &[x, tall], Loc::Built).expect("typed");
    let y = graph.add_value(MatMul, &[middle, wide], Loc::Built).expect("typed");
    graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("it is there");
    graph
}

/// The weights that nodes read.
fn read_weights(graph: &Graph) -> Vec<WeightId> {
    graph.nodes().flat_map(NodeRef::results).filter_map(ValueRef::weight).collect()
}

fn digests(graph: &Graph) -> Vec<Digest> {
    let weights = read_weights(graph).into_iter();
    let mut digests: Vec<Digest> =
        weights.map(|weight| graph.weights().digest(weight).expect("bytes")).collect();
    digests.sort_unstable();
    digests
}

#[test]
fn recipes_are_written_as_what_they_make() {
    let made = graph();
    let is_recipe = |weight: &WeightId| matches!(made.weights().source(*weight), Source::Recipe { .. });
    assert!(read_weights(&made).iter().all(is_recipe), "nothing was computed when the graph was built");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    write(&made, &path).expect("written");
    let data = std::fs::metadata(folder.path().join("model.onnx.data")).expect("a second file");
    assert!(data.len() >= 2 * 4 * ROWS * COLUMNS, "{} bytes", data.len());
    let module = import(&path).expect("a model");
    assert_eq!(digests(&module.graphs[0]), digests(&made));
}
