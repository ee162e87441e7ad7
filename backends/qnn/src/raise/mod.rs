//! A lowered graph again in operations of the IR: what QNN is told to compute, in words that the interpreter runs and
//! ONNX has.
//!
//! [`raise`] is what ONNX files beside a converted model are written from. In [`Form::Qdq`] every quantized tensor is stored
//! by `quantize_linear` and read through `dequantize_linear`, which is what ONNX Runtime's provider for QNN makes a graph of;
//! in [`Form::Real`] nothing is quantized, and the encodings come beside the graph, for a file of their own.
//!
//! Inputs and outputs are those of the QNN graph, in its types, sizes and names. ONNX has channels first: where an operation
//! has an order of axes, transposes stand around it, each between numbers that are stored, so that a reader finds every
//! operation between `dequantize_linear` and `quantize_linear`.

mod constants;
mod movement;
mod norms;
mod products;
mod simple;

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Graph, Misplaced, Output, ValueId};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{DequantizeLinear, Op, QuantizeLinear, Sigmoid, Transpose};
use quad_ir::tensor::{Tensor as Elements, TensorError};
use quad_ir::types::TensorType;

use crate::faults;
use crate::model::{DataType, Encoding, Node, QnnGraph, Role, Tensor, TensorId};

/// How quantization is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every quantized tensor is stored as integers, between pairs of operations.
    Qdq,
    /// All tensors are real numbers.
    Real,
}

/// A node that the IR has no words for.
#[derive(Debug, thiserror::Error)]
#[error("{kind} of QNN, `{node}`, cannot be written as an operation of ONNX: {why}")]
pub struct RaiseError {
    /// The node.
    pub node: String,
    /// Its operation.
    pub kind: String,
    /// What is in the way.
    pub why: String,
}

/// What is in the way of a node.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Said(String),
    #[error(transparent)]
    Add(#[from] AddError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Output(#[from] Misplaced),
}

type Step<T = ()> = Result<T, Why>;

/// A raised graph.
#[derive(Clone, Debug)]
pub struct Raised {
    /// The graph.
    pub graph: Graph,
    /// How tensors are stored that this graph has as real numbers: all of [`Form::Real`] but sums of 32 bits, whose scales
    /// follow from those of what is summed.
    pub encodings: Vec<Encoded>,
}

/// How a tensor of a raised graph is stored on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The name of its value.
    pub name: String,
    /// The type of stored elements.
    pub data_type: DataType,
    /// Scales and offsets, by the axes of the raised graph.
    pub encoding: Encoding,
    /// Whether it is a constant.
    pub is_parameter: bool,
}

/// `graph` in operations of the IR. The inputs that `slots` names are constants of zeros in [`Form::Real`], for tools that
/// know adapters as weights.
///
/// # Errors
/// An operation that is not one of those that lowering makes.
pub fn raise(graph: &QnnGraph, form: Form, slots: &BTreeSet<String>) -> Result<Raised, RaiseError> {
    let mut raising = Raising {
        qnn: graph,
        form,
        graph: Graph::new(graph.name.as_str()),
        encodings: Vec::new(),
        stored: BTreeMap::new(),
        real: BTreeMap::new(),
        planes: BTreeMap::new(),
        scalars: BTreeMap::new(),
    };
    let whole =
        |why: Why| RaiseError { node: graph.name.clone(), kind: "Graph".to_owned(), why: why.to_string() };
    raising.inputs(slots).map_err(whole)?;
    for node in &graph.nodes {
        raising.node(node).map_err(|why| RaiseError {
            node: node.name.clone(),
            kind: node.kind.clone(),
            why: why.to_string(),
        })?;
    }
    raising.finish().map_err(whole)
}

/// A graph that is being raised.
struct Raising<'q> {
    qnn: &'q QnnGraph,
    form: Form,
    graph: Graph,
    encodings: Vec<Encoded>,
    /// Tensors as they are stored.
    stored: BTreeMap<TensorId, ValueId>,
    /// Tensors as operations read them.
    real: BTreeMap<TensorId, ValueId>,
    /// Planes as operations read them, with channels first.
    planes: BTreeMap<TensorId, ValueId>,
    /// Scales and zero points, by element type and bits.
    scalars: BTreeMap<(DType, i64), ValueId>,
}

