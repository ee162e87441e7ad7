//! Models of one node, for tests of how its operation is read.

use prost::Message;
use quad_ir::module::Module;

use crate::onnx::import;
use crate::onnx::proto::{
    AttributeProto, AttributeType, DataType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};

/// An integer attribute.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::Int as i32);
    AttributeProto { name, r#type, i: Some(value), ..AttributeProto::default() }
}

/// A list of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::Ints as i32);
    AttributeProto { name, r#type, ints: values.to_vec(), ..AttributeProto::default() }
}

/// A word.
pub(crate) fn word(name: &str, value: &str) -> AttributeProto {
    let (name, r#type) = (name.into(), AttributeType::String as i32);
    AttributeProto { name, r#type, s: Some(value.to_owned().into()), ..AttributeProto::default() }
}

/// The graph of one node `op_type`, read in operator set `opset`, or why it was not read. Its operands are inputs of
/// `f32` called `x0`, `x1`, .. with the sizes given; a size of -1 is not known. It has `outputs` outputs.
pub(crate) fn read(
    (op_type, opset): (&str, i64),
    operands: &[&[i64]],
    attribute: Vec<AttributeProto>,
    outputs: usize,
) -> Result<Module, String> {
    let input: Vec<String> = (0..operands.len()).map(|index| format!("x{index}")).collect();
    let output: Vec<String> = (0..outputs).map(|index| format!("y{index}")).collect();
    let graph = GraphProto {
        name: "main".into(),
        input: input.iter().zip(operands).map(|(name, sizes)| info(name, sizes)).collect(),
        output: output.iter().map(|name| untyped(name)).collect(),
        node: vec![NodeProto { op_type: op_type.into(), input, output, attribute, ..NodeProto::default() }],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        graph: Some(Box::new(graph)),
        opset_import: vec![OperatorSetIdProto { version: opset, ..OperatorSetIdProto::default() }],
        ..ModelProto::default()
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).expect("written");
    import(&path).map_err(|error| error.to_string())
}

/// An output whose type the file leaves open.
fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..ValueInfoProto::default() }
}

fn info(name: &str, sizes: &[i64]) -> ValueInfoProto {
    let dim = |size: &i64| Dimension {
        value: (*size >= 0).then_some(DimensionValue::Known(*size)),
        ..Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let value = Some(TypeValue::Tensor(TensorType { elem_type: DataType::Float as i32, shape }));
    let r#type = Some(TypeProto { value, ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}
