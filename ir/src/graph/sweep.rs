//! What a change leaves unread goes with it.

use rustc_hash::FxHashSet;

use super::patch::Patch;
use super::{NodeId, ValueId};
use crate::ops::{Input, OpTraits, OpVariant};

impl Patch<'_> {
    /// Erases what nothing reads once the patch is applied: the producers of replaced values, and back from there and
    /// from what is already erased whatever only they read. Inputs stay, and so does what is read elsewhere.
    pub fn erase_unread(&mut self) {
        let staged = self.nodes.iter().flat_map(|node| node.operands.iter().flatten());
        let read: FxHashSet<ValueId> = staged.chain(self.replaced.values()).copied().collect();
        let replaced = self.replaced.keys().map(|old| self.graph.values[*old].producer);
        let mut waiting: Vec<NodeId> = replaced.collect();
        waiting.extend(self.erased.iter().flat_map(|node| self.producers(*node)));
        while let Some(node) = waiting.pop() {
            if !self.erased.contains(&node) && self.is_unread(node, &read) {
                self.erased.insert(node);
                waiting.extend(self.producers(node));
            }
        }
    }

    /// Erases every node of the graph that nothing reads, and what only such nodes read.
    pub fn erase_dead(&mut self) {
        let unread =
            |node: &super::NodeRef<'_>| node.results().all(|result| !result.is_read() && !result.is_output());
        let candidates = self.graph.nodes().filter(unread).map(super::NodeRef::id);
        let none = FxHashSet::default();
        let dead: Vec<NodeId> = candidates.filter(|node| self.is_unread(*node, &none)).collect();
        self.erased.extend(dead);
        self.erase_unread();
    }

    fn producers(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let operands = self.graph.nodes.get(node).and_then(Option::as_ref).map(|data| &data.operands);
        let values = operands.into_iter().flatten().flatten();
        values.map(|value| self.graph.values[*value].producer)
    }

    fn is_unread(&self, node: NodeId, read: &FxHashSet<ValueId>) -> bool {
        let view = self.graph.node(node);
        let stays = Input::of(view.op()).is_some() || !view.op().def().traits().contains(OpTraits::PURE);
        !stays
            && view.results().all(|result| {
                let value = result.id();
                // Whoever read a replaced value reads its replacement, and so does the output that it was.
                let gone = self.replaced.contains_key(&value)
                    || (!self.graph.topology.is_read(node, value, &self.erased) && !result.is_output());
                gone && !read.contains(&value)
            })
    }
}
