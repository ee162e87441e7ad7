//! One change as it is seen in the graph: the lines around it before and after.

use std::collections::BTreeSet;

use quad_ir::graph::{Edit, Graph, NodeId, NodeRef, ValueRef};
use quad_ir::ops::{OpVariant, Weight};
use quad_ir::text::print_nodes;

/// Readers of what is replaced that are shown.
const MAX_READERS: usize = 4;

/// The surroundings of one change, as lines of the text form. What is not changed is spelled as in the text of the whole
/// graph before, or after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// What goes away or is replaced, with some of its readers.
    pub before: Vec<String>,
    /// What came, with the same readers.
    pub after: Vec<String>,
}

/// Makes a witness: begun before a change, finished after it.
pub(crate) struct Watch {
    before: Vec<String>,
    readers: BTreeSet<NodeId>,
    n_added: usize,
}

impl Watch {
    /// Looks at `graph`, to which `edit` is about to happen.
    pub(crate) fn before(graph: &Graph, edit: &Edit) -> Self {
        let mut nodes: BTreeSet<NodeId> = edit.erased().collect();
        let mut readers = BTreeSet::new();
        for (old, _) in edit.replaced() {
            let value = graph.value(*old);
            nodes.insert(value.producer().id());
            readers.extend(value.readers().take(MAX_READERS).map(|(reader, _)| reader.id()));
        }
        readers.retain(|reader| !nodes.contains(reader));
        nodes.extend(&readers);
        Self { before: lines(graph, nodes), readers, n_added: edit.n_added() }
    }

    /// Looks at `graph`, to which the change has happened.
    pub(crate) fn after(self, graph: &Graph) -> Witness {
        let ids: Vec<NodeId> = graph.nodes().map(NodeRef::id).collect();
        // Ids are handed out in order, so the new nodes are the last ones.
        let added = ids[ids.len().saturating_sub(self.n_added)..].iter().copied();
        let nodes = added.chain(self.readers).collect();
        Witness { before: self.before, after: lines(graph, nodes) }
    }
}

/// The lines of `nodes`, and of the constants that they read. A weight that cannot be read leaves none.
fn lines(graph: &Graph, mut nodes: BTreeSet<NodeId>) -> Vec<String> {
    let operands = nodes.iter().flat_map(|node| graph.node(*node).operands().flatten());
    let constants = operands.map(ValueRef::producer).filter(|node| Weight::of(node.op()).is_some());
    let constants: Vec<NodeId> = constants.map(NodeRef::id).collect();
    nodes.extend(constants);
    print_nodes(graph, &nodes).unwrap_or_default()
}
