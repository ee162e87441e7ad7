//! What rows emit into: a subgraph that grows by tensors and operators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{Cast, Input, OpKind};
use quad_ir::types::Quant;
use quad_ir::weights::WeightId;
use smallvec::SmallVec;

use super::border::{Border, BorderError};
use super::{EmitError, Settings, absorb, quantized, values};
use crate::model::{Content, LiteRtModel, Operator, Signature, Subgraph, Tensor, TensorId};
use crate::schema::{Builtin, Value};
use crate::versions;

/// A model in the making.
#[derive(Debug)]
pub struct Lowering<'g> {
    graph: &'g Graph,
    settings: &'g Settings,
    weights: quad_ir::weights::Weights,
    subgraph: Subgraph,
    /// Tensors of values that are there already.
    of_value: BTreeMap<ValueId, TensorId>,
    /// Tensors of constants made here, by what they hold.
    of_constant: BTreeMap<(DType, SmallVec<[u64; 6]>, Bytes), TensorId>,
    names: BTreeSet<String>,
    absorbed: BTreeSet<NodeId>,
    /// The values that callers get.
    outputs: Vec<ValueId>,
    /// The node that is being emitted.
    node: Option<NodeId>,
    /// Whether it computes with real numbers, whatever its operands and results are stored as.
    in_floats: bool,
    /// Real numbers of values that are stored as integers.
    real: BTreeMap<ValueId, TensorId>,
    /// Results that are real numbers and to be stored as integers.
    unstored: Vec<(TensorId, ValueId)>,
}

/// The type of a tensor that is made here.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) sizes: SmallVec<[u64; 6]>,
    pub(super) dtype: DType,
    pub(super) quant: Option<Arc<Quant>>,
}

impl Kind {
    /// The type of `value`.
    pub(super) fn of(value: ValueRef<'_>) -> Self {
        let ty = value.ty();
        Self { sizes: values::sizes(value).into(), dtype: ty.dtype, quant: ty.quant.clone() }
    }

    /// The same elements with other sizes.
    pub(super) fn sized(&self, sizes: &[u64]) -> Self {
        Self { sizes: sizes.into(), ..self.clone() }
    }
}

/// Whether all that reads the 64-bit integers `input` reads 32-bit ones as well.
fn takes_narrow(input: ValueRef<'_>) -> bool {
    let takes = |(reader, operand): (NodeRef<'_>, usize)| match reader.op().kind() {
        OpKind::Cast => true,
        OpKind::Gather | OpKind::GatherNd => operand == 1,
        _ => false,
    };
    input.ty().dtype == DType::I64 && !input.is_output() && input.readers().all(takes)
}

impl<'g> Lowering<'g> {
    pub(super) fn new(graph: &'g Graph, settings: &'g Settings) -> Result<Self, BorderError> {
        let border = Border::new(graph, settings)?;
        let name = graph.name().to_string();
        let (tensors, operators) = (Vec::new(), Vec::new());
        let subgraph = Subgraph { name, tensors, inputs: Vec::new(), outputs: Vec::new(), operators };
        let mut lowering = Self {
            graph,
            settings,
            weights: graph.weights().clone(),
            subgraph,
            of_value: BTreeMap::new(),
            of_constant: BTreeMap::new(),
            names: BTreeSet::new(),
            absorbed: absorb::absorbed(graph).union(&border.left_out).copied().collect(),
            outputs: border.outputs,
            node: None,
            in_floats: false,
            real: BTreeMap::new(),
            unstored: Vec::new(),
        };
        for (input, (passed, stands_for)) in graph.inputs().zip(border.inputs) {
            let name = lowering.name_of(input);
            let mut kind = Kind::of(graph.value(passed));
            if settings.narrow_inputs && takes_narrow(input) {
                kind.dtype = DType::I32;
            }
            let tensor = lowering.push(name, kind, Content::Computed);
            lowering.of_value.extend(stands_for.into_iter().map(|value| (value, tensor)));
            lowering.subgraph.inputs.push(tensor);
        }
        Ok(lowering)
    }

    pub(super) fn is_absorbed(&self, node: NodeRef<'_>) -> bool {
        self.absorbed.contains(&node.id())
    }

    /// What is emitted from now on is for the sake of `node`.
    pub(super) fn begin(&mut self, node: NodeRef<'_>) {
        self.node = Some(node.id());
        self.in_floats = quantized::is_in_floats(node);
    }

    /// The node that was begun is emitted: what it computed in floats is stored as its results say.
    pub(super) fn end(&mut self) {
        self.in_floats = false;
        for (real, value) in std::mem::take(&mut self.unstored) {
            let stored = self.result(self.graph.value(value));
            self.emit(Builtin::Quantize, &[Some(real)], &[stored], &[]);
        }
    }

