//! Building: adding typed nodes, naming values, choosing outputs.

use smallvec::SmallVec;

use super::typing::{MAX_KNOWN_TOTAL, Typed, op_weight, trim_absent, type_node};
use super::{Graph, NodeData, NodeId, Output, Revision, ValueData, ValueId};
use crate::loc::{Loc, Name};
use crate::ops::source::Binding;
use crate::ops::{Fact, InferError, Input, Op, Weight};
use crate::tensor::Tensor;
use crate::types::{Encoded, TensorType};
use crate::weights::{WeightError, WeightId, Weights};

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
    /// An operand of a recipe is no constant.
    #[error("recipe `{op}` at {loc}: operand {value} is not constant")]
    NotConstant {
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

impl Graph {
    /// Adds a node, with result types from the operation's type rule. Absent operands at the end are dropped.
    pub fn add(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        loc: Loc,
    ) -> Result<NodeId, AddError> {
        self.add_stated(op, operands, &[], loc)
    }

    /// As [`add`](Self::add), with the encodings in which results are stored: one entry for each, of which those at the
    /// end may be left out. A result without one is what the type rule says.
    pub fn add_stated(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        stated: &[Option<Encoded>],
        loc: Loc,
    ) -> Result<NodeId, AddError> {
        let op = op.into();
        let operands = trim_absent(&op, operands);
        check_weight(&op, &self.weights)?;
        if let Some(value) = operands.iter().flatten().find(|value| !self.has_value(**value)) {
            return Err(AddError::NoSuchValue { op: op.def().name(), loc: Box::new(loc), value: *value });
        }
        let facts: Vec<Option<Fact>> =
            operands.iter().map(|value| value.map(|value| self.fact(value))).collect();
        match type_node(&op, &facts, stated, &self.weights, self.symbols.len()) {
            Ok(typed) => Ok(self.insert(op, operands, loc, typed)),
            Err(error) => Err(AddError::Infer { op: op.def().name(), loc: Box::new(loc), error }),
        }
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

    /// As [`add_value`](Self::add_value), with the encoding in which the result is stored.
    pub fn add_value_stated(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        stated: Encoded,
        loc: Loc,
    ) -> Result<ValueId, AddError> {
        let operands: SmallVec<[Option<ValueId>; 4]> = operands.iter().copied().map(Some).collect();
        let node = self.add_stated(op, &operands, &[Some(stated)], loc)?;
        Ok(self.node(node).result().id())
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
        self.revision = Revision::next();
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
        let id = self.weights.add_tensor(tensor)?;
        self.add_weight(id, loc)
    }

    /// Gives `value` a name. When another value has it already, a number is appended, as names are unique.
    pub fn set_name(&mut self, value: ValueId, name: &str) {
        self.revision = Revision::next();
        self.forget_name(value);
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
        let lost = outputs.iter().find(|output| !self.has_value(output.value));
        if let Some(Output { name, value }) = lost {
            return Err(Misplaced { name: name.clone(), value: *value });
        }
        self.revision = Revision::next();
        self.outputs = outputs;
        Ok(())
    }

    /// What type rules see of `value`.
    pub(super) fn fact(&self, value: ValueId) -> Fact {
        let data = &self.values[value];
        Fact { ty: data.ty.clone(), known: data.known.clone() }
    }

    /// Whether `value` is there and its producer not erased.
    pub(super) fn has_value(&self, value: ValueId) -> bool {
        self.values.get(value).is_some_and(|data| self.contains(data.producer))
    }

    /// Gives `value` a type that its type rule allows. What was known of its elements is dropped when that is another
    /// one, so that types and elements never disagree.
    pub(crate) fn state_type(&mut self, value: ValueId, ty: TensorType) {
        let data = &mut self.values[value];
        if data.ty != ty {
            data.ty = ty;
            data.known = None;
        }
    }

    /// Takes the name of `value` away, if it has one.
    pub(super) fn forget_name(&mut self, value: ValueId) {
        if let Some(old) = self.values[value].name.take() {
            self.names.remove(&old);
        }
    }

    fn insert(&mut self, op: Op, operands: &[Option<ValueId>], loc: Loc, typed: Typed) -> NodeId {
        self.revision = Revision::next();
        let elements = typed.known_elements();
        let keep_known = typed.keeps_known(MAX_KNOWN_TOTAL.saturating_sub(self.known_elements));
        self.known_elements += if keep_known { elements } else { 0 };
        self.symbols.grow_to(typed.symbols);
        let node = self.nodes.next_id();
        self.topology.add(node);
        for (operand, value) in operands.iter().enumerate() {
            if let Some(value) = *value {
                self.topology.connect(self.values[value].producer, node, value, operand);
            }
        }
        let results = typed.types.into_iter().zip(typed.known).enumerate();
        let results = results
            .map(|(port, (ty, known))| {
                let known = known.filter(|_| keep_known);
                // Typing refuses operations with more results than fit.
                let port = u16::try_from(port).unwrap_or(u16::MAX);
                self.values.push(ValueData { producer: node, port, ty, name: None, known })
            })
            .collect();
        self.nodes.push(Some(NodeData { op, operands: operands.into(), results, loc }))
    }
}

/// Whether a weight node says of its weight what is so.
pub(super) fn check_weight(op: &Op, weights: &Weights) -> Result<(), AddError> {
    match op_weight(op) {
        Some(weight) if weights.ty(weight.id) != Some(&weight.ty) => Err(AddError::NoSuchWeight(weight.id)),
        _ => Ok(()),
    }
}
