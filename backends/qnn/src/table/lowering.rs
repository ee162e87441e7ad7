//! A graph on its way to QNN: which tensor each value became, and what emitters of operations share.

use std::collections::{BTreeMap, BTreeSet};

use quad_backends::legality::Reason;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, OpKind};
use quad_ir::tensor::Tensor as Elements;
use quad_ir::types::TensorType;

use super::constants;
use crate::model::{DataType, Encoding, Param, QnnGraph, Role, ScaleOffset, Tensor, TensorId};

/// An input that is stored with its axes in another order than the graph has them: axis `i` is axis `order[i]` there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reordered {
    /// The input.
    pub name: String,
    /// The order.
    pub order: Vec<usize>,
}

/// The state of a lowering.
pub(super) struct Lowering<'g> {
    pub(super) graph: &'g Graph,
    pub(super) qnn: QnnGraph,
    pub(super) reordered: Vec<Reordered>,
    /// Whether the elements of large constants are read; where only types are looked at they are not.
    contents: bool,
    tensors: BTreeMap<ValueId, TensorId>,
    kernels: BTreeMap<ValueId, TensorId>,
    names: BTreeSet<String>,
}

/// What an emitter gives: nothing, or why the node cannot be emitted.
pub(super) type Emitted = Result<(), Reason>;

/// Constants of up to this many elements are read even where only types are looked at.
const ALWAYS_READ: usize = 1 << 16;

impl<'g> Lowering<'g> {
    /// A lowering of `graph` that has come nowhere yet.
    pub(super) fn new(graph: &'g Graph, contents: bool) -> Self {
        // Callers know inputs and outputs by these names, so that no other tensor takes one.
        let inputs = graph.inputs().filter_map(|input| input.name().map(ToString::to_string));
        let outputs = graph.outputs().iter().map(|output| output.name.to_string());
        Self {
            graph,
            names: inputs.chain(outputs).collect(),
            qnn: QnnGraph::new(graph.name().to_string()),
            reordered: Vec::new(),
            contents,
            tensors: BTreeMap::new(),
            kernels: BTreeMap::new(),
        }
    }

    /// The tensor of `value`.
    pub(super) fn value(&mut self, value: ValueRef<'_>) -> Result<TensorId, Reason> {
        if let Some(id) = self.tensors.get(&value.id()) {
            return Ok(*id);
        }
        let (data_type, encoding) = stored_as(value.ty())?;
        let role = self.role(value)?;
        let dims = dims(value.ty())?;
        let id = self.tensor(&self.name_of(value), role, data_type, dims, encoding);
        self.tensors.insert(value.id(), id);
        Ok(id)
    }

    /// The tensor of an input of the graph.
    pub(super) fn declare(&mut self, input: ValueRef<'_>) -> Result<TensorId, Reason> {
        let read_as_kernel = is_slot(input) && input.ty().rank() == 4 && input.is_read();
        if read_as_kernel && self.is_only_a_kernel(input) { self.kernel(input) } else { self.value(input) }
    }

    /// The tensor of operand `name` of `node`, which must be there.
    pub(super) fn operand(&mut self, node: NodeRef<'_>, name: &str) -> Result<TensorId, Reason> {
        let value = node.operand(name).ok_or_else(|| Reason::new(format!("operand `{name}` is left out")))?;
        self.value(value)
    }

    /// The tensor of the first result of `node`.
    pub(super) fn result(&mut self, node: NodeRef<'_>) -> Result<TensorId, Reason> {
        self.value(node.result())
    }

    /// The tensor of `value` beside the tensor `like`: a constant of real numbers beside quantized ones is quantized to
    /// the same element type.
    pub(super) fn beside(&mut self, value: ValueRef<'_>, like: TensorId) -> Result<TensorId, Reason> {
        let data_type = self.qnn.tensor(like).data_type;
        if !data_type.is_fixed() || value.ty().quant.is_some() || !value.ty().dtype.is_float() {
            return self.value(value);
        }
        let Some(elements) = self.elements(value)? else { return self.value(value) };
        let (encoding, bytes) = constants::spread(data_type, &elements);
        let dims = dims(value.ty())?;
        let name = format!("{}.{data_type}", self.name_of(value));
        Ok(self.tensor(&name, Role::Static(bytes), data_type, dims, Some(encoding)))
    }

    /// The tensor `id` in the type and the encoding of `like`, through a conversion where it has others.
    pub(super) fn encoded_like(&mut self, id: TensorId, like: TensorId) -> TensorId {
        let (from, to) = (self.qnn.tensor(id), self.qnn.tensor(like));
        if (from.data_type, &from.encoding) == (to.data_type, &to.encoding) {
            return id;
        }
        let (name, dims) = (format!("{}.converted", from.name), from.dims.clone());
        let (data_type, encoding) = (to.data_type, to.encoding.clone());
        let kind = match (from.data_type.is_fixed(), to.data_type.is_fixed()) {
            (true, true) => "Convert",
            (true, false) => "Dequantize",
            (false, _) => "Quantize",
        };
        let converted = self.tensor(&name, Role::Native, data_type, dims, encoding);
        self.op(kind, &[id], &[converted], []);
        converted
    }

