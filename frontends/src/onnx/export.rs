//! From a graph to an ONNX model, so that any stage can be opened in a viewer or run by another runtime.
//!
//! Every node is written through the row of the [table](super::table) that reads it. Weights of large models go to a
//! file beside the model, streamed one at a time.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use quad_ir::attr::AttrError;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{Input, Op, Weight};
use quad_ir::types::{Dim, TensorType as IrType};
use quad_ir::weights::{WeightError, WeightId};
use quad_ir::whole_file::WholeFile;
use rustc_hash::{FxHashMap, FxHashSet};

use super::channels_first::channels_first;
use super::data_file::DataFile;
use super::origin;
use super::proto::{
    DataLocation, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use super::table;
use super::tensor::code_of_dtype;
use super::wide_constants::without_wide_constants;
use super::write_node::WriteNode;

/// Models whose weights take at most this many bytes are written as one file.
const ONE_FILE: u64 = 64 << 20;

/// Weights smaller than this stay in the model file, where shape inference of other tools finds them.
const INLINE: u64 = 1024;

/// A graph could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// ONNX has no form for the operation.
    #[error("`{op}` at {loc} has no ONNX form")]
    NoForm {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: String,
    },
    /// A value is of a quantized type.
    #[error(
        "`{op}` at {loc} has quantized type {ty}, which ONNX has not: pass `unfold-quant` puts `quantize_linear` and \
         `dequantize_linear` in its place"
    )]
    Quantized {
        /// The operation that makes the value.
        op: &'static str,
        /// Where it came from.
        loc: String,
        /// The type.
        ty: String,
    },
    /// An attribute has no ONNX form.
    #[error(transparent)]
    Attribute(#[from] AttrError),
    /// A weight could not be read.
    #[error("weight `{name}`: {error}")]
    Weight {
        /// Its name in the file.
        name: String,
        /// Why.
        error: WeightError,
    },
    /// The graph could not be brought to the form that ONNX has: a fault of this library.
    #[error(
        "the graph cannot be brought to the form that ONNX has: {0}. This is a fault of the writer, not of the model"
    )]
    Layout(String),
    /// The files could not be written.
    #[error("`{}` cannot be written: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Writes `graph` to `path`. ONNX has channels first; operations that have them last get transposes around them. Weights of more than 64 MiB in all go to a second file, `path` with `.data` appended.
/// Both appear whole or not at all.
pub fn write(graph: &Graph, path: &Path) -> Result<(), WriteError> {
    if let Some(value) = graph.nodes().flat_map(NodeRef::results).find(|value| value.ty().quant.is_some()) {
        let (node, ty) = (value.producer(), graph.symbols().show_type(value.ty()).to_string());
        return Err(WriteError::Quantized { op: node.op().def().name(), loc: node.loc().to_string(), ty });
    }
    let graph = &*channels_first(graph)?;
    let graph = &*without_wide_constants(graph)?;
    let data_path = with_suffix(path, ".data");
    let mut writer = Writer::new(graph, &data_path)?;
    let model = writer.model()?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| WriteError::Io { path, error }
    };
    let mut part = WholeFile::create(path).map_err(io(path))?;
    part.write_all(&model.encode_to_vec()).map_err(io(path))?;
    // The data first: a model file that is there must find it.
    if let Some(data) = writer.data.take() {
        data.finish().and_then(WholeFile::publish).map_err(io(&data_path))?;
    }
    part.publish().map_err(io(path))
}

/// The state of writing one graph.
struct Writer<'g> {
    graph: &'g Graph,
    names: FxHashMap<ValueId, String>,
    data: Option<DataFile>,
    placed: FxHashMap<WeightId, (u64, u64)>,
    opset: i64,
}

impl<'g> Writer<'g> {
    fn new(graph: &'g Graph, data_path: &Path) -> Result<Self, WriteError> {
        let bytes = graph.nodes().filter_map(|node| node.is::<Weight>()?.ty.byte_len());
        let total = bytes.fold(0u64, u64::saturating_add);
        let data = if total > ONE_FILE {
            let error = |error| WriteError::Io { path: data_path.to_owned(), error };
            Some(DataFile::create(data_path).map_err(error)?)
        } else {
            None
        };
        Ok(Self { graph, names: value_names(graph), data, placed: FxHashMap::default(), opset: 18 })
    }