    /// The tensor of `value`, which an operator reads; that of its real numbers, where the node computes with these.
    pub(super) fn read(&mut self, value: ValueRef<'_>) -> Result<TensorId, EmitError> {
        let stored = self.read_stored(value)?;
        if !self.in_floats || value.ty().quant.is_none() {
            return Ok(stored);
        }
        if let Some(real) = self.real.get(&value.id()) {
            return Ok(*real);
        }
        let kind = Kind { dtype: DType::F32, quant: None, ..Kind::of(value) };
        let real = self.between(kind);
        self.emit(Builtin::Dequantize, &[Some(stored)], &[real], &[]);
        self.real.insert(value.id(), real);
        Ok(real)
    }

    fn read_stored(&mut self, value: ValueRef<'_>) -> Result<TensorId, EmitError> {
        if let Some(tensor) = self.of_value.get(&value.id()) {
            return Ok(*tensor);
        }
        let Some(weight) = value.weight() else {
            return Err(EmitError::Unchecked(format!("{} is read before it is computed", value.id())));
        };
        let narrow =
            self.settings.half_weights && value.ty().dtype == DType::F32 && !values::sizes(value).is_empty();
        let kind = Kind::of(value);
        let tensor =
            if narrow { self.widened(weight, value, &kind)? } else { self.constant(weight, value, &kind) };
        self.of_value.insert(value.id(), tensor);
        Ok(tensor)
    }

    /// The tensor of `node`'s operand `index`, which must be there.
    pub(super) fn operand(&mut self, node: NodeRef<'_>, index: usize) -> Result<TensorId, EmitError> {
        let operand = node.operands().nth(index).flatten();
        let operand = operand.ok_or_else(|| EmitError::Unchecked(format!("operand {index} is left out")))?;
        self.read(operand)
    }

    fn constant(&mut self, weight: WeightId, value: ValueRef<'_>, kind: &Kind) -> TensorId {
        let name = self.name_of(value);
        self.push(name, kind.clone(), Content::Weight(weight))
    }

    /// The weight in 16 bits, with the operator that widens it.
    fn widened(&mut self, weight: WeightId, value: ValueRef<'_>, kind: &Kind) -> Result<TensorId, EmitError> {
        let half = self.weights.derive(Cast { to: DType::F16, ..Cast::default() }, &[Some(weight)])?;
        let name = self.name_of(value);
        let stored = Kind { dtype: DType::F16, ..kind.clone() };
        let stored = self.push(format!("{name}.f16"), stored, Content::Weight(half));
        let wide = self.push(name, kind.clone(), Content::Computed);
        self.emit(Builtin::Dequantize, &[Some(stored)], &[wide], &[]);
        Ok(wide)
    }

    /// The tensor of a constant list of 32-bit integers.
    pub(super) fn integers(&mut self, numbers: &[i64]) -> TensorId {
        self.numbers(&[numbers.len() as u64], numbers)
    }

    /// The tensor of a constant 32-bit integer without axes.
    pub(super) fn integer(&mut self, number: i64) -> TensorId {
        self.numbers(&[], &[number])
    }