/// Channels before rows and columns.
const TO_FIRST: [i64; 4] = [0, 3, 1, 2];
/// Channels behind rows and columns.
const TO_LAST: [i64; 4] = [0, 2, 3, 1];

impl<'q> Raising<'q> {
    /// The tensors of one role, with their places.
    fn of_role(&self, role: &Role) -> Vec<(TensorId, &'q Tensor)> {
        let tensors = self.qnn.tensors.iter().enumerate().filter(|(_, tensor)| tensor.role == *role);
        tensors.map(|(at, tensor)| (TensorId(at as u32), tensor)).collect()
    }

    fn inputs(&mut self, slots: &BTreeSet<String>) -> Step {
        for (id, tensor) in self.of_role(&Role::Input) {
            let sizes: Vec<u64> = tensor.dims.iter().map(|size| u64::from(*size)).collect();
            let ty = TensorType::known(self.element(tensor), &sizes);
            let is_slot = self.form == Form::Real && slots.contains(&tensor.name);
            let value = if is_slot {
                let sizes: Vec<usize> = sizes.iter().map(|size| *size as usize).collect();
                let zeros = self.graph.add_constant(&Elements::zeros(ty.dtype, &sizes)?, Loc::Built)?;
                self.graph.set_name(zeros, &tensor.name);
                zeros
            } else {
                self.graph.add_input(&tensor.name, ty, Binding::Run, Loc::Built)?
            };
            self.note(value, tensor.data_type, tensor.encoding.as_ref(), is_slot);
            self.stored.insert(id, value);
        }
        Ok(())
    }

    /// Notes how `value` is stored, if it is a real number here.
    fn note(&mut self, value: ValueId, data_type: DataType, encoding: Option<&Encoding>, is_parameter: bool) {
        let name = self.graph.value(value).name().map(ToString::to_string);
        if let (Form::Real, Some(name), Some(encoding), 1 | 2) =
            (self.form, name, encoding, data_type.bytes())
        {
            self.encodings.push(Encoded { name, data_type, encoding: encoding.clone(), is_parameter });
        }
    }

    fn finish(mut self) -> Step<Raised> {
        let mut outputs = Vec::new();
        for (id, tensor) in self.of_role(&Role::Output) {
            let value = self.stored(id)?;
            // A file has one name for a value and the output that it is.
            let named = self.graph.value(value).name().cloned();
            let noted = self.encodings.iter_mut().find(|noted| named.as_deref() == Some(noted.name.as_str()));
            if let Some(noted) = noted {
                noted.name.clone_from(&tensor.name);
            }
            outputs.push(Output { name: tensor.name.as_str().into(), value });
        }
        self.graph.set_outputs(outputs)?;
        Ok(Raised { graph: self.graph, encodings: self.encodings })
    }

    /// Adds what `node` computes.
    fn node(&mut self, node: &Node) -> Step {
        match node.kind.as_str() {
            "Conv2d" | "DepthWiseConv2d" => products::conv(self, node),
            "TransposeConv2d" => products::conv_transpose(self, node),
            "MatMul" => products::matmul(self, node),
            "FullyConnected" => products::fully_connected(self, node),
            "GroupNorm" => norms::group_norm(self, node),
            "InstanceNorm" => norms::instance_norm(self, node),
            "LayerNorm" => norms::layer_norm(self, node),
            "RmsNorm" => norms::rms_norm(self, node),
            "Sigmoid" => self.sigmoid(node),
            "Convert" | "Quantize" | "Dequantize" => {
                let real = self.read(node.inputs[0])?;
                self.write(node.outputs[0], real)
            }
            _ => match simple::op(self, node)? {
                Some(op) => self.simple(node, op),
                None => movement::node(self, node),
            },
        }
    }

