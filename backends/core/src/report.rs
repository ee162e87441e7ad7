//! What a check found: a line for each node, reasons, and the expected partitions.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeId, NodeRef};
use serde::Serialize;

use crate::legality::Legality;
use crate::partition::{is_source, partitions};

/// What a target takes of a graph. Inputs and constants are counted only where they are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The target.
    pub target: String,
    /// Whether everything is legal.
    pub legal: bool,
    /// Nodes that compute something.
    pub nodes: usize,
    /// How many of them are legal.
    pub legal_nodes: usize,
    /// The parts that the graph would be cut into.
    pub partitions: Vec<Partition>,
    /// How often each operation occurs, and how often it is legal.
    pub operations: BTreeMap<&'static str, Count>,
    /// The nodes that are not legal.
    pub illegal: Vec<IllegalNode>,
}

/// Nodes that run as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// How many there are.
    pub nodes: usize,
    /// The first of them.
    pub first: String,
}

/// How often an operation occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Nodes in all.
    pub nodes: usize,
    /// Legal ones.
    pub legal: usize,
}

/// A node that is not legal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IllegalNode {
    /// Its result, as the text form spells it.
    pub node: String,
    /// The operation.
    pub op: &'static str,
    /// The type of its result.
    pub ty: String,
    /// Where it came from.
    pub origin: String,
    /// Every reason.
    pub reasons: Vec<String>,
}

impl Report {
    /// The report of `verdicts` on `graph`. A node without a verdict is not legal.
    pub fn new(target: &str, graph: &Graph, verdicts: &BTreeMap<NodeId, Legality>) -> Self {
        let none = Legality::because("nothing is known of it");
        let verdict = |id: NodeId| verdicts.get(&id).unwrap_or(&none);
        let mut operations: BTreeMap<&'static str, Count> = BTreeMap::new();
        let mut illegal = Vec::new();
        for id in graph.topo() {
            let (node, verdict) = (graph.node(id), verdict(id));
            if !verdict.is_legal() {
                illegal.push(IllegalNode::of(node, verdict));
            }
            if !is_source(node) {
                let count = operations.entry(node.op().def().name()).or_default();
                count.nodes += 1;
                count.legal += usize::from(verdict.is_legal());
            }
        }
        let parts = partitions(graph, &|node| verdict(node.id()).is_legal());
        let part = |nodes: &Vec<NodeId>| Partition {
            nodes: nodes.len(),
            first: nodes.first().map_or_else(String::new, |id| spelled(graph.node(*id))),
        };
        Self {
            target: target.to_owned(),
            legal: illegal.is_empty(),
            nodes: operations.values().map(|count| count.nodes).sum(),
            legal_nodes: operations.values().map(|count| count.legal).sum(),
            partitions: parts.iter().map(part).collect(),
            operations,
            illegal,
        }
    }

    /// The reasons with the nodes that each concerns, most frequent first; reasons in alphabetical order where they are
    /// equally frequent.
    pub fn by_reason(&self) -> Vec<(String, Vec<&IllegalNode>)> {
        let mut nodes: BTreeMap<String, Vec<&IllegalNode>> = BTreeMap::new();
        for node in &self.illegal {
            for reason in &node.reasons {
                nodes.entry(format!("{}: {reason}", node.op)).or_default().push(node);
            }
        }
        let mut sorted: Vec<_> = nodes.into_iter().collect();
        sorted.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        sorted
    }
}

impl IllegalNode {
    fn of(node: NodeRef<'_>, verdict: &Legality) -> Self {
        Self {
            node: spelled(node),
            op: node.op().def().name(),
            ty: node.graph().symbols().show_type(node.result().ty()).to_string(),
            origin: node.loc().to_string(),
            reasons: verdict.reasons().iter().map(ToString::to_string).collect(),
        }
    }
}

/// The result of `node` by name, or the node's id where it has none.
fn spelled(node: NodeRef<'_>) -> String {
    node.result().name().map_or_else(|| node.id().to_string(), |name| format!("%{name}"))
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;
    use quad_ir::loc::Loc;
    use quad_ir::ops::source::Binding;
    use quad_ir::ops::{Exp, Neg};
    use quad_ir::types::TensorType;

    use super::*;

    #[test]
    fn nodes_are_counted_and_what_is_not_taken_is_told() {
        let mut graph = Graph::new("main");
        let ty = TensorType::known(DType::F32, &[2]);
        let mut value = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("an input");
        for _ in 0..3 {
            let negated = graph.add(Neg, &[Some(value)], Loc::Built).expect("typed");
            let power =
                graph.add(Exp, &[Some(graph.node(negated).result().id())], Loc::Built).expect("typed");
            value = graph.node(power).result().id();
        }
        let verdict = |node: NodeRef<'_>| match node.is::<Exp>() {
            Some(_) => Legality::because("it grows"),
            None => Legality::Legal,
        };
        let verdicts = graph.nodes().map(|node| (node.id(), verdict(node))).collect();
        let report = Report::new("slow", &graph, &verdicts);
        assert_eq!((report.nodes, report.legal_nodes, report.legal), (6, 3, false));
        assert_eq!(report.partitions.len(), 3);
        assert_eq!(report.operations["exp"], Count { nodes: 3, legal: 0 });
        let reasons = report.by_reason();
        assert_eq!((reasons.len(), &*reasons[0].0, reasons[0].1.len()), (1, "exp: it grows", 3));
    }
}