    /// The tensor of constant 32-bit integers with sizes `sizes`. Numbers beyond 32 bits are the largest and smallest that
    /// fit, which mean the same to whatever counts elements.
    pub(super) fn numbers(&mut self, sizes: &[u64], numbers: &[i64]) -> TensorId {
        let narrow = |number: &i64| (*number).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| narrow(number).to_le_bytes()).collect();
        self.bytes(DType::I32, sizes, bytes.into(), None)
    }

    /// The tensor of a constant of `sizes` and `dtype` with the packed elements `bytes`.
    pub(super) fn bytes(
        &mut self,
        dtype: DType,
        sizes: &[u64],
        bytes: Bytes,
        quant: Option<Arc<Quant>>,
    ) -> TensorId {
        let key = (dtype, SmallVec::from_slice(sizes), bytes.clone());
        if quant.is_none()
            && let Some(tensor) = self.of_constant.get(&key)
        {
            return *tensor;
        }
        let name = format!("constant.{}", self.subgraph.tensors.len());
        let is_plain = quant.is_none();
        let kind = Kind { sizes: sizes.into(), dtype, quant };
        let tensor = self.push(name, kind, Content::Bytes(bytes));
        if is_plain {
            self.of_constant.insert(key, tensor);
        }
        tensor
    }

    /// The tensor of a constant of `dtype`, a float or integer type, whose one element is `number`.
    pub(super) fn number(&mut self, dtype: DType, number: f64) -> Result<TensorId, EmitError> {
        let tensor = quad_passes::emit::scalar(dtype, number).map_err(quad_ir::weights::WeightError::from)?;
        Ok(self.bytes(dtype, &[], tensor.bytes().clone(), None))
    }

    /// A constant of zeros.
    pub(super) fn zeros(&mut self, kind: &Kind) -> TensorId {
        let elements: u64 = kind.sizes.iter().product();
        let length = kind.dtype.byte_len(elements).unwrap_or_default() as usize;
        self.bytes(kind.dtype, &kind.sizes, vec![0; length].into(), kind.quant.clone())
    }

    /// The tensor of `value`, which an operator is about to compute.
    pub(super) fn result(&mut self, value: ValueRef<'_>) -> TensorId {
        if self.in_floats && value.ty().quant.is_some() {
            let real = self.between(Kind { dtype: DType::F32, quant: None, ..Kind::of(value) });
            self.unstored.push((real, value.id()));
            return real;
        }
        let name = self.name_of(value);
        let tensor = self.push(name, Kind::of(value), Content::Computed);
        self.of_value.insert(value.id(), tensor);
        tensor
    }

    /// A tensor between operators of one node.
    pub(super) fn between(&mut self, kind: Kind) -> TensorId {
        let name = format!("between.{}", self.subgraph.tensors.len());
        self.push(name, kind, Content::Computed)
    }

    /// Adds an operator.
    pub(super) fn emit(
        &mut self,
        op: Builtin,
        inputs: &[Option<TensorId>],
        outputs: &[TensorId],
        options: &[(&'static str, Value)],
    ) {
        let (inputs, outputs) = (inputs.into(), outputs.into());
        let mut operator =
            Operator { op, version: 1, inputs, outputs, options: options.to_vec(), node: self.node };
        operator.version = versions::version(&operator, &self.subgraph);
        self.subgraph.operators.push(operator);
    }

    /// Adds the operator `op` that computes the result of `node` of `inputs`.
    pub(super) fn compute(
        &mut self,
        node: NodeRef<'_>,
        op: Builtin,
        inputs: &[TensorId],
        options: &[(&'static str, Value)],
    ) {
        let inputs: Vec<Option<TensorId>> = inputs.iter().copied().map(Some).collect();
        let result = self.result(node.result());
        self.emit(op, &inputs, &[result], options);
    }

    /// `tensor` with other sizes.
    pub(super) fn reshaped(&mut self, tensor: TensorId, sizes: &[u64]) -> TensorId {
        let result = self.between(self.kind(tensor).sized(sizes));
        let shape: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        let shape = self.integers(&shape);
        self.emit(Builtin::Reshape, &[Some(tensor), Some(shape)], &[result], &[]);
        result
    }

    /// The type of `tensor`.
    pub(super) fn kind(&self, tensor: TensorId) -> Kind {
        let Tensor { sizes, dtype, quant, .. } = self.subgraph.tensor(tensor);
        Kind { sizes: sizes.clone(), dtype: *dtype, quant: quant.clone() }
    }

    fn push(&mut self, name: String, kind: Kind, content: Content) -> TensorId {
        let id = TensorId(self.subgraph.tensors.len() as u32);
        let Kind { sizes, dtype, quant } = kind;
        self.subgraph.tensors.push(Tensor { name, sizes, dtype, quant, content });
        id
    }

    /// The name of `value`, or one that no other tensor has.
    fn name_of(&mut self, value: ValueRef<'_>) -> String {
        let name = value.name().map_or_else(|| format!("value.{}", value.id()), ToString::to_string);
        let mut unique = name.clone();
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}.{count}");
        }
        unique
    }

    /// The model, with the outputs of the graph.
    pub(super) fn finish(mut self) -> Result<LiteRtModel, EmitError> {
        let mut outputs: Vec<(String, TensorId)> = Vec::new();
        for (output, value) in self.graph.outputs().iter().zip(std::mem::take(&mut self.outputs)) {
            let value = self.graph.value(value);
            let tensor = self.read(value)?;
            // Every output is a tensor of its own, which an operator computes.
            let is_taken = outputs.iter().any(|(_, taken)| *taken == tensor);
            let is_computed = value.weight().is_none() && value.producer().is::<Input>().is_none();
            let tensor = if is_taken || !is_computed { self.copy(value, tensor) } else { tensor };
            outputs.push((output.name.to_string(), tensor));
        }
        self.subgraph.outputs = outputs.iter().map(|(_, tensor)| *tensor).collect();
        let name =
            |input: ValueRef<'_>| input.name().map_or_else(|| input.id().to_string(), ToString::to_string);
        let inputs = self.graph.inputs().map(name).zip(self.subgraph.inputs.iter().copied()).collect();
        let signature = Signature { key: "serving_default".to_owned(), subgraph: 0, inputs, outputs };
        Ok(LiteRtModel {
            description: concat!("quad ", env!("CARGO_PKG_VERSION")).to_owned(),
            subgraphs: vec![self.subgraph],
            signatures: vec![signature],
            metadata: self.settings.metadata.clone(),
            weights: self.weights,
        })
    }

    /// A tensor with the elements of `tensor`, which holds `value`.
    fn copy(&mut self, value: ValueRef<'_>, tensor: TensorId) -> TensorId {
        self.reshaped(tensor, &values::sizes(value))
    }
}
