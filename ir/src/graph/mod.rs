//! A typed dataflow graph.
//!
//! Every value is produced by a node (inputs and weights are nodes too), every node is typed when it is added, and ids
//! are never handed out again. Two doors change a graph: building ([`Graph::add`], [`Graph::set_outputs`]) and
//! rewriting ([`Graph::apply`]).

mod build;
mod compact;
mod consistency;
mod cycle;
mod edit;
mod patch;
mod sweep;
mod topology;
mod typing;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use build::{AddError, Misplaced};
pub use compact::Renumbering;
pub use edit::{Edit, StaleEdit};
pub use patch::{Patch, PatchError};
pub(crate) use typing::weight_fact;
pub use typing::{Typed, type_node};
pub use view::{NodeRef, ValueRef};

use crate::entity::{EntityMap, entity};
use crate::loc::{Loc, Name};
use crate::ops::Op;
use crate::types::{Known, SymTable, TensorType};
use crate::weights::Weights;
use topology::Topology;

entity! {
    /// A node of a [`Graph`].
    pub struct NodeId("n");
    /// A result of a node.
    pub struct ValueId("v");
}

/// A typed dataflow graph.
#[derive(Clone, Debug)]
pub struct Graph {
    name: Name,
    topology: Topology,
    /// `None` once erased; the slot is not used again.
    nodes: EntityMap<NodeId, Option<NodeData>>,
    values: EntityMap<ValueId, ValueData>,
    names: FxHashMap<Name, ValueId>,
    /// The last number appended to a name that was taken.
    suffixes: FxHashMap<Name, u32>,
    inputs: Vec<NodeId>,
    outputs: Vec<Output>,
    symbols: SymTable,
    weights: Weights,
    metadata: BTreeMap<String, String>,
    /// Elements of all `known` together, which are limited.
    known_elements: usize,
    revision: Revision,
}

/// A result of the whole graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name by which callers know it.
    pub name: Name,
    /// The value.
    pub value: ValueId,
}

/// The state of a graph: two graphs of the same revision are equal. Every change makes a new one, which is how an edit
/// knows the graph that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Revision(u64);

#[derive(Clone, Debug)]
struct NodeData {
    op: Op,
    operands: SmallVec<[Option<ValueId>; 4]>,
    results: SmallVec<[ValueId; 1]>,
    loc: Loc,
}

#[derive(Clone, Debug)]
struct ValueData {
    producer: NodeId,
    /// Which result of the producer.
    port: u16,
    ty: TensorType,
    name: Option<Name>,
    known: Option<Known>,
}

impl Revision {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            topology: Topology::default(),
            nodes: EntityMap::new(),
            values: EntityMap::new(),
            names: FxHashMap::default(),
            suffixes: FxHashMap::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            symbols: SymTable::default(),
            weights: Weights::default(),
            metadata: BTreeMap::new(),
            known_elements: 0,
            revision: Revision::next(),
        }
    }

    /// The graph's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Gives the graph another name, as when it becomes one of several of a module.
    pub fn rename(&mut self, name: impl Into<Name>) {
        self.revision = Revision::next();
        self.name = name.into();
    }

    /// The node `node`.
    ///
    /// # Panics
    /// When it was erased or is of another graph.
    pub fn node(&self, node: NodeId) -> NodeRef<'_> {
        assert!(self.contains(node), "{node} is not in graph @{}", self.name);
        NodeRef::new(self, node)
    }

    /// The value `value`.
    ///
    /// # Panics
    /// When it is of another graph.
    pub fn value(&self, value: ValueId) -> ValueRef<'_> {
        assert!(self.values.get(value).is_some(), "{value} is not in graph @{}", self.name);
        ValueRef::new(self, value)
    }

    /// Whether `node` is there and not erased.
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_some_and(Option::is_some)
    }

    /// Whether the results of `node` are values, so that it can be printed even if the graph is broken.
    pub(crate) fn is_printable(&self, node: NodeId) -> bool {
        let known = |value: &ValueId| self.values.get(*value).is_some();
        self.nodes.get(node).and_then(Option::as_ref).is_some_and(|data| data.results.iter().all(known))
    }

    /// How many values there are or were: one more than the largest number of an id.
    pub(crate) fn n_values(&self) -> usize {
        self.values.len()
    }

    /// All nodes in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.nodes.iter().filter(|(_, data)| data.is_some()).map(|(node, _)| NodeRef::new(self, node))
    }

    /// All nodes, producers before readers; among those that are ready the smallest id first.
    ///
    /// # Panics
    /// When there is a cycle, which neither door lets in.
    pub fn topo(&self) -> Vec<NodeId> {
        self.topology.order().expect("a graph has no cycle: operands exist before their readers")
    }

    /// Whether `to` depends on `from`. A node depends on itself.
    pub fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        self.topology.reaches(from, to)
    }

    /// The inputs in order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = ValueRef<'_>> {
        self.inputs.iter().map(|node| NodeRef::new(self, *node).result())
    }

    /// The outputs in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The value called `name`.
    pub fn find(&self, name: &str) -> Option<ValueRef<'_>> {
        self.names.get(name).map(|value| ValueRef::new(self, *value))
    }

    /// The names of symbolic sizes.
    pub fn symbols(&self) -> &SymTable {
        &self.symbols
    }

    /// The names of symbolic sizes, to add some before building values that have them.
    pub fn symbols_mut(&mut self) -> &mut SymTable {
        self.revision = Revision::next();
        &mut self.symbols
    }

    /// The constants.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The constants, to add some before building nodes that read them.
    pub fn weights_mut(&mut self) -> &mut Weights {
        self.revision = Revision::next();
        &mut self.weights
    }

    /// What the graph's source says of itself: producer, versions. Carried along, without meaning here.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// As [`metadata`](Self::metadata), to change it.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    fn data(&self, node: NodeId) -> &NodeData {
        self.nodes[node].as_ref().expect("views are made for nodes that exist")
    }
}