    /// An operation on all inputs of `node`, without others.
    fn simple(&mut self, node: &Node, op: Op) -> Step {
        let operands: Step<Vec<ValueId>> = node.inputs.iter().map(|id| self.read(*id)).collect();
        let real = self.graph.add_value(op, &operands?, Loc::Built)?;
        self.write(node.outputs[0], real)
    }

    /// A sigmoid. A group normalization ends in a sum here, so that [a fault of the compiler](faults) concerns it.
    fn sigmoid(&mut self, node: &Node) -> Step {
        let x = node.inputs[0];
        let mut real = self.read(x)?;
        let apart = faults::sigmoid_operand(self.qnn, x, &["GroupNorm"]);
        if let Some(encoding) = apart.filter(|_| self.form == Form::Qdq) {
            real = self.stored_as(real, self.tensor(x).data_type, Some(&encoding))?;
        }
        let real = self.graph.add_value(Sigmoid, &[real], Loc::Built)?;
        self.write(node.outputs[0], real)
    }

    fn tensor(&self, id: TensorId) -> &'q Tensor {
        self.qnn.tensor(id)
    }

    /// The element type of `tensor` as it is passed in and given back.
    fn element(&self, tensor: &Tensor) -> DType {
        match self.form {
            Form::Real if tensor.data_type.is_fixed() => DType::F32,
            _ => dtype(tensor.data_type),
        }
    }

    /// How `tensor` is quantized in this form.
    fn encoding(&self, tensor: &'q Tensor) -> Option<&'q Encoding> {
        tensor.encoding.as_ref().filter(|_| self.form == Form::Qdq)
    }

    /// Tensor `id` as operations read it.
    fn read(&mut self, id: TensorId) -> Step<ValueId> {
        if let Some(value) = self.real.get(&id) {
            return Ok(*value);
        }
        let tensor = self.tensor(id);
        let value = if let Role::Static(bytes) = &tensor.role {
            self.constant(tensor, &tensor.dims, bytes, tensor.encoding.as_ref())?
        } else {
            let stored = self.stored(id)?;
            self.dequantized(stored, tensor.data_type, self.encoding(tensor))?
        };
        self.real.insert(id, value);
        Ok(value)
    }

    /// Tensor `id` as it is stored.
    fn stored(&mut self, id: TensorId) -> Step<ValueId> {
        if let Some(value) = self.stored.get(&id) {
            return Ok(*value);
        }
        let first = self.planes.get(&id).copied();
        let first = first
            .ok_or_else(|| Why::Said(format!("`{}` is read before it is made", self.tensor(id).name)))?;
        let last = self.transposed(first, &TO_LAST)?;
        self.write(id, last)?;
        Ok(self.stored[&id])
    }

    /// Tensor `id`, planes with channels last, as operations read it that have channels first.
    fn planes(&mut self, id: TensorId) -> Step<ValueId> {
        if let Some(value) = self.planes.get(&id) {
            return Ok(*value);
        }
        let last = self.read(id)?;
        let first = self.transposed(last, &TO_FIRST)?;
        let first = self.requantized(first, id)?;
        self.planes.insert(id, first);
        Ok(first)
    }

    /// Says that tensor `id` is `real`.
    fn write(&mut self, id: TensorId, real: ValueId) -> Step {
        let tensor = self.tensor(id);
        let stored = self.quantized(real, tensor.data_type, self.encoding(tensor))?;
        // Planes have their name where they are made.
        if !self.planes.contains_key(&id) {
            self.name(stored, tensor);
        }
        self.stored.insert(id, stored);
        Ok(())
    }

    /// Says that tensor `id`, planes with channels last, is `real`, which has them first.
    fn write_planes(&mut self, id: TensorId, real: ValueId) -> Step {
        let tensor = self.tensor(id);
        let stored = self.quantized(real, tensor.data_type, self.encoding(tensor))?;
        self.name(stored, tensor);
        let first = self.dequantized(stored, tensor.data_type, self.encoding(tensor))?;
        self.planes.insert(id, first);
        Ok(())
    }

    /// Names `value` after `tensor`, unless it has a name: a value that is passed on unchanged.
    fn name(&mut self, value: ValueId, tensor: &Tensor) {
        if self.graph.value(value).name().is_none() {
            self.graph.set_name(value, &tensor.name);
            self.note(value, tensor.data_type, tensor.encoding.as_ref(), false);
        }
    }

    /// `real`, stored as tensor `like` is and read again.
    fn requantized(&mut self, real: ValueId, like: TensorId) -> Step<ValueId> {
        let tensor = self.tensor(like);
        self.stored_as(real, tensor.data_type, self.encoding(tensor))
    }

    /// `real`, stored and read again.
    fn stored_as(
        &mut self,
        real: ValueId,
        data_type: DataType,
        encoding: Option<&Encoding>,
    ) -> Step<ValueId> {
        let stored = self.quantized(real, data_type, encoding)?;
        self.dequantized(stored, data_type, encoding)
    }

    fn quantized(
        &mut self,
        real: ValueId,
        data_type: DataType,
        encoding: Option<&Encoding>,
    ) -> Step<ValueId> {
        let Some(encoding) = encoding else { return Ok(real) };
        let (scale, zero) = self.parameters(data_type, encoding)?;
        let axis = encoding.axis().map_or(1, i64::from);
        // The zero point says the type. Where both do, ONNX Runtime changes one of signed 8 bits, and then refuses the node.
        let output_dtype = zero.is_none().then(|| dtype(data_type));
        let op = QuantizeLinear { axis, output_dtype, ..QuantizeLinear::default() };
        let node = self.graph.add(op, &[Some(real), Some(scale), zero], Loc::Built)?;
        Ok(self.graph.node(node).result().id())
    }

    fn dequantized(
        &mut self,
        stored: ValueId,
        data_type: DataType,
        encoding: Option<&Encoding>,
    ) -> Step<ValueId> {
        let Some(encoding) = encoding else { return Ok(stored) };
        let (scale, zero) = self.parameters(data_type, encoding)?;
        let axis = encoding.axis().map_or(1, i64::from);
        let op = DequantizeLinear { axis, ..DequantizeLinear::default() };
        let node = self.graph.add(op, &[Some(stored), Some(scale), zero], Loc::Built)?;
        Ok(self.graph.node(node).result().id())
    }

    fn transposed(&mut self, value: ValueId, order: &[i64]) -> Step<ValueId> {
        let op = Transpose { perm: Some(order.to_vec()) };
        Ok(self.graph.add_value(op, &[value], Loc::Built)?)
    }

    /// A constant list of integers, as operations take axes and sizes.
    fn list(&mut self, list: Vec<i64>) -> Step<ValueId> {
        let elements = Elements::from_vec(&[list.len()], list)?;
        Ok(self.graph.add_constant(&elements, Loc::Built)?)
    }

    /// `value` with other sizes.
    fn reshaped(&mut self, value: ValueId, sizes: &[u32]) -> Step<ValueId> {
        let sizes = self.list(sizes.iter().map(|size| i64::from(*size)).collect())?;
        Ok(self.graph.add_value(quad_ir::ops::Reshape::default(), &[value, sizes], Loc::Built)?)
    }
}

/// The element type of the IR that stores `data_type`.
fn dtype(data_type: DataType) -> DType {
    match data_type {
        DataType::Float32 => DType::F32,
        DataType::Float16 => DType::F16,
        DataType::Int8 | DataType::Sfixed8 => DType::I8,
        DataType::Uint8 | DataType::Ufixed8 => DType::U8,
        DataType::Int16 | DataType::Sfixed16 => DType::I16,
        DataType::Uint16 | DataType::Ufixed16 => DType::U16,
        DataType::Int32 | DataType::Sfixed32 => DType::I32,
        DataType::Uint32 | DataType::Ufixed32 => DType::U32,
        DataType::Int64 => DType::I64,
        DataType::Bool8 => DType::Bool,
    }
}
