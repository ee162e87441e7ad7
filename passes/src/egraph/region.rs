//! Regions: the parts of a graph that are looked at as one e-graph.
//!
//! Nodes that are pure, have one result and no quantized values are taken in topological order, so many at a time; all
//! others, inputs and weights are borders. What is known in full when the graph is built, such as the shape that a
//! reshape reads, is a border, too, with its elements. Regions are of limited size, so the work for a node does not depend
//! on how large its graph is. A second sweep over the graph begins with half a region, so that what meets at a border of
//! the first is inside of one.

use egg::Id;
use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::ops::OpTraits;
use rustc_hash::{FxHashMap, FxHashSet};

use super::analysis::{EGraph, Typing};
use super::language::{Children, ENode};

/// Nodes of a region.
pub const REGION: usize = 128;

/// The nodes of `graph` that may be rewritten, in groups of [`REGION`]; the first has `first` nodes, when that is not 0.
pub fn partition(graph: &Graph, first: usize) -> Vec<Vec<NodeId>> {
    let inside: Vec<NodeId> = graph.topo().into_iter().filter(|node| is_inside(graph.node(*node))).collect();
    let (head, tail) = inside.split_at(first.min(inside.len()));
    let groups = std::iter::once(head).chain(tail.chunks(REGION));
    groups.filter(|group| !group.is_empty()).map(<[NodeId]>::to_vec).collect()
}

fn is_inside(node: NodeRef<'_>) -> bool {
    let plain = |value: ValueRef<'_>| value.ty().quant.is_none();
    node.op().def().traits().contains(OpTraits::PURE)
        && node.operands().len() > 0
        && node.results().len() == 1
        && node.results().chain(node.operands().flatten()).all(plain)
        && node.result().constant().is_none()
}

/// A region as an e-graph.
#[derive(Debug)]
pub struct Region<'g> {
    /// The graph that it is of.
    pub graph: &'g Graph,
    /// What is equal to what.
    pub egraph: EGraph<'g>,
    /// The nodes that were taken in, in topological order.
    pub nodes: Vec<NodeId>,
    /// The class of each value that is a result or an operand of those.
    classes: FxHashMap<ValueId, Id>,
}

impl<'g> Region<'g> {
    /// The nodes `nodes` of `graph`, which are in topological order.
    pub fn new(graph: &'g Graph, nodes: Vec<NodeId>) -> Self {
        let mut region =
            Self { graph, egraph: EGraph::new(Typing::new(graph)), nodes, classes: FxHashMap::default() };
        for node in region.nodes.clone() {
            region.take_in(graph.node(node));
        }
        // Nothing can be said of nodes that a type rule types differently now; they are borders.
        region.egraph.analysis.take_fault();
        region.egraph.rebuild();
        region
    }

    /// The class of `value`.
    ///
    /// # Panics
    /// When it is neither a result nor an operand of a node of the region.
    pub fn class(&self, value: ValueId) -> Id {
        self.egraph.find(self.classes[&value])
    }

    /// The node of the e-graph that stands for `node`, as it is now; `None` for a border.
    pub fn enode(&self, node: NodeRef<'_>) -> Option<ENode> {
        let children: Children = node.operands().map(|operand| self.child(operand)).collect::<Option<_>>()?;
        Some(ENode::Apply { op: node.op().clone(), children })
    }

    /// The results of the region that something outside of it needs.
    pub fn roots(&self) -> Vec<ValueId> {
        let inside: FxHashSet<NodeId> = self.nodes.iter().copied().collect();
        let results = self.nodes.iter().map(|node| self.graph.node(*node).result());
        let needed = |value: &ValueRef<'_>| {
            value.is_output() || value.readers().any(|(reader, _)| !inside.contains(&reader.id()))
        };
        results.filter(needed).map(ValueRef::id).collect()
    }

    fn child(&self, operand: Option<ValueRef<'_>>) -> Option<Id> {
        match operand {
            Some(value) => self.classes.get(&value.id()).map(|class| self.egraph.find(*class)),
            None => self.egraph.lookup(ENode::Absent),
        }
    }

    fn take_in(&mut self, node: NodeRef<'g>) {
        for operand in node.operands() {
            match operand.map(ValueRef::id) {
                Some(value) if self.classes.contains_key(&value) => {}
                Some(value) => {
                    let class = self.egraph.add(ENode::Outside(value));
                    self.classes.insert(value, class);
                }
                None => {
                    self.egraph.add(ENode::Absent);
                }
            }
        }
        let result = node.result();
        let typed = self.enode(node).map(|enode| self.egraph.add(enode));
        let typed = typed.filter(|class| self.egraph[*class].data.ty() == Some(result.ty()));
        let class = typed.unwrap_or_else(|| self.egraph.add(ENode::Outside(result.id())));
        self.classes.insert(result.id(), class);
    }
}
