//! Rewriting: a change of a graph that is put together, checked as a whole, and only then made.
//!
//! A [`Patch`] looks at a graph without changing it. New nodes are typed as they are added, by the rule that building
//! uses, and have the ids that they will have in the graph. [`Patch::finish`] checks what only the whole change shows:
//! that nothing still reads what goes away, and that there is no cycle. [`Graph::apply`] then cannot fail half way.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::build::check_weight;
use super::edit::Edit;
use super::typing::{MAX_KNOWN_TOTAL, Typed, trim_absent, type_node};
use super::{AddError, Graph, NodeData, NodeId, NodeRef, ValueData, ValueId};
use crate::entity::Entity;
use crate::loc::{Loc, Name};
use crate::ops::source::Binding;
use crate::ops::{Fact, Input, Op, OpVariant, Weight};
use crate::tensor::Tensor;
use crate::types::{Encoded, Known, SymId, SymTable, TensorType};
use crate::weights::{WeightId, Weights};

/// A change of a graph that is being put together.
///
/// Replacing a value redirects the nodes that read it when the patch was begun, and the graph's outputs. New nodes may
/// read the replaced value: that is how something is put behind it.
#[derive(Debug)]
pub struct Patch<'g> {
    pub(super) graph: &'g Graph,
    pub(super) rule: &'static str,
    pub(super) nodes: Vec<NodeData>,
    pub(super) values: Vec<ValueData>,
    pub(super) inputs: Vec<NodeId>,
    pub(super) names: Vec<(ValueId, Name)>,
    pub(super) weights: Cow<'g, Weights>,
    pub(super) symbols: Cow<'g, SymTable>,
    pub(super) replaced: BTreeMap<ValueId, ValueId>,
    /// Those of `replaced` whose replacement is stored otherwise.
    pub(super) restored: Vec<ValueId>,
    /// The values of `replaced`.
    replacements: FxHashSet<ValueId>,
    pub(super) erased: BTreeSet<NodeId>,
    pub(super) known_elements: usize,
    /// The node for whose sake nodes are being added, where that is said.
    origin: Option<NodeId>,
}

/// A patch is not a change that can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A value is neither of the graph nor of the patch.
    #[error("rule `{rule}`: {value} is not in the graph")]
    NoSuchValue {
        /// The rule.
        rule: &'static str,
        /// The value.
        value: ValueId,
    },
    /// A node that was to be erased is not there.
    #[error("rule `{rule}`: {node} is not in the graph, so it cannot be erased")]
    NoSuchNode {
        /// The rule.
        rule: &'static str,
        /// The node.
        node: NodeId,
    },
    /// The replacement is of another type and does not refine the old one.
    #[error("rule `{rule}`: {old} has type {expected}, its replacement {new} has type {found}")]
    Type {
        /// The rule.
        rule: &'static str,
        /// The value that was to be replaced.
        old: String,
        /// Its type.
        expected: String,
        /// What was to replace it.
        new: String,
        /// The type of that.
        found: String,
    },
    /// A value is replaced twice, or stands for another one and is itself replaced.
    #[error(
        "rule `{rule}`: {value} is replaced and also takes part in another replacement of the same patch"
    )]
    ReplacedTwice {
        /// The rule.
        rule: &'static str,
        /// The value.
        value: String,
    },
    /// A value of an erased node is still read.
    #[error("rule `{rule}`: {value} goes away but is still read by {reader}")]
    StillRead {
        /// The rule.
        rule: &'static str,
        /// The value.
        value: String,
        /// Who reads it.
        reader: String,
    },
    /// A node would depend on itself.
    #[error("rule `{rule}`: {node} would depend on its own result")]
    Cycle {
        /// The rule.
        rule: &'static str,
        /// A node of the cycle.
        node: String,
    },
}

