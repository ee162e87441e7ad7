//! The text form of a graph that converters of the SDK write beside a model, `model_net.json`: all but the constants,
//! whose elements are files of their own. Enumerations are decimal numbers there.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::model::{DataType, Encoding, Node, Param, QnnGraph, Role, ScaleOffset, Tensor};

/// What enumerations have for "not defined".
const UNDEFINED: u32 = 0x7fff_ffff;

/// The graph as text; the file of constant `i` is `weights/i.raw`, see [`weights`].
#[derive(Debug, Serialize)]
pub struct NetJson<'g> {
    #[serde(rename = "model.cpp")]
    source: &'static str,
    #[serde(rename = "model.bin")]
    binary: &'static str,
    converter_command: &'static str,
    copyright_str: &'static str,
    op_types: BTreeSet<&'g str>,
    #[serde(rename = "Total parameters")]
    parameters: String,
    graph: NetGraph,
}

#[derive(Debug, Serialize)]
struct NetGraph {
    tensors: InOrder,
    nodes: InOrder,
}

/// An object whose entries stay in order: nodes are in the order in which they run.
#[derive(Debug)]
struct InOrder(Vec<(String, Value)>);

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'g> NetJson<'g> {
    /// The text form of `graph`.
    pub fn of(graph: &'g QnnGraph) -> Self {
        let tensors = graph.tensors.iter().enumerate();
        let tensors = tensors.map(|(id, tensor)| (tensor.name.clone(), tensor_json(id, tensor))).collect();
        let mut next = graph.tensors.len();
        let nodes = graph.nodes.iter().map(|node| (node.name.clone(), node_json(graph, node, &mut next)));
        let nodes = nodes.collect();
        let parameters: usize =
            graph.tensors.iter().filter(|tensor| is_static(tensor)).map(Tensor::len).sum();
        Self {
            source: "",
            binary: "",
            converter_command: "quad convert --target qnn",
            copyright_str: "",
            op_types: graph.nodes.iter().map(|node| node.kind.as_str()).collect(),
            parameters: parameters.to_string(),
            graph: NetGraph { tensors: InOrder(tensors), nodes: InOrder(nodes) },
        }
    }
}

/// The constants: the name of each one's file, and its bytes.
pub fn weights(graph: &QnnGraph) -> impl Iterator<Item = (String, &[u8])> {
    graph.tensors.iter().enumerate().filter_map(|(id, tensor)| match &tensor.role {
        Role::Static(bytes) => Some((format!("{id}.raw"), bytes.as_slice())),
        _ => None,
    })
}

fn is_static(tensor: &Tensor) -> bool {
    matches!(tensor.role, Role::Static(_))
}

fn tensor_json(id: usize, tensor: &Tensor) -> Value {
    let role = match tensor.role {
        Role::Input => 0,
        Role::Output => 1,
        Role::Native => 3,
        Role::Static(_) => 4,
    };
    let mut json = json!({
        "id": id,
        "type": role,
        "dataFormat": 0,
        "data_type": tensor.data_type.code(),
        "dims": tensor.dims,
        "quant_params": encoding_json(tensor.encoding.as_ref(), tensor.data_type),
        "is_quantizable": tensor.encoding.is_some(),
    });
    if is_static(tensor) {
        json["params_count"] = tensor.len().to_string().into();
        json["data_file"] = format!("weights/{id}.raw").into();
    }
    json
}

fn encoding_json(encoding: Option<&Encoding>, data_type: DataType) -> Value {
    let one = |part: &ScaleOffset, bits: u32| {
        let (low, high) = data_type.fixed_range().unwrap_or_default();
        let real = |code: i64| f64::from(part.scale) * (code + i64::from(part.offset)) as f64;
        json!({
            "bitwidth": bits, "minimum": real(low), "maximum": real(high), "scale": part.scale,
            "offset": part.offset,
        })
    };
    let all = |each: &[ScaleOffset]| -> Vec<Value> {
        each.iter().map(|part| json!({ "scale": part.scale, "offset": part.offset })).collect()
    };
    let width = data_type.bytes() as u32 * 8;
    match encoding {
        None => json!({
            "definition": UNDEFINED, "encoding": UNDEFINED, "scale_offset": { "scale": 0.0, "offset": 0 },
        }),
        Some(Encoding::Tensor(part)) => {
            json!({ "definition": 1, "encoding": 0, "scale_offset": one(part, width) })
        }
        Some(Encoding::Axis { axis, each }) => json!({
            "definition": 1, "encoding": 1,
            "axis_scale_offset":
                { "axis": axis, "num_scale_offsets": each.len(), "scale_offsets": all(each) },
        }),
        Some(Encoding::Narrow { bits, all }) => {
            json!({ "definition": 1, "encoding": 2, "bw_scale_offset": one(all, *bits) })
        }
        Some(Encoding::NarrowAxis { bits, axis, each }) => json!({
            "definition": 1, "encoding": 3,
            "bw_axis_scale_offset": {
                "bitwidth": bits, "axis": axis, "num_scale_offsets": each.len(), "scale_offsets": all(each),
            },
        }),
    }
}

fn node_json(graph: &QnnGraph, node: &Node, next: &mut usize) -> Value {
    let (mut scalars, mut tensors) = (Map::new(), Map::new());
    for (name, param) in &node.params {
        let mut scalar = |data_type: DataType, value: Value| {
            scalars.insert(name.clone(), json!({ data_type.code().to_string(): value }));
        };
        match param {
            Param::Bool(value) => scalar(DataType::Bool8, json!(u8::from(*value))),
            Param::U32(value) => scalar(DataType::Uint32, json!(value)),
            Param::I32(value) => scalar(DataType::Int32, json!(value)),
            Param::F32(value) => scalar(DataType::Float32, json!(value)),
            Param::U32s(dims, values) => {
                let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
                tensors.insert(name.clone(), list_json(node, name, DataType::Uint32, dims, &values, next));
            }
            Param::I32s(dims, values) => {
                let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
                tensors.insert(name.clone(), list_json(node, name, DataType::Int32, dims, &values, next));
            }
        }
    }
    let names = |ids: &[crate::model::TensorId]| -> Vec<&str> {
        ids.iter().map(|id| graph.tensor(*id).name.as_str()).collect()
    };
    json!({
        "package": node.package,
        "type": node.kind,
        "tensor_params": tensors,
        "scalar_params": scalars,
        "input_names": names(&node.inputs),
        "output_names": names(&node.outputs),
        "macs_per_inference": "",
    })
}

/// A parameter that is a tensor: its elements are nested as its axes are.
fn list_json(
    node: &Node,
    name: &str,
    data_type: DataType,
    dims: &[u32],
    values: &[i64],
    next: &mut usize,
) -> Value {
    let data: Value = match dims {
        [_, columns] => values.chunks(*columns as usize).map(|row| json!(row)).collect(),
        _ => json!(values),
    };
    let tensor = json!({
        "id": *next,
        "type": 4,
        "dataFormat": 0,
        "data_type": data_type.code(),
        "dims": dims,
        "quant_params": encoding_json(None, data_type),
        "data": data,
    });
    *next += 1;
    json!({ format!("{}_{name}", node.name): tensor })
}