    /// A new tensor between two operations, of the type of `like` with another encoding.
    pub(super) fn between(&mut self, name: &str, like: TensorId, encoding: Option<Encoding>) -> TensorId {
        let like = self.qnn.tensor(like);
        let (data_type, dims) = (like.data_type, like.dims.clone());
        self.tensor(name, Role::Native, data_type, dims, encoding)
    }

    /// A new tensor.
    pub(super) fn tensor(
        &mut self,
        name: &str,
        role: Role,
        data_type: DataType,
        dims: Vec<u32>,
        encoding: Option<Encoding>,
    ) -> TensorId {
        let is_kept = matches!(role, Role::Input | Role::Output);
        let name = if is_kept { name.to_owned() } else { self.unique(name) };
        self.qnn.add_tensor(Tensor { name, role, data_type, dims, encoding })
    }

    /// Adds an operation, called after its first result.
    pub(super) fn op(
        &mut self,
        kind: &str,
        inputs: &[TensorId],
        outputs: &[TensorId],
        params: impl IntoIterator<Item = (&'static str, Param)>,
    ) {
        let name = format!("{}/{kind}", self.qnn.tensor(outputs[0]).name);
        let name = self.unique(&name);
        self.qnn.add_node(name, kind, inputs, outputs, params);
    }

    /// The kernel of a convolution, or of a transposed one: its axes are `[outputs, rows, columns, inputs]` in the graph, and rows, columns,
    /// inputs, outputs in QNN. A constant is stored so; an input that an adapter fills is taken so.
    pub(super) fn kernel(&mut self, value: ValueRef<'_>) -> Result<TensorId, Reason> {
        const ORDER: [usize; 4] = [1, 2, 3, 0];
        if let Some(id) = self.kernels.get(&value.id()) {
            return Ok(*id);
        }
        if value.weight().is_some() {
            return self.reordered_constant(value, &ORDER);
        }
        let (data_type, encoding) = stored_as(value.ty())?;
        let encoding = encoding.map(|encoding| encoding.reordered(&ORDER));
        let graph_dims = dims(value.ty())?;
        let new_dims: Vec<u32> = ORDER.iter().map(|axis| graph_dims[*axis]).collect();
        let name = self.name_of(value);
        let id = if is_slot(value) && self.is_only_a_kernel(value) {
            self.reordered.push(Reordered { name: name.clone(), order: ORDER.to_vec() });
            self.tensor(&name, Role::Input, data_type, new_dims, encoding)
        } else {
            let from = self.value(value)?;
            let id = self.tensor(&format!("{name}.kernel"), Role::Native, data_type, new_dims, encoding);
            let order = ORDER.iter().map(|axis| *axis as u32).collect();
            self.op("Transpose", &[from], &[id], [("perm", Param::U32s(vec![4], order))]);
            id
        };
        self.kernels.insert(value.id(), id);
        Ok(id)
    }

    /// A constant with its axes in another order.
    pub(super) fn reordered_constant(
        &mut self,
        value: ValueRef<'_>,
        order: &[usize],
    ) -> Result<TensorId, Reason> {
        if let Some(id) = self.kernels.get(&value.id()) {
            return Ok(*id);
        }
        let (data_type, encoding) = stored_as(value.ty())?;
        let from = dims(value.ty())?;
        let bytes = constants::permute(&self.bytes(value)?, data_type.bytes(), &from, order);
        let to = order.iter().map(|axis| from[*axis]).collect();
        let encoding = encoding.map(|encoding| encoding.reordered(order));
        let id = self.tensor(&self.name_of(value), Role::Static(bytes), data_type, to, encoding);
        self.kernels.insert(value.id(), id);
        Ok(id)
    }

    /// Whether all readers of `value` take it as the kernel of a convolution.
    fn is_only_a_kernel(&self, value: ValueRef<'_>) -> bool {
        let value = self.graph.value(value.id());
        !value.is_output()
            && value.readers().all(|(reader, operand)| {
                let op = reader.op().kind();
                operand == 1 && matches!(op, OpKind::Conv | OpKind::ConvTranspose)
            })
    }

    /// The elements of a constant; `None` for any other value.
    pub(super) fn elements(&self, value: ValueRef<'_>) -> Result<Option<Elements>, Reason> {
        if let Some(weight) = value.weight() {
            let elements = self.graph.weights().tensor(weight);
            return elements.map(Some).map_err(|error| Reason::new(error.to_string()));
        }
        Ok(value.constant().cloned())
    }

    /// The small list of integers that `value` is.
    pub(super) fn integers(&self, value: ValueRef<'_>, what: &str) -> Result<Vec<i64>, Reason> {
        let elements = self.elements(value)?;
        let list = elements.and_then(|elements| elements.to_i64().ok());
        list.ok_or_else(|| Reason::new(format!("its {what} are computed, and must be constant")))
    }

    /// The bytes of a constant as QNN stores its elements.
    fn bytes(&self, value: ValueRef<'_>) -> Result<Vec<u8>, Reason> {
        let (data_type, _) = stored_as(value.ty())?;
        let count: usize = dims(value.ty())?.iter().map(|size| *size as usize).product();
        if !self.contents && count > ALWAYS_READ {
            return Ok(vec![0; count * data_type.bytes()]);
        }
        let elements = self.elements(value)?.ok_or_else(|| Reason::new("a constant without elements"))?;
        constants::bytes(&elements, data_type)
    }

    fn role(&self, value: ValueRef<'_>) -> Result<Role, Reason> {
        if value.weight().is_some() {
            return Ok(Role::Static(self.bytes(value)?));
        }
        Ok(if value.producer().is::<Input>().is_some() {
            Role::Input
        } else if value.is_output() {
            Role::Output
        } else {
            Role::Native
        })
    }

    /// The name that callers know `value` by, or one made of its number.
    pub(super) fn name_of(&self, value: ValueRef<'_>) -> String {
        let output = self.graph.outputs().iter().find(|output| output.value == value.id());
        let is_input = value.producer().is::<Input>().is_some();
        match (output, value.name()) {
            (Some(output), _) if !is_input => output.name.to_string(),
            (_, Some(name)) => name.to_string(),
            _ => value.id().to_string(),
        }
    }

    fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut number = 1;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}_{number}");
        }
        unique
    }
}