impl<'g> Patch<'g> {
    /// An empty patch of `graph`, made by `rule`, which its nodes name as their origin.
    pub fn new(graph: &'g Graph, rule: &'static str) -> Self {
        Self {
            graph,
            rule,
            nodes: Vec::new(),
            values: Vec::new(),
            inputs: Vec::new(),
            names: Vec::new(),
            weights: Cow::Borrowed(&graph.weights),
            symbols: Cow::Borrowed(&graph.symbols),
            replaced: BTreeMap::new(),
            restored: Vec::new(),
            replacements: FxHashSet::default(),
            erased: BTreeSet::new(),
            known_elements: graph.known_elements,
            origin: None,
        }
    }

    /// The graph as it was when the patch was begun.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Whether the patch changes nothing yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.replaced.is_empty() && self.erased.is_empty()
    }

    /// Adds a node, with result types from the operation's type rule. Operands are values of the graph or of the patch.
    pub fn add(&mut self, op: impl Into<Op>, operands: &[Option<ValueId>]) -> Result<NodeId, AddError> {
        self.add_stated(op, operands, &[])
    }

    /// As [`add`](Self::add), with the encodings in which results are stored: see [`Graph::add_stated`].
    pub fn add_stated(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        stated: &[Option<Encoded>],
    ) -> Result<NodeId, AddError> {
        let op = op.into();
        let operands = trim_absent(&op, operands);
        let loc = || Box::new(Loc::rewritten(self.rule, []));
        check_weight(&op, &self.weights)?;
        if let Some(value) = operands.iter().flatten().find(|value| self.data(**value).is_none()) {
            return Err(AddError::NoSuchValue { op: op.def().name(), loc: loc(), value: *value });
        }
        let fact = |value: ValueId| {
            let data = self.data(value)?;
            Some(Fact { ty: data.ty.clone(), known: data.known.clone() })
        };
        let facts: Vec<Option<Fact>> = operands.iter().map(|value| value.and_then(fact)).collect();
        match type_node(&op, &facts, stated, &self.weights, self.symbols.len()) {
            Ok(typed) => Ok(self.stage(op, operands.into(), typed)),
            Err(error) => Err(AddError::Infer { op: op.def().name(), loc: loc(), error }),
        }
    }

    /// Says that the nodes added from now on come from `node` of the graph. Nodes added before it is said come from all
    /// that the patch replaces and erases: right for a local rewrite, too vague for a change of a whole graph.
    pub fn on_behalf_of(&mut self, node: NodeId) {
        self.origin = self.graph.contains(node).then_some(node);
    }

    /// Adds an operation with a single result and returns that.
    pub fn add_value(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, AddError> {
        let operands: SmallVec<[Option<ValueId>; 4]> = operands.iter().copied().map(Some).collect();
        let node = self.add(op, &operands)?;
        Ok(self.results(node)[0])
    }

    /// As [`add_value`](Self::add_value), with the encoding in which the result is stored.
    pub fn add_value_stated(
        &mut self,
        op: impl Into<Op>,
        operands: &[ValueId],
        stated: Encoded,
    ) -> Result<ValueId, AddError> {
        let operands: SmallVec<[Option<ValueId>; 4]> = operands.iter().copied().map(Some).collect();
        let node = self.add_stated(op, &operands, &[Some(stated)])?;
        Ok(self.results(node)[0])
    }

    /// Adds a node that computes what `node` of the graph does, on other operands, with results stored as its are.
    pub fn add_like(&mut self, node: NodeRef<'_>, operands: &[Option<ValueId>]) -> Result<NodeId, AddError> {
        self.add_stated(node.op().clone(), operands, &node.stated())
    }

    /// Adds an input after the graph's others.
    pub fn add_input(&mut self, name: &str, ty: TensorType, binding: Binding) -> Result<ValueId, AddError> {
        let node = self.add(Input { ty, binding }, &[])?;
        self.inputs.push(node);
        let value = self.results(node)[0];
        self.set_name(value, name);
        Ok(value)
    }

    /// Adds a node for the weight `id`.
    pub fn add_weight(&mut self, id: WeightId) -> Result<ValueId, AddError> {
        let ty = self.weights.ty(id).cloned().ok_or(AddError::NoSuchWeight(id))?;
        self.add_value(Weight { id, ty }, &[])
    }

    /// Adds a weight that holds `tensor`, and a node for it.
    pub fn add_constant(&mut self, tensor: &Tensor) -> Result<ValueId, AddError> {
        let id = self.weights.to_mut().add_tensor(tensor)?;
        self.add_weight(id)
    }

    /// Adds what [`Weights::derive`] makes of `operands`, and a node for it. Operands are weights, or values whose
    /// elements are known.
    pub fn add_recipe(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
    ) -> Result<ValueId, AddError> {
        let op = op.into();
        let operands = trim_absent(&op, operands).iter();
        let from = operands.map(|value| value.map(|value| self.as_weight(&op, value)).transpose());
        let from: Vec<Option<WeightId>> = from.collect::<Result<_, _>>()?;
        let id = self.weights.to_mut().derive(op, &from)?;
        self.add_weight(id)
    }

    /// The weight that a value of the graph or of the patch is.
    pub fn weight(&self, value: ValueId) -> Option<WeightId> {
        let producer = self.node(self.data(value)?.producer)?;
        Weight::of(&producer.op).map(|weight| weight.id)
    }

    /// The constants of the graph and of the patch.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The constants, to add some: a recipe over others, or a range of a file.
    pub fn weights_mut(&mut self) -> &mut Weights {
        self.weights.to_mut()
    }

    /// The symbol called `name`, made if there is none.
    pub fn symbol(&mut self, name: &str) -> SymId {
        self.symbols.to_mut().named(name)
    }

    /// Gives a value of the patch, or one of the graph, a name. A number is appended when another value has it.
    pub fn set_name(&mut self, value: ValueId, name: &str) {
        self.names.push((value, name.into()));
    }

    /// Says where a node of the patch came from. Without it, that is the rule and what the patch replaces.
    pub fn set_loc(&mut self, node: NodeId, loc: Loc) {
        let index = node.index().checked_sub(self.graph.nodes.len());
        if let Some(data) = index.and_then(|index| self.nodes.get_mut(index)) {
            data.loc = loc;
        }
    }

    /// The results of a node of the graph or of the patch; none for any other.
    pub fn results(&self, node: NodeId) -> &[ValueId] {
        self.node(node).map_or(&[], |data| &data.results)
    }

    /// The type of a value of the graph or of the patch.
    pub fn ty(&self, value: ValueId) -> Option<&TensorType> {
        self.data(value).map(|data| &data.ty)
    }

    /// What is known of the elements of a value of the graph or of the patch.
    pub fn known(&self, value: ValueId) -> Option<&Known> {
        self.data(value)?.known.as_ref()
    }

    /// Makes the readers of `old` read `new` instead, and outputs too. The type of `new` must equal or refine that of
    /// `old`. The name of `old` moves to `new`, unless that has one, or `old` is an input, which callers know by name.
    pub fn replace(&mut self, old: ValueId, new: ValueId) -> Result<(), PatchError> {
        let rule = self.rule;
        if !self.graph.has_value(old) {
            return Err(PatchError::NoSuchValue { rule, value: old });
        }
        let expected = self.graph.values[old].ty.clone();
        let found = self.ty(new).ok_or(PatchError::NoSuchValue { rule, value: new })?.clone();
        self.replace_typed(old, new, &expected, &found)
    }

    /// Replaces `old`, of type `expected`, by `new`, of type `found`.
    fn replace_typed(
        &mut self,
        old: ValueId,
        new: ValueId,
        expected: &TensorType,
        found: &TensorType,
    ) -> Result<(), PatchError> {
        let rule = self.rule;
        if !found.refines(expected, &self.symbols) {
            let (old, new) = (self.describe(old), self.describe(new));
            let show = |ty: &TensorType| self.symbols.show_type(ty).to_string();
            return Err(PatchError::Type { rule, old, expected: show(expected), new, found: show(found) });
        }
        // Which of two replacements comes first must not matter, so there may be no chain of them.
        let chained = [old, new].into_iter().find(|value| self.replaced.contains_key(value));
        if let Some(value) = chained.or((old == new || self.replacements.contains(&old)).then_some(old)) {
            return Err(PatchError::ReplacedTwice { rule, value: self.describe(value) });
        }
        self.replaced.insert(old, new);
        self.replacements.insert(new);
        Ok(())
    }

    /// Makes outputs that are `old` be `new`, which has the same elements and another encoding, or has one where `old` has
    /// none. No node that stays may read `old`: it would take stored elements for others.
    pub fn replace_stored(&mut self, old: ValueId, new: ValueId) -> Result<(), PatchError> {
        let rule = self.rule;
        if !self.graph.has_value(old) {
            return Err(PatchError::NoSuchValue { rule, value: old });
        }
        let plain = |ty: &TensorType| TensorType { quant: None, ..ty.clone() };
        let expected = plain(&self.graph.values[old].ty);
        let found = plain(self.ty(new).ok_or(PatchError::NoSuchValue { rule, value: new })?);
        self.replace_typed(old, new, &expected, &found)?;
        self.restored.push(old);
        Ok(())
    }

    /// Erases a node of the graph. Nothing may read it any more when the patch is finished. An erased input is no
    /// longer an input of the graph.
    pub fn erase(&mut self, node: NodeId) -> Result<(), PatchError> {
        if !self.graph.contains(node) {
            return Err(PatchError::NoSuchNode { rule: self.rule, node });
        }
        self.erased.insert(node);
        Ok(())
    }

    /// Checks the change as a whole.
    pub fn finish(self) -> Result<Edit, PatchError> {
        Edit::check(self)
    }

    /// `value` as an operand of a recipe of `op`.
    fn as_weight(&mut self, op: &Op, value: ValueId) -> Result<WeightId, AddError> {
        if let Some(weight) = self.weight(value) {
            return Ok(weight);
        }
        if let Some(Known::Constant(tensor)) = self.known(value).cloned() {
            return Ok(self.weights.to_mut().add_tensor(&tensor)?);
        }
        let loc = Box::new(Loc::rewritten(self.rule, []));
        Err(AddError::NotConstant { op: op.def().name(), loc, value })
    }

    /// How messages name a value.
    pub(super) fn describe(&self, value: ValueId) -> String {
        match self.data(value).and_then(|data| data.name.as_ref()) {
            Some(name) => format!("%{name}"),
            None => value.to_string(),
        }
    }

    /// A value that an operand may be.
    pub(super) fn data(&self, value: ValueId) -> Option<&ValueData> {
        match value.index().checked_sub(self.graph.values.len()) {
            Some(index) => self.values.get(index),
            None => self.graph.values.get(value).filter(|data| self.graph.contains(data.producer)),
        }
    }

    pub(super) fn node(&self, node: NodeId) -> Option<&NodeData> {
        match node.index().checked_sub(self.graph.nodes.len()) {
            Some(index) => self.nodes.get(index),
            None => self.graph.nodes.get(node)?.as_ref(),
        }
    }

    fn stage(&mut self, op: Op, operands: SmallVec<[Option<ValueId>; 4]>, typed: Typed) -> NodeId {
        if typed.symbols > self.symbols.len() {
            self.symbols.to_mut().grow_to(typed.symbols);
        }
        let elements = typed.known_elements();
        let keep_known = typed.keeps_known(MAX_KNOWN_TOTAL.saturating_sub(self.known_elements));
        self.known_elements += if keep_known { elements } else { 0 };
        let node = NodeId::from_index(self.graph.nodes.len() + self.nodes.len());
        let mut results = SmallVec::new();
        for (port, (ty, known)) in typed.types.into_iter().zip(typed.known).enumerate() {
            results.push(ValueId::from_index(self.graph.values.len() + self.values.len()));
            // Typing refuses operations with more results than fit.
            let port = u16::try_from(port).unwrap_or(u16::MAX);
            let known = known.filter(|_| keep_known);
            self.values.push(ValueData { producer: node, port, ty, name: None, known });
        }
        // What is not said here is known when the patch is finished.
        let loc = match self.origin {
            Some(origin) => Loc::rewritten(self.rule, [&self.graph.data(origin).loc]),
            None => Loc::Built,
        };
        self.nodes.push(NodeData { op, operands, results, loc });
        node
    }
}