    fn model(&mut self) -> Result<ModelProto, WriteError> {
        let mut graph = GraphProto { name: self.graph.name().to_string(), ..GraphProto::default() };
        for node in self.graph.topo() {
            let node = self.graph.node(node);
            node.results().for_each(|value| self.opset = self.opset.max(opset_of_dtype(value.ty().dtype)));
            match node.op() {
                Op::Input(_) => {}
                Op::Weight(weight) => graph.initializer.push(self.initializer(node.result(), weight)?),
                _ => {
                    self.node(node, &mut graph.node)?;
                    let named = node.results().map(|value| self.value_info(value, None));
                    graph.value_info.extend(named);
                }
            }
        }
        graph.input = self.graph.inputs().map(|value| self.input(value)).collect();
        for output in self.graph.outputs() {
            let value = self.graph.value(output.value);
            let name = &self.names[&output.value];
            if *name != *output.name {
                graph.node.push(NodeProto {
                    op_type: "Identity".to_owned(),
                    input: vec![name.clone()],
                    output: vec![output.name.to_string()],
                    ..NodeProto::default()
                });
            }
            graph.output.push(self.value_info(value, Some(&output.name)));
        }
        // An output is described once.
        let outputs: FxHashSet<&String> = graph.output.iter().map(|output| &output.name).collect();
        graph.value_info.retain(|info| !outputs.contains(&info.name));
        separate_names(&mut graph.node);
        Ok(self.wrap(graph))
    }

    fn wrap(&self, graph: GraphProto) -> ModelProto {
        let derived = ["producer", "opset"];
        let metadata = self.graph.metadata().iter().filter(|(key, _)| !derived.contains(&key.as_str()));
        let mut domains: Vec<(String, i64)> = vec![(String::new(), self.opset)];
        for node in &graph.node {
            if !domains.iter().any(|(domain, _)| *domain == node.domain) {
                domains.push((node.domain.clone(), 1));
            }
        }
        ModelProto {
            ir_version: ir_version(self.opset),
            producer_name: "quad".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(Box::new(graph)),
            opset_import: domains
                .into_iter()
                .map(|(domain, version)| OperatorSetIdProto { domain, version })
                .collect(),
            metadata_props: metadata
                .map(|(key, value)| StringStringEntryProto { key: key.clone(), value: value.clone() })
                .collect(),
            ..ModelProto::default()
        }
    }

    fn node(&mut self, node: NodeRef<'_>, out: &mut Vec<NodeProto>) -> Result<(), WriteError> {
        let no_form = || WriteError::NoForm { op: node.op().def().name(), loc: node.loc().to_string() };
        let (row, export) = table::find_export(node.op().kind()).ok_or_else(no_form)?;
        if row.domain.is_empty() {
            self.opset = self.opset.max(row.opset_of(node));
        }
        let mut write = WriteNode { node, op_type: row.op_type, domain: row.domain, names: &self.names, out };
        export(&mut write)
    }

    fn initializer(&mut self, value: ValueRef<'_>, weight: &Weight) -> Result<TensorProto, WriteError> {
        let name = self.names[&value.id()].clone();
        let bytes = weight.ty.byte_len().unwrap_or(0);
        let sizes = weight.ty.shape.as_known().unwrap_or_default();
        let mut proto = TensorProto {
            name: name.clone(),
            dims: sizes.iter().map(|size| size.cast_signed()).collect(),
            data_type: code_of_dtype(weight.ty.dtype),
            ..TensorProto::default()
        };
        let weights = self.graph.weights();
        let failed = |error| WriteError::Weight { name: name.clone(), error };
        match &mut self.data {
            Some(data) if bytes >= INLINE => {
                let place = match self.placed.get(&weight.id) {
                    Some(place) => *place,
                    None => data.append(weights, weight.id).map_err(failed)?,
                };
                self.placed.insert(weight.id, place);
                proto.data_location = DataLocation::External as i32;
                proto.external_data = data.entries(place);
            }
            _ => proto.raw_data = Some(weights.tensor(weight.id).map_err(failed)?.bytes().clone()),
        }
        Ok(proto)
    }

