//! An ONNX model around a context binary, which ONNX Runtime's provider for QNN loads: one `EPContext` node whose inputs
//! and outputs are those of the graph (ONNX Runtime, "EP context design").

use prost::Message;

use crate::model::{DataType, QnnGraph, Tensor};

/// The operator set of the wrapper's own domain and of ONNX.
const OPSET: i64 = 21;
/// The version of ONNX's file format that has 16-bit integers in all places.
const IR_VERSION: i64 = 10;
/// The domain of the node.
const DOMAIN: &str = "com.microsoft";

/// A model whose node takes its binary from the file `binary` beside it.
pub fn model(graph: &QnnGraph, binary: &str) -> Vec<u8> {
    let names = |tensors: Vec<&Tensor>| tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let (inputs, outputs): (Vec<&Tensor>, Vec<&Tensor>) =
        (graph.inputs().collect(), graph.outputs().collect());
    let node = Node {
        input: names(inputs.clone()),
        output: names(outputs.clone()),
        name: graph.name.clone(),
        op_type: "EPContext".to_owned(),
        attribute: vec![
            Attribute::of_integer("main_context", 1),
            Attribute::of_integer("embed_mode", 0),
            Attribute::of_text("ep_cache_context", binary),
            Attribute::of_text("source", "QNNExecutionProvider"),
            Attribute::of_text("partition_name", &graph.name),
        ],
        domain: DOMAIN.to_owned(),
    };
    let values = |tensors: Vec<&Tensor>| tensors.into_iter().map(value).collect();
    let graph =
        Graph { node: vec![node], name: graph.name.clone(), input: values(inputs), output: values(outputs) };
    let opset = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "quad".to_owned(),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset(DOMAIN, 1)],
    };
    model.encode_to_vec()
}

fn value(tensor: &Tensor) -> Value {
    let dim = tensor.dims.iter().map(|size| Dimension { dim_value: i64::from(*size) }).collect();
    let of = TensorType { elem_type: element(tensor.data_type), shape: Some(Shape { dim }) };
    Value { name: tensor.name.clone(), of: Some(Type { tensor_type: Some(of) }) }
}

/// ONNX's number of an element type; fixed-point numbers are integers there.
fn element(data_type: DataType) -> i32 {
    match data_type {
        DataType::Float32 => 1,
        DataType::Uint8 | DataType::Ufixed8 => 2,
        DataType::Int8 | DataType::Sfixed8 => 3,
        DataType::Uint16 | DataType::Ufixed16 => 4,
        DataType::Int16 | DataType::Sfixed16 => 5,
        DataType::Int32 | DataType::Sfixed32 => 6,
        DataType::Int64 => 7,
        DataType::Bool8 => 9,
        DataType::Float16 => 10,
        DataType::Uint32 | DataType::Ufixed32 => 12,
    }
}

// The parts of ONNX's messages that the wrapper has, with the field numbers of onnx.proto3.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    integer: Option<i64>,
    #[prost(bytes, optional, tag = "4")]
    text: Option<Vec<u8>>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

impl Attribute {
    fn of_integer(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), integer: Some(value), text: None, kind: 2 }
    }

    fn of_text(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), integer: None, text: Some(value.as_bytes().to_vec()), kind: 3 }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    of: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    dim_value: i64,
}
