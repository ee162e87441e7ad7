//! Reading a graph: nodes and values with their surroundings.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::{Graph, NodeData, NodeId, ValueData, ValueId};
use crate::loc::{Loc, Name};
use crate::ops::{Arity, Op, OpVariant};
use crate::tensor::Tensor;
use crate::types::{Encoded, Known, TensorType};
use crate::weights::WeightId;

/// A node and the graph it is in.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'g> {
    graph: &'g Graph,
    id: NodeId,
}

impl<'g> NodeRef<'g> {
    pub(super) fn new(graph: &'g Graph, id: NodeId) -> Self {
        Self { graph, id }
    }

    /// The node's id.
    pub fn id(self) -> NodeId {
        self.id
    }

    /// The graph.
    pub fn graph(self) -> &'g Graph {
        self.graph
    }

    /// What the node computes.
    pub fn op(self) -> &'g Op {
        &self.data().op
    }

    /// The node's operation as an `O`, when it is one.
    pub fn is<O: OpVariant>(self) -> Option<&'g O> {
        O::of(self.op())
    }

    /// The operands in order; `None` where an optional one is left out.
    pub fn operands(self) -> impl ExactSizeIterator<Item = Option<ValueRef<'g>>> {
        self.data().operands.iter().map(move |operand| operand.map(|value| ValueRef::new(self.graph, value)))
    }

    /// The operand that the operation declares as `name`; the first of a variadic one.
    pub fn operand(self, name: &str) -> Option<ValueRef<'g>> {
        let index = self.op().def().operands().iter().position(|operand| operand.name == name)?;
        let value = self.data().operands.get(index).copied().flatten()?;
        Some(ValueRef::new(self.graph, value))
    }

    /// The operands of the variadic tail, in order.
    pub fn tail(self) -> impl Iterator<Item = ValueRef<'g>> {
        let declared = self.op().def().operands();
        let variadic = declared.iter().position(|operand| operand.arity == Arity::Variadic);
        self.operands().skip(variadic.unwrap_or(usize::MAX)).flatten()
    }

    /// The results in order.
    pub fn results(self) -> impl ExactSizeIterator<Item = ValueRef<'g>> {
        self.data().results.iter().map(move |value| ValueRef::new(self.graph, *value))
    }

    /// The first result. Every operation has one.
    pub fn result(self) -> ValueRef<'g> {
        ValueRef::new(self.graph, self.data().results[0])
    }

    /// The encodings in which the results are stored, for [`Graph::add_stated`]; `None` for plain ones.
    pub fn stated(self) -> SmallVec<[Option<Encoded>; 1]> {
        self.results().map(|result| Encoded::of(result.ty())).collect()
    }

    /// Whether an operand or a result is quantized.
    pub fn touches_quantized(self) -> bool {
        self.operands().flatten().chain(self.results()).any(|value| value.ty().quant.is_some())
    }

    /// Where the node came from.
    pub fn loc(self) -> &'g Loc {
        &self.data().loc
    }

    fn data(self) -> &'g NodeData {
        self.graph.data(self.id)
    }
}

/// A value and the graph it is in.
#[derive(Clone, Copy, Debug)]
pub struct ValueRef<'g> {
    graph: &'g Graph,
    id: ValueId,
}

impl<'g> ValueRef<'g> {
    pub(super) fn new(graph: &'g Graph, id: ValueId) -> Self {
        Self { graph, id }
    }

    /// The value's id.
    pub fn id(self) -> ValueId {
        self.id
    }

    /// Its type.
    pub fn ty(self) -> &'g TensorType {
        &self.data().ty
    }

    /// Its name, where it has one. Names are unique in a graph.
    pub fn name(self) -> Option<&'g Name> {
        self.data().name.as_ref()
    }

    /// The node it is a result of.
    pub fn producer(self) -> NodeRef<'g> {
        NodeRef::new(self.graph, self.data().producer)
    }

    /// Which of the producer's results it is.
    pub fn port(self) -> usize {
        usize::from(self.data().port)
    }

    /// What is known of its elements.
    pub fn known(self) -> Option<&'g Known> {
        self.data().known.as_ref()
    }

    /// Its elements, when they are few and all numbers.
    pub fn constant(self) -> Option<&'g Tensor> {
        self.known()?.constant()
    }

    /// The weight it is, when its producer is one.
    pub fn weight(self) -> Option<WeightId> {
        self.producer().is::<crate::ops::Weight>().map(|weight| weight.id)
    }

    /// The nodes that read it and the number of the operand, in order. A node that reads it twice is there twice.
    pub fn readers(self) -> impl ExactSizeIterator<Item = (NodeRef<'g>, usize)> {
        let uses = self.graph.topology.uses(self.data().producer, self.id);
        let graph = self.graph;
        uses.into_iter().map(move |read| (NodeRef::new(graph, read.reader), read.operand))
    }

    /// Whether any node reads it.
    pub fn is_read(self) -> bool {
        self.graph.topology.is_read(self.data().producer, self.id, &BTreeSet::new())
    }

    /// The node that reads it, when it is read exactly once and is no output of the graph.
    pub fn only_reader(self) -> Option<NodeRef<'g>> {
        let only = self.graph.topology.only_use(self.data().producer, self.id)?;
        (!self.is_output()).then(|| NodeRef::new(self.graph, only.reader))
    }

    /// Whether it is an output of the graph.
    pub fn is_output(self) -> bool {
        self.graph.outputs.iter().any(|output| output.value == self.id)
    }

    fn data(self) -> &'g ValueData {
        &self.graph.values[self.id]
    }
}
