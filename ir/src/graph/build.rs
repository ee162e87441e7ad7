//! Building: adding typed nodes, naming values, choosing outputs.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::{Graph, NodeData, NodeId, Output, ValueData, ValueId, ValueRef};
use crate::loc::{Loc, Name};
use crate::ops::source::Binding;
use crate::ops::{Arity, Fact, InferError, Input, Inputs, Op, OpTraits, Operands, Types, Weight};
use crate::tensor::Tensor;
use crate::types::{Known, TensorType};
use crate::weights::{WeightError, WeightId};

/// A node was not added; the graph is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// The operation does not accept its operands or attributes.
    #[error("`{op}` at {loc}: {error}")]
    Infer {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: Box<Loc>,
        /// Why.
        error: InferError,
    },
    /// An operand is no value of this graph, or its producer was erased.
    #[error("`{op}` at {loc}: operand {value} is not in the graph")]
    NoSuchValue {
        /// The operation.
        op: &'static str,
        /// Where it came from.
        loc: Box<Loc>,
        /// The operand.
        value: ValueId,
    },
    /// The weight does not exist, or has another type than the node says.
    #[error("weight {0} is not in the graph with that type")]
    NoSuchWeight(WeightId),
    /// The bytes of a weight do not fit its type.
    #[error(transparent)]
    Weight(#[from] WeightError),
}

/// An output refers to a value that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("output `{name}`: {value} is not in the graph")]
pub struct Misplaced {
    /// The output.
    pub name: Name,
    /// The value it was to be.
    pub value: ValueId,
}

/// Results with more elements than this are not evaluated while a graph is built: shapes are small.
const MAX_KNOWN_ELEMENTS: u64 = 1024;

impl Graph {
    /// Adds a node, with result types from the operation's type rule.
    pub fn add(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        loc: Loc,
    ) -> Result<NodeId, AddError> {
        let op = op.into();
        let name = op.def().name();
        if let Some(weight) = op_weight(&op)
            && self.weights.ty(weight.id) != Some(&weight.ty)
        {
            return Err(AddError::NoSuchWeight(weight.id));
        }
        for value in operands.iter().flatten() {
            if !self.values.get(*value).is_some_and(|data| self.contains(data.producer)) {
                return Err(AddError::NoSuchValue { op: name, loc: Box::new(loc), value: *value });
            }
        }
        let facts = self.facts(operands);
        let context = Operands::new(op.def().operands(), &facts, self.symbols.len());
        let types = match check_arity(&context, &op).and_then(|()| op.def().infer(&context)) {
            Ok(types) => types,
            Err(error) => return Err(AddError::Infer { op: name, loc: Box::new(loc), error }),
        };
        if let Some(ty) = types.iter().find(|ty| !ty.is_representable()) {
            let error = InferError::TooLarge { ty: ty.to_string() };
            return Err(AddError::Infer { op: name, loc: Box::new(loc), error });
        }
        let known = self.known_results(&op, &context, &facts, &types);
        let next_symbol = context.next_symbol();
        self.symbols.grow_to(next_symbol);
        Ok(self.insert(op, operands, loc, types, known))
    }

    /// Adds an operation with a single result and returns that.
    pub fn add_value(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        loc: Loc,
    ) -> Result<ValueId, AddError> {
        let operands: SmallVec<[Option<ValueId>; 4]> = operands.iter().copied().map(Some).collect();
        self.add(op, &operands, loc).map(|node| self.node(node).result().id())
    }

    /// Adds an input after the others.
    pub fn add_input(
        &mut self,
        name: &str,
        ty: TensorType,
        binding: Binding,
        loc: Loc,
    ) -> Result<ValueId, AddError> {
        let node = self.add(Input { ty, binding }, &[], loc)?;
        self.inputs.push(node);
        let value = self.node(node).result().id();
        self.set_name(value, name);
        Ok(value)
    }

    /// Adds a node for the weight `id`.
    pub fn add_weight(&mut self, id: WeightId, loc: Loc) -> Result<ValueId, AddError> {
        let ty = self.weights.ty(id).cloned().ok_or(AddError::NoSuchWeight(id))?;
        self.add_value(Weight { id, ty }, &[], loc)
    }

    /// Adds a weight that holds `tensor`, and a node for it.
    pub fn add_constant(&mut self, tensor: &Tensor, loc: Loc) -> Result<ValueId, AddError> {
        let bytes: Bytes = tensor.bytes().clone();
        let id = self.weights.add_memory(tensor.ty(), bytes)?;
        self.add_weight(id, loc)
    }