    fn input(&self, value: ValueRef<'_>) -> ValueInfoProto {
        let binding = value.producer().is::<Input>().map(|input| input.binding).unwrap_or_default();
        ValueInfoProto { metadata_props: origin::note_binding(binding), ..self.value_info(value, None) }
    }

    fn value_info(&self, value: ValueRef<'_>, name: Option<&str>) -> ValueInfoProto {
        let name = name.unwrap_or_else(|| &self.names[&value.id()]).to_owned();
        ValueInfoProto { name, r#type: Some(self.type_proto(value.ty())), ..ValueInfoProto::default() }
    }

    fn type_proto(&self, ty: &IrType) -> TypeProto {
        let dim = |dim: &Dim| {
            let one = [dim.clone()].into_iter().collect();
            let value = match dim {
                Dim::Known(size) => DimensionValue::Known(size.cast_signed()),
                _ => {
                    DimensionValue::Named(self.graph.symbols().show(&one).to_string().replace(['[', ']'], ""))
                }
            };
            Dimension { value: Some(value), ..Dimension::default() }
        };
        let shape = TensorShapeProto { dim: ty.shape.iter().map(dim).collect() };
        let tensor = TensorType { elem_type: code_of_dtype(ty.dtype), shape: Some(shape) };
        TypeProto { value: Some(TypeValue::Tensor(tensor)), ..TypeProto::default() }
    }
}

/// The name of each value in the file. A computed value that is an output has the output's name.
fn value_names(graph: &Graph) -> FxHashMap<ValueId, String> {
    let mut names: FxHashMap<ValueId, String> = FxHashMap::default();
    let mut taken: FxHashSet<String> = graph.outputs().iter().map(|output| output.name.to_string()).collect();
    for output in graph.outputs() {
        let source = matches!(graph.value(output.value).producer().op(), Op::Input(_) | Op::Weight(_));
        if !source {
            names.entry(output.value).or_insert_with(|| output.name.to_string());
        }
    }
    for input in graph.inputs() {
        let name = input.name().map_or_else(String::new, ToString::to_string);
        taken.insert(name.clone());
        names.insert(input.id(), name);
    }
    for value in graph.nodes().flat_map(NodeRef::results) {
        if names.contains_key(&value.id()) {
            continue;
        }
        let base = value.name().map_or_else(|| value.id().to_string(), ToString::to_string);
        let mut name = base.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            name = format!("{base}.{number}");
            number += 1;
        }
        names.insert(value.id(), name);
    }
    names
}

/// Appends numbers to names that several nodes have: other readers refuse them, and a node of a file that was read may
/// have become several.
fn separate_names(nodes: &mut [NodeProto]) {
    let mut taken: FxHashSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let mut seen: FxHashMap<String, usize> = FxHashMap::default();
    for node in nodes.iter_mut().filter(|node| !node.name.is_empty()) {
        // The last number tried is remembered: thousands of nodes may come from one.
        let count = seen.entry(node.name.clone()).or_insert(0);
        while *count > 0 && !taken.insert(format!("{}.{count}", node.name)) {
            *count += 1;
        }
        if *count > 0 {
            node.name = format!("{}.{count}", node.name);
        }
        *count += 1;
    }
}

/// The operator set from which on ONNX has `dtype`.
fn opset_of_dtype(dtype: DType) -> i64 {
    match dtype {
        DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ => 19,
        DType::I4 | DType::U4 => 21,
        DType::F4E2M1 => 23,
        DType::F8E8M0 => 24,
        DType::I2 | DType::U2 => 25,
        _ => 1,
    }
}

/// The oldest file format version that may hold operator set `opset`.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
