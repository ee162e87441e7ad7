use prost::Message;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;

use crate::onnx::import;
use crate::onnx::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};

fn names(names: &str) -> Vec<String> {
    names.split(' ').map(|name| name.replace('-', "")).filter(|_| !names.is_empty()).collect()
}

/// A node; `-` is an operand left out.
fn node(op_type: &str, input: &str, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let (input, output) = (names(input), names(output));
    NodeProto {
        op_type: op_type.into(),
        name: output[0].clone(),
        input,
        output,
        attribute,
        ..NodeProto::default()
    }
}

fn subgraph(name: &str, graph: GraphProto) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::Graph as i32);
    AttributeProto { name, r#type, g: Some(Box::new(graph)), ..AttributeProto::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::Int as i32);
    AttributeProto { name, r#type, i: Some(value), ..AttributeProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::Ints as i32);
    AttributeProto { name, r#type, ints: values.to_vec(), ..AttributeProto::default() }
}

/// A tensor of `i64` called `name`.
fn info(name: &str, sizes: &[i64]) -> ValueInfoProto {
    let dim = |size: &i64| Dimension { value: Some(DimensionValue::Known(*size)), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let value = Some(TypeValue::Tensor(TensorType { elem_type: DataType::Int64 as i32, shape }));
    let r#type = Some(TypeProto { value, ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

fn number(name: &str, value: i64) -> TensorProto {
    let data_type = DataType::Int64 as i32;
    TensorProto { name: name.into(), data_type, int64_data: vec![value], ..TensorProto::default() }
}

fn truth(name: &str, value: bool) -> TensorProto {
    let data_type = DataType::Bool as i32;
    TensorProto { name: name.into(), data_type, int32_data: vec![value.into()], ..TensorProto::default() }
}

/// A graph of numbers without axes, but for inputs called `rows`, which have 3 rows of 2.
fn graph(input: &str, output: &str, initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> GraphProto {
    let value = |name: String| info(&name, if name == "rows" { &[3, 2] } else { &[] });
    GraphProto {
        name: "main".into(),
        input: names(input).into_iter().map(value).collect(),
        output: names(output).iter().map(|name| info(name, &[])).collect(),
        initializer,
        node,
        ..GraphProto::default()
    }
}

/// The outputs of `graph` for `x` = 5 and rows of 0 to 5, where it has these inputs.
fn outputs(graph: GraphProto, opset: i64) -> Result<NamedTensors, String> {
    let model = ModelProto {
        ir_version: 8,
        graph: Some(Box::new(graph)),
        opset_import: vec![OperatorSetIdProto { version: opset, ..OperatorSetIdProto::default() }],
        ..ModelProto::default()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("written");
    let module = import(&path).map_err(|error| error.to_string())?;
    let graph = module.main().expect("a graph");
    let mut inputs = NamedTensors::new();
    for input in graph.inputs().filter_map(quad_ir::graph::ValueRef::name) {
        let rows = Tensor::from_vec(&[3, 2], vec![0i64, 1, 2, 3, 4, 5]).expect("six elements");
        inputs.insert(input.to_string(), if &**input == "rows" { rows } else { Tensor::scalar(5i64) });
    }
    Interpreter::new(graph).run(&inputs).map_err(|error| error.to_string())
}

fn numbers(outputs: &NamedTensors, name: &str) -> (Vec<usize>, Vec<i64>) {
    let tensor = &outputs[name];
    (tensor.sizes().to_vec(), tensor.to_i64().expect("integers"))
}

/// `y = x + 1` where `condition` holds, else `x - 1`.
fn choice(condition: Vec<TensorProto>, input: &str) -> GraphProto {
    let side =
        |op: &str| graph("", "inner", vec![number("one", 1)], vec![node(op, "x one", "inner", Vec::new())]);
    let branches = vec![subgraph("then_branch", side("Add")), subgraph("else_branch", side("Sub"))];
    graph(input, "y", condition, vec![node("If", "condition", "y", branches)])
}

#[test]
fn the_branch_of_a_known_condition_is_taken() {
    for (condition, expected) in [(true, 6), (false, 4)] {
        let found = outputs(choice(vec![truth("condition", condition)], "x"), 13).expect("runs");
        assert_eq!(numbers(&found, "y"), (vec![], vec![expected]));
    }
}

#[test]
fn where_inputs_decide_both_branches_are_computed() {
    let mut graph = choice(Vec::new(), "x");
    graph.node.insert(0, node("Cast", "x", "condition", vec![int("to", DataType::Bool as i64)]));
    let found = outputs(graph, 13).expect("runs");
    assert_eq!(numbers(&found, "y"), (vec![], vec![6]));
}

#[test]
fn where_inputs_decide_between_types_nothing_can_be_done() {
    let mut graph = choice(Vec::new(), "x rows");
    graph.node.insert(0, node("Cast", "x", "condition", vec![int("to", DataType::Bool as i64)]));
    let other = graph.node[1].attribute[1].g.as_mut().expect("the other branch");
    other.node[0].input[0] = "rows".into();
    let error = outputs(graph, 13).expect_err("two shapes");
    assert!(error.contains("`y` (If") && error.contains("condition that is computed"), "{error}");
}

/// A loop that adds the number of its turn to what it carries, from `x` on, and stacks the sums.
fn adding(limit: &str, condition: &str, initializer: Vec<TensorProto>, going: bool) -> GraphProto {
    let body = graph(
        "turn before sum",
        "after next element",
        vec![truth("going", going)],
        vec![
            node("Add", "sum turn", "next", Vec::new()),
            node("Identity", "next", "element", Vec::new()),
            node("Identity", "going", "after", Vec::new()),
        ],
    );
    let operands = format!("{limit} {condition} x");
    graph("x", "y sums", initializer, vec![node("Loop", &operands, "y sums", vec![subgraph("body", body)])])
}

#[test]
fn every_turn_of_a_loop_is_written_out() {
    let found = outputs(adding("limit", "-", vec![number("limit", 3)], false), 13).expect("runs");
    assert_eq!(numbers(&found, "y"), (vec![], vec![8]));
    assert_eq!(numbers(&found, "sums"), (vec![3], vec![5, 6, 8]));
}

#[test]
fn a_condition_ends_a_loop_early() {
    let constants = || vec![number("limit", 3), truth("start", true)];
    let found = outputs(adding("limit", "start", constants(), false), 13).expect("runs");
    assert_eq!(numbers(&found, "sums"), (vec![1], vec![5]));
    let found = outputs(adding("-", "start", constants(), false), 13).expect("runs");
    assert_eq!(numbers(&found, "sums"), (vec![1], vec![5]));
    let found = outputs(adding("limit", "start", constants(), true), 13).expect("runs");
    assert_eq!(numbers(&found, "sums"), (vec![3], vec![5, 6, 8]));
}

#[test]
fn a_loop_without_a_turn_stacks_nothing() {
    for (limit, start) in [(0, true), (-1, true), (3, false)] {
        let constants = vec![number("limit", limit), truth("start", start)];
        let found = outputs(adding("limit", "start", constants, true), 13).expect("runs");
        assert_eq!(numbers(&found, "y"), (vec![], vec![5]));
        assert_eq!(numbers(&found, "sums"), (vec![0], vec![]));
    }
}

#[test]
fn loops_that_do_not_end_are_stopped() {
    let error = outputs(adding("-", "-", Vec::new(), true), 13).expect_err("never ends");
    assert!(error.contains("never ends"), "{error}");
    let constants = vec![number("limit", i64::MAX), truth("start", true)];
    let error = outputs(adding("limit", "start", constants, true), 13).expect_err("too long");
    assert!(error.contains("unfold to more than"), "{error}");
}

#[test]
fn a_number_of_turns_that_inputs_decide_is_not_supported() {
    let error = outputs(adding("x", "-", Vec::new(), true), 13).expect_err("not known");
    assert!(error.contains("number of turns that is computed"), "{error}");
}

/// A scan over `rows` that sums what it reads, from `start` on, and stacks the sums along a last axis.
fn scanning(attributes: Vec<AttributeProto>, start: &str) -> GraphProto {
    let body = graph(
        "sum slice",
        "next element",
        Vec::new(),
        vec![node("Add", "sum slice", "next", Vec::new()), node("Identity", "next", "element", Vec::new())],
    );
    let mut attribute = vec![subgraph("body", body), int("num_scan_inputs", 1)];
    attribute.extend(attributes);
    graph("rows x", "y sums", Vec::new(), vec![node("Scan", start, "y sums", attribute)])
}

#[test]
fn a_scan_reads_slices_and_stacks_results() {
    let found = outputs(scanning(Vec::new(), "x rows"), 13).expect("runs");
    assert_eq!(numbers(&found, "y"), (vec![2], vec![11, 14]));
    assert_eq!(numbers(&found, "sums"), (vec![3, 2], vec![5, 6, 7, 9, 11, 14]));
}

#[test]
fn a_scan_goes_along_any_axis_in_both_directions() {
    let attributes = vec![
        ints("scan_input_axes", &[-1]),
        ints("scan_input_directions", &[1]),
        ints("scan_output_axes", &[-1]),
        ints("scan_output_directions", &[1]),
    ];
    let found = outputs(scanning(attributes, "x rows"), 13).expect("runs");
    // The columns are 0, 2, 4 and 1, 3, 5; the last is read first, and its sums stand last.
    assert_eq!(numbers(&found, "y"), (vec![3], vec![6, 10, 14]));
    assert_eq!(numbers(&found, "sums"), (vec![3, 2], vec![6, 6, 10, 8, 14, 10]));
}

#[test]
fn before_opset_9_a_scan_has_a_batch() {
    let body = graph("slice", "element", Vec::new(), vec![node("Add", "slice slice", "element", Vec::new())]);
    let attribute = vec![subgraph("body", body), int("num_scan_inputs", 1)];
    let doubled = graph("rows", "y", Vec::new(), vec![node("Scan", "- rows", "y", attribute)]);
    let found = outputs(doubled, 8).expect("runs");
    assert_eq!(numbers(&found, "y"), (vec![3, 2], vec![0, 2, 4, 6, 8, 10]));
}

#[test]
fn bodies_that_do_not_fit_their_node_are_refused() {
    let error = outputs(scanning(Vec::new(), "rows"), 13).expect_err("one operand too few");
    assert!(error.contains("takes 2 inputs, but the node gives it 1"), "{error}");
    let error =
        outputs(scanning(vec![ints("scan_input_axes", &[0, 0])], "x rows"), 13).expect_err("two axes");
    assert!(error.contains("`scan_input_axes` has 2"), "{error}");
    let error = outputs(scanning(vec![ints("scan_input_axes", &[2])], "x rows"), 13).expect_err("no axis");
    assert!(error.contains("along axis 2"), "{error}");
}