/// Whether `value` is an input that an adapter fills.
fn is_slot(value: ValueRef<'_>) -> bool {
    value.producer().is::<Input>().is_some_and(|input| input.binding == Binding::Adapter)
}

/// How QNN stores values of type `ty`. Integers of 64 bits are stored in 32.
pub(super) fn stored_as(ty: &TensorType) -> Result<(DataType, Option<Encoding>), Reason> {
    let no = |what: &str| Err(Reason::new(format!("QNN has no elements that are {what}")));
    let Some(quant) = &ty.quant else {
        return Ok((
            match ty.dtype {
                DType::F32 => DataType::Float32,
                DType::F16 => DataType::Float16,
                DType::I64 | DType::I32 => DataType::Int32,
                DType::U64 | DType::U32 => DataType::Uint32,
                DType::U8 => DataType::Uint8,
                DType::I8 => DataType::Int8,
                DType::Bool => DataType::Bool8,
                other => return no(other.name()),
            },
            None,
        ));
    };
    let data_type = match ty.dtype {
        DType::I8 | DType::I4 => DataType::Sfixed8,
        DType::U8 | DType::U4 => DataType::Ufixed8,
        DType::I16 => DataType::Sfixed16,
        DType::U16 => DataType::Ufixed16,
        DType::I32 => DataType::Sfixed32,
        other => return no(&format!("quantized to {other}")),
    };
    if quant.block.is_some() {
        return no("quantized in blocks");
    }
    let parts = quant.scales.iter().zip(&quant.zero_points);
    let each: Vec<ScaleOffset> = parts.map(|(scale, zero)| ScaleOffset::new(scale.get(), *zero)).collect();
    let narrow = (ty.dtype.bits() < 8).then_some(ty.dtype.bits());
    let encoding = match (quant.axis, narrow) {
        (None, None) => Encoding::Tensor(each[0]),
        (None, Some(bits)) => Encoding::Narrow { bits, all: each[0] },
        (Some(axis), None) => Encoding::Axis { axis: axis.into(), each },
        (Some(axis), Some(bits)) => Encoding::NarrowAxis { bits, axis: axis.into(), each },
    };
    Ok((data_type, Some(encoding)))
}

/// The sizes of `ty`; a tensor without axes has one of size 1.
pub(super) fn dims(ty: &TensorType) -> Result<Vec<u32>, Reason> {
    let unknown = || {
        Reason::new(format!("its sizes are {}, and must be known", ty.shape))
            .help("give symbolic sizes numbers when the model is read")
    };
    let sizes = ty.shape.as_known().ok_or_else(unknown)?;
    let sizes: Option<Vec<u32>> = sizes.iter().map(|size| u32::try_from(*size).ok()).collect();
    let sizes = sizes.ok_or_else(|| Reason::new("it has a size that 32 bits do not hold"))?;
    if sizes.contains(&0) {
        return Err(Reason::new("it has no elements"));
    }
    Ok(if sizes.is_empty() { vec![1] } else { sizes })
}
