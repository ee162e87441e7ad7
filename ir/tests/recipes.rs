//! Recipes in graphs: constants that are computed when somebody asks for their bytes.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output, Patch, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Add, MatMul, Reshape, Transpose};
use quad_ir::tensor::Tensor;
use quad_ir::text::{MemoryWeights, parse, print, read_files, write_files};
use quad_ir::types::TensorType;
use quad_ir::verify::verify;
use quad_ir::weights::Source;

/// `y = x . w` with a `w` of 64 rows and 32 columns, which are more elements than are looked at.
fn product() -> Graph {
    let mut graph = Graph::new("main");
    let ty = TensorType::known(DType::F32, &[1, 64]);
    let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("an input");
    let elements: Vec<f32> = (0..64 * 32).map(|index| (index % 7) as f32 - 3.0).collect();
    let w = Tensor::from_vec(&[64, 32], elements).expect("a matrix");
    let w = graph.add_constant(&w, Loc::Built).expect("a weight");
    graph.set_name(w, "w");
    let y = graph.add_value(MatMul, &[x, w], Loc::Built).expect("typed");
    graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("it is there");
    graph
}

/// The graph with `w` replaced by what `make` adds.
fn with_weight(make: impl Fn(&mut Patch<'_>, ValueId) -> ValueId) -> Graph {
    let mut graph = product();
    let w = graph.find("w").expect("named").id();
    let mut patch = Patch::new(&graph, "test");
    let new = make(&mut patch, w);
    patch.replace(w, new).expect("of the same type");
    patch.erase_unread();
    let edit = patch.finish().expect("a change");
    graph.apply(edit).expect("made for this graph");
    graph
}

/// `w` transposed twice, in two recipes.
fn twice_transposed() -> Graph {
    let mut graph = with_weight(|patch, w| {
        let swapped = patch.add_recipe(Transpose::default(), &[Some(w)]).expect("typed");
        let back = patch.add_recipe(Transpose::default(), &[Some(swapped)]).expect("typed");
        patch.set_name(back, "back");
        back
    });
    // The node of the first recipe; the recipe itself stays, as the second is made of it.
    let mut patch = Patch::new(&graph, "test");
    patch.erase_dead();
    let edit = patch.finish().expect("a change");
    graph.apply(edit).expect("made for this graph");
    graph
}

fn outputs(graph: &Graph) -> NamedTensors {
    let x: Vec<f32> = (0..64).map(|index| index as f32 / 8.0 - 4.0).collect();
    let x = Tensor::from_vec(&[1, 64], x).expect("a row");
    Interpreter::new(graph).run(&NamedTensors::from([("x".to_owned(), x)])).expect("runs")
}

#[test]
fn a_recipe_has_the_type_of_its_operation_and_no_elements() {
    let graph = twice_transposed();
    let back = graph.find("back").expect("named");
    let weight = back.weight().expect("a recipe is a weight");
    assert!(matches!(graph.weights().source(weight), Source::Recipe { .. }));
    assert!(back.known().is_none(), "nothing was computed");
    verify(&graph).expect("valid");
    assert_eq!(outputs(&graph), outputs(&product()));
}

#[test]
fn the_text_of_a_recipe_is_that_of_its_bytes() {
    let (stored, made) = (product(), twice_transposed());
    let text = |graph: &Graph| print(&Module { graphs: vec![graph.clone()] }).expect("prints");
    assert_eq!(text(&made).replace("%back", "%w"), text(&stored));
    let weights = MemoryWeights::of(made.weights()).expect("computed");
    let parsed = parse(&text(&made), &weights).unwrap_or_else(|error| panic!("{}", error.show()));
    assert_eq!(text(&parsed.graphs[0]), text(&made));
    assert_eq!(outputs(&parsed.graphs[0]), outputs(&stored));
}

#[test]
fn files_hold_the_bytes_of_recipes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (stored, made) = (folder.path().join("stored.quad"), folder.path().join("made.quad"));
    write_files(&stored, &Module { graphs: vec![product()] }).expect("written");
    write_files(&made, &Module { graphs: vec![twice_transposed()] }).expect("written");
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).expect("there");
    assert_eq!(bytes("stored.quad.safetensors"), bytes("made.quad.safetensors"));
    assert_eq!(outputs(&read_files(&made).expect("read").graphs[0]), outputs(&product()));
}

#[test]
fn known_values_are_operands_of_recipes() {
    let graph = with_weight(|patch, w| {
        let flat =
            patch.add_constant(&Tensor::from_vec(&[1], vec![-1i64]).expect("a vector")).expect("added");
        let flat = patch.add_recipe(Reshape::default(), &[Some(w), Some(flat)]).expect("typed");
        let rows = patch.add_constant(&Tensor::from_vec(&[2], vec![32i64, 16]).expect("a vector"));
        let rows = rows.expect("added");
        let target = patch.add_value(Add, &[rows, rows]).expect("typed");
        patch.add_recipe(Reshape::default(), &[Some(flat), Some(target)]).expect("typed")
    });
    assert_eq!(outputs(&graph), outputs(&product()));
}

#[test]
fn what_is_not_constant_is_refused() {
    let graph = product();
    let mut patch = Patch::new(&graph, "test");
    let x = graph.find("x").expect("named").id();
    let error = patch.add_recipe(Transpose::default(), &[Some(x)]).expect_err("an input");
    assert_eq!(error.to_string(), "recipe `transpose` at rule `test`: operand v0 is not constant");
}
