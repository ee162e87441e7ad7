//! Who reads whom: the only place that knows petgraph.
//!
//! petgraph gives reachability and a place for the uses of a node; it does not give operand order, several results or
//! stable identity. So operands live in the node, ids are our own, and no petgraph index leaves this file.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use rustc_hash::FxHashMap;

use super::{NodeId, ValueId};
use crate::entity::EntityMap;

/// One reading of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) reader: NodeId,
    pub(super) operand: usize,
    pub(super) value: ValueId,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    graph: StableDiGraph<NodeId, (ValueId, usize)>,
    index: EntityMap<NodeId, NodeIndex>,
}

impl Topology {
    /// Adds `node`, which must be the next id.
    pub(super) fn add(&mut self, node: NodeId) {
        let at = self.graph.add_node(node);
        let id = self.index.push(at);
        debug_assert_eq!(id, node, "nodes are added in the order of their ids");
    }

    pub(super) fn connect(&mut self, producer: NodeId, reader: NodeId, value: ValueId, operand: usize) {
        self.graph.add_edge(self.index[producer], self.index[reader], (value, operand));
    }

    pub(super) fn disconnect(&mut self, producer: NodeId, reader: NodeId, operand: usize) {
        let (from, to) = (self.index[producer], self.index[reader]);
        let edge = self.graph.edges_connecting(from, to).find(|edge| edge.weight().1 == operand);
        if let Some(edge) = edge.map(|edge| edge.id()) {
            self.graph.remove_edge(edge);
        }
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.graph.remove_node(self.index[node]);
    }

    /// The readings of `value`, by reader and operand.
    pub(super) fn uses(&self, producer: NodeId, value: ValueId) -> Vec<Use> {
        let edges = self.graph.edges_directed(self.index[producer], Direction::Outgoing);
        let of_value = edges.filter(|edge| edge.weight().0 == value);
        let mut uses: Vec<Use> = of_value
            .map(|edge| Use { reader: self.graph[edge.target()], operand: edge.weight().1, value })
            .collect();
        uses.sort_unstable();
        uses
    }

    /// Whether a node that is not in `erased` reads `value`. Stops at the first, however many there are.
    pub(super) fn is_read(&self, producer: NodeId, value: ValueId, erased: &BTreeSet<NodeId>) -> bool {
        let mut edges = self.graph.edges_directed(self.index[producer], Direction::Outgoing);
        edges.any(|edge| edge.weight().0 == value && !erased.contains(&self.graph[edge.target()]))
    }

    /// The only reading of `value`; `None` when there are none or several.
    pub(super) fn only_use(&self, producer: NodeId, value: ValueId) -> Option<Use> {
        let edges = self.graph.edges_directed(self.index[producer], Direction::Outgoing);
        let mut of_value = edges.filter(|edge| edge.weight().0 == value);
        let only = of_value.next()?;
        let reader = self.graph[only.target()];
        of_value.next().is_none().then_some(Use { reader, operand: only.weight().1, value })
    }

    /// How many readings of `node` there are.
    pub(super) fn n_operands(&self, node: NodeId) -> usize {
        self.graph.edges_directed(self.index[node], Direction::Incoming).count()
    }

    pub(super) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        petgraph::algo::has_path_connecting(&self.graph, self.index[from], self.index[to], None)
    }

    /// All nodes, producers before readers; among those that are ready the smallest id first. `None` if there is a
    /// cycle.
    pub(super) fn order(&self) -> Option<Vec<NodeId>> {
        let mut waiting: FxHashMap<NodeIndex, usize> = FxHashMap::default();
        let mut ready = BinaryHeap::new();
        for at in self.graph.node_indices() {
            match self.graph.edges_directed(at, Direction::Incoming).count() {
                0 => ready.push(Reverse((self.graph[at], at))),
                operands => {
                    waiting.insert(at, operands);
                }
            }
        }
        let mut order = Vec::with_capacity(self.graph.node_count());
        while let Some(Reverse((node, at))) = ready.pop() {
            order.push(node);
            for edge in self.graph.edges_directed(at, Direction::Outgoing) {
                let Some(left) = waiting.get_mut(&edge.target()) else { continue };
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse((self.graph[edge.target()], edge.target())));
                }
            }
        }
        (order.len() == self.graph.node_count()).then_some(order)
    }
}