    /// Gives `value` a name. When another value has it already, a number is appended, as names are unique.
    pub fn set_name(&mut self, value: ValueId, name: &str) {
        if let Some(old) = self.values[value].name.take() {
            self.names.remove(&old);
        }
        let mut unique: Name = name.into();
        // The last number tried is remembered: thousands of values may ask for one name.
        while self.names.contains_key(&unique) {
            let number = self.suffixes.entry(name.into()).or_insert(0);
            *number += 1;
            unique = format!("{name}.{number}").into();
        }
        self.names.insert(unique.clone(), value);
        self.values[value].name = Some(unique);
    }

    /// Chooses the outputs, in order.
    pub fn set_outputs(&mut self, outputs: Vec<Output>) -> Result<(), Misplaced> {
        let lost = outputs
            .iter()
            .find(|output| !self.values.get(output.value).is_some_and(|data| self.contains(data.producer)));
        if let Some(Output { name, value }) = lost {
            return Err(Misplaced { name: name.clone(), value: *value });
        }
        self.outputs = outputs;
        Ok(())
    }

    /// What type rules see of `operands`.
    pub(crate) fn facts(&self, operands: &[Option<ValueId>]) -> Vec<Option<Fact>> {
        let fact = |value: &Option<ValueId>| {
            let value = ValueRef::new(self, (*value)?);
            Some(Fact { ty: value.ty().clone(), known: value.known().cloned() })
        };
        operands.iter().map(fact).collect()
    }

    fn insert(
        &mut self,
        op: Op,
        operands: &[Option<ValueId>],
        loc: Loc,
        types: Types,
        mut known: SmallVec<[Option<Known>; 1]>,
    ) -> NodeId {
        let node = self.nodes.next_id();
        self.topology.add(node);
        for (operand, value) in operands.iter().enumerate() {
            if let Some(value) = *value {
                self.topology.connect(self.values[value].producer, node, value, operand);
            }
        }
        known.resize(types.len(), None);
        let results = types
            .into_iter()
            .zip(known)
            .enumerate()
            .map(|(port, (ty, known))| {
                let port = u16::try_from(port).expect("an operation has fewer than 2^16 results");
                self.values.push(ValueData { producer: node, port, ty, name: None, known })
            })
            .collect();
        self.nodes.push(Some(NodeData { op, operands: operands.into(), results, loc }))
    }

    /// What is known of the results' elements: evaluated where all operands are, else followed symbolically.
    fn known_results(
        &self,
        op: &Op,
        context: &Operands<'_>,
        facts: &[Option<Fact>],
        types: &[TensorType],
    ) -> SmallVec<[Option<Known>; 1]> {
        let small = |ty: &TensorType| {
            let elements = ty.shape.elements().and_then(|count| count.as_constant());
            elements.is_some_and(|count| (0..=MAX_KNOWN_ELEMENTS.cast_signed()).contains(&count))
        };
        if !types.iter().all(small) {
            return SmallVec::new();
        }
        if let Some(weight) = op_weight(op) {
            return smallvec![self.weights.tensor(weight.id).ok().map(Known::Constant)];
        }
        if !op.def().traits().contains(OpTraits::PURE) || facts.is_empty() {
            return SmallVec::new();
        }
        let constants: Option<Vec<Option<Tensor>>> = facts
            .iter()
            .map(|fact| match fact {
                Some(fact) => fact.known.as_ref().and_then(Known::constant).cloned().map(Some),
                None => Some(None),
            })
            .collect();
        let Some(tensors) = constants else {
            let results = op.def().symbolic_results(context).into_iter();
            return results.map(|tensor| tensor.map(Known::from_symbolic)).collect();
        };
        // An operation that cannot be evaluated here says so when the graph runs.
        let results = op.def().eval(&Inputs::new(op.def().operands(), &tensors), types).unwrap_or_default();
        results.into_iter().map(|tensor| Some(Known::Constant(tensor))).collect()
    }
}

fn op_weight(op: &Op) -> Option<&Weight> {
    use crate::ops::OpVariant;
    Weight::of(op)
}

/// Whether the operands given are as many as the operation declares, with none left out that must be there.
fn check_arity(operands: &Operands<'_>, op: &Op) -> Result<(), InferError> {
    let declared = op.def().operands();
    let variadic = declared.last().is_some_and(|operand| operand.arity == Arity::Variadic);
    if !variadic && operands.len() > declared.len() {
        return Err(InferError::TooMany { found: operands.len(), expected: declared.len() });
    }
    for (index, operand) in declared.iter().enumerate() {
        if operand.arity == Arity::One {
            operands.ty(index)?;
        }
    }
    // Of a variadic tail every operand given must be there.
    let tail = if variadic { declared.len() - 1 } else { operands.len() };
    (tail..operands.len()).try_for_each(|index| operands.ty(index).map(|_| ()))
}
