//! The parts that a compiler for an accelerator would cut a graph into.
//!
//! A part is a set of legal nodes that can run as one: no path leaves it through a node that is not legal and comes back.
//! Every node gets a level, which rises where a path goes from legal to not legal or back; legal nodes of one level that
//! are connected are a part. Inputs and constants are in no part.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeId, NodeRef};
use quad_ir::ops::{Input, Weight};

/// Sets of nodes that run as one, in the order of their first nodes; nodes in topological order.
pub fn partitions(graph: &Graph, is_legal: &dyn Fn(NodeRef<'_>) -> bool) -> Vec<Vec<NodeId>> {
    let order: Vec<NodeId> = graph.topo().into_iter().filter(|id| !is_source(graph.node(*id))).collect();
    let mut places: BTreeMap<NodeId, Place> = BTreeMap::new();
    let mut parts = Parts::default();
    for id in order.iter().copied() {
        let node = graph.node(id);
        let legal = is_legal(node);
        let producers = || node.operands().flatten().map(|operand| operand.producer().id());
        let behind = |place: &Place| place.level + usize::from(place.is_legal != legal);
        let level = producers().filter_map(|id| places.get(&id)).map(behind).max().unwrap_or(0);
        let part = legal.then(|| parts.make());
        let near = producers().filter_map(|id| places.get(&id)).filter(|place| place.level == level);
        for neighbor in near.filter_map(|place| place.part).collect::<Vec<usize>>() {
            if let Some(part) = part {
                parts.join(part, neighbor);
            }
        }
        places.insert(id, Place { level, is_legal: legal, part });
    }
    let mut found: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    let mut first: Vec<usize> = Vec::new();
    for id in order {
        let Some(part) = places[&id].part.map(|part| parts.root(part)) else { continue };
        let nodes = found.entry(part).or_default();
        if nodes.is_empty() {
            first.push(part);
        }
        nodes.push(id);
    }
    first.into_iter().filter_map(|part| found.remove(&part)).collect()
}

/// Whether `node` computes nothing: an input or a constant.
pub fn is_source(node: NodeRef<'_>) -> bool {
    node.is::<Input>().is_some() || node.is::<Weight>().is_some()
}

#[derive(Debug)]
struct Place {
    level: usize,
    is_legal: bool,
    part: Option<usize>,
}

/// Sets that are joined: each number points to another of its set, or to itself.
#[derive(Debug, Default)]
struct Parts(Vec<usize>);

impl Parts {
    fn make(&mut self) -> usize {
        self.0.push(self.0.len());
        self.0.len() - 1
    }

    fn root(&mut self, mut part: usize) -> usize {
        while self.0[part] != part {
            self.0[part] = self.0[self.0[part]];
            part = self.0[part];
        }
        part
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;
    use quad_ir::graph::ValueId;
    use quad_ir::loc::Loc;
    use quad_ir::ops::source::Binding;
    use quad_ir::ops::{Add, Exp, Neg, Op};
    use quad_ir::types::TensorType;

    use super::*;

    fn add(graph: &mut Graph, op: impl Into<Op>, operands: &[ValueId]) -> ValueId {
        let operands: Vec<Option<ValueId>> = operands.iter().copied().map(Some).collect();
        let node = graph.add(op, &operands, Loc::Built).expect("typed");
        graph.node(node).result().id()
    }

    fn input(graph: &mut Graph) -> ValueId {
        graph.add_input("x", TensorType::known(DType::F32, &[2]), Binding::Run, Loc::Built).expect("an input")
    }

    fn sizes(graph: &Graph) -> Vec<usize> {
        partitions(graph, &|node| node.is::<Exp>().is_none()).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_graph_of_legal_nodes_is_one_part() {
        let mut graph = Graph::new("main");
        let x = input(&mut graph);
        let a = add(&mut graph, Neg, &[x]);
        let b = add(&mut graph, Neg, &[x]);
        assert_eq!(sizes(&graph), [1, 1]);
        add(&mut graph, Add, &[a, b]);
        assert_eq!(sizes(&graph), [3]);
    }

    #[test]
    fn what_goes_around_a_part_divides_it() {
        // neg -> exp -> add, and neg -> add beside it: the two legal ends cannot run as one.
        let mut graph = Graph::new("main");
        let x = input(&mut graph);
        let before = add(&mut graph, Neg, &[x]);
        let illegal = add(&mut graph, Exp, &[before]);
        let after = add(&mut graph, Add, &[before, illegal]);
        assert_eq!(sizes(&graph), [1, 1]);
        add(&mut graph, Neg, &[after]);
        assert_eq!(sizes(&graph), [1, 2]);
    }
}
