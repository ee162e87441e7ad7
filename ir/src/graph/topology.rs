//! Who reads whom: the only place that keeps it.
//!
//! petgraph answers what is a question about graphs as such, and no index of it leaves this file. It does not hold the
//! uses: its edges are linked lists, so that taking one reader of a constant away walks over all the others, and
//! rewriting a graph in which thousands of nodes share a constant would take time with the square of their number. Uses
//! are ordered sets instead, which give them in order, too.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::RangeInclusive;

use petgraph::graphmap::DiGraphMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use super::{NodeId, ValueId};
use crate::entity::EntityMap;

/// One reading of a value. Ordered by value, then by reader and operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) value: ValueId,
    pub(super) reader: NodeId,
    pub(super) operand: usize,
}

/// What one node reads, and who reads it.
#[derive(Clone, Debug, Default)]
struct Links {
    /// Where each operand comes from, with its number.
    operands: SmallVec<[(usize, NodeId, ValueId); 4]>,
    /// The readings of all its results.
    uses: BTreeSet<Use>,
    removed: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    nodes: EntityMap<NodeId, Links>,
}

impl Topology {
    /// Adds `node`, which must be the next id.
    pub(super) fn add(&mut self, node: NodeId) {
        let id = self.nodes.push(Links::default());
        debug_assert_eq!(id, node, "nodes are added in the order of their ids");
    }

    pub(super) fn connect(&mut self, producer: NodeId, reader: NodeId, value: ValueId, operand: usize) {
        self.nodes[producer].uses.insert(Use { value, reader, operand });
        self.nodes[reader].operands.push((operand, producer, value));
    }

    pub(super) fn disconnect(&mut self, producer: NodeId, reader: NodeId, operand: usize) {
        let operands = &mut self.nodes[reader].operands;
        let is_edge = |edge: &(usize, NodeId, ValueId)| (edge.0, edge.1) == (operand, producer);
        if let Some(at) = operands.iter().position(is_edge) {
            let (_, _, value) = operands.swap_remove(at);
            self.nodes[producer].uses.remove(&Use { value, reader, operand });
        }
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        let links = std::mem::replace(&mut self.nodes[node], Links { removed: true, ..Links::default() });
        for (operand, producer, value) in links.operands {
            self.nodes[producer].uses.remove(&Use { value, reader: node, operand });
        }
        for read in links.uses {
            self.nodes[read.reader].operands.retain(|(_, producer, _)| *producer != node);
        }
    }

    /// The readings of `value`, by reader and operand.
    pub(super) fn uses(&self, producer: NodeId, value: ValueId) -> Vec<Use> {
        self.uses_of(producer, value).copied().collect()
    }

    /// Whether a node that is not in `erased` reads `value`. Stops at the first, however many there are.
    pub(super) fn is_read(&self, producer: NodeId, value: ValueId, erased: &BTreeSet<NodeId>) -> bool {
        self.uses_of(producer, value).any(|read| !erased.contains(&read.reader))
    }

    /// The only reading of `value`; `None` when there are none or several.
    pub(super) fn only_use(&self, producer: NodeId, value: ValueId) -> Option<Use> {
        let mut uses = self.uses_of(producer, value);
        let only = *uses.next()?;
        uses.next().is_none().then_some(only)
    }

    /// How many readings of `node` there are.
    pub(super) fn n_operands(&self, node: NodeId) -> usize {
        self.nodes[node].operands.len()
    }

    pub(super) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let edges = self
            .nodes
            .iter()
            .flat_map(|(producer, links)| links.uses.iter().map(move |read| (producer, read.reader)));
        let graph: DiGraphMap<NodeId, (), FxBuildHasher> = edges.collect();
        from == to
            || (graph.contains_node(from)
                && graph.contains_node(to)
                && petgraph::algo::has_path_connecting(&graph, from, to, None))
    }

    /// All nodes, producers before readers; among those that are ready the smallest id first. `None` if there is a
    /// cycle.
    pub(super) fn order(&self) -> Option<Vec<NodeId>> {
        let mut waiting: FxHashMap<NodeId, usize> = FxHashMap::default();
        let mut ready = BinaryHeap::new();
        let mut count = 0;
        for (node, links) in self.nodes.iter().filter(|(_, links)| !links.removed) {
            count += 1;
            if links.operands.is_empty() {
                ready.push(Reverse(node));
            } else {
                waiting.insert(node, links.operands.len());
            }
        }
        let mut order = Vec::with_capacity(count);
        while let Some(Reverse(node)) = ready.pop() {
            order.push(node);
            for read in &self.nodes[node].uses {
                let Some(left) = waiting.get_mut(&read.reader) else { continue };
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(read.reader));
                }
            }
        }
        (order.len() == count).then_some(order)
    }

    fn uses_of(&self, producer: NodeId, value: ValueId) -> impl Iterator<Item = &Use> {
        self.nodes[producer].uses.range(all_of(value))
    }
}

/// Every reading of `value`.
fn all_of(value: ValueId) -> RangeInclusive<Use> {
    use crate::entity::Entity;
    let (first, last) = (NodeId::from_index(0), NodeId::from_index(u32::MAX as usize - 1));
    Use { value, reader: first, operand: 0 }..=Use { value, reader: last, operand: usize::MAX }
}
