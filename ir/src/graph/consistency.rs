//! The part of verification that looks behind the views: whether the tables of a graph agree with each other.

use rustc_hash::FxHashSet;

use super::typing::type_node;
use super::{Graph, NodeData, NodeId, ValueId};
use crate::ops::{Fact, InferError, Input, OpVariant, Types};
use crate::verify::{Finding, VerifyErrorKind};

impl Graph {
    /// All disagreements of the tables, by node.
    pub(crate) fn inconsistencies(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for (node, data) in self.nodes.iter() {
            if let Some(data) = data {
                self.check_results(node, data, &mut found);
                self.check_operands(node, data, &mut found);
                self.check_weight(node, data, &mut found);
            }
        }
        self.check_inputs(&mut found);
        self.check_outputs(&mut found);
        self.check_names(&mut found);
        if found.is_empty() && self.topology.order().is_none() {
            found.push(Finding::graph(VerifyErrorKind::Cycle));
        }
        found
    }

    /// The nodes, producers first where there is no cycle.
    pub(crate) fn any_order(&self) -> Vec<NodeId> {
        self.topology.order().unwrap_or_else(|| self.nodes().map(super::NodeRef::id).collect())
    }

    /// The result types that the type rule of `node` gives now. Symbols numbered from the graph's count on are fresh.
    pub(crate) fn retype(&self, node: NodeId) -> Result<Types, InferError> {
        let data = self.data(node);
        let facts: Vec<Option<Fact>> =
            data.operands.iter().map(|value| value.map(|value| self.fact(value))).collect();
        let stated = self.node(node).stated();
        Ok(type_node(&data.op, &facts, &stated, &self.weights, self.symbols.len())?.types)
    }

    fn check_results(&self, node: NodeId, data: &NodeData, found: &mut Vec<Finding>) {
        for (port, value) in data.results.iter().enumerate() {
            let knows = self
                .values
                .get(*value)
                .is_some_and(|data| data.producer == node && usize::from(data.port) == port);
            if !knows {
                found.push(Finding::node(node, VerifyErrorKind::Result { value: *value }));
            }
        }
    }

    fn check_operands(&self, node: NodeId, data: &NodeData, found: &mut Vec<Finding>) {
        for (operand, value) in data.operands.iter().enumerate() {
            let Some(value) = *value else { continue };
            if !self.has_value(value) {
                found.push(Finding::operand(node, operand, VerifyErrorKind::Erased { value }));
                continue;
            }
            let uses = self.topology.uses(self.values[value].producer, value);
            let listed = uses.iter().filter(|read| (read.reader, read.operand) == (node, operand)).count();
            if listed != 1 {
                found.push(Finding::operand(node, operand, VerifyErrorKind::Use { value, listed }));
            }
        }
        let operands = data.operands.iter().flatten().count();
        let edges = self.topology.n_operands(node);
        if operands != edges {
            found.push(Finding::node(node, VerifyErrorKind::Uses { operands, edges }));
        }
    }

    fn check_weight(&self, node: NodeId, data: &NodeData, found: &mut Vec<Finding>) {
        if super::build::check_weight(&data.op, &self.weights).is_err() {
            found.push(Finding::node(node, VerifyErrorKind::Weight));
        }
    }

    fn check_inputs(&self, found: &mut Vec<Finding>) {
        let mut listed = FxHashSet::default();
        for node in &self.inputs {
            let is_input = |node: NodeId| self.contains(node) && Input::of(&self.data(node).op).is_some();
            if !is_input(*node) {
                found.push(Finding::graph(VerifyErrorKind::NotAnInput { node: *node }));
            } else if !listed.insert(*node) {
                found.push(Finding::node(*node, VerifyErrorKind::InputTwice));
            }
        }
        let inputs = self.nodes.iter().filter_map(|(node, data)| Some((node, data.as_ref()?)));
        for (node, data) in inputs.filter(|(_, data)| Input::of(&data.op).is_some()) {
            if !listed.contains(&node) {
                found.push(Finding::node(node, VerifyErrorKind::UnlistedInput));
            }
            let name = data.results.first().and_then(|value| self.values.get(*value)?.name.as_ref());
            if name.is_none() {
                found.push(Finding::node(node, VerifyErrorKind::NamelessInput));
            }
        }
    }

    fn check_outputs(&self, found: &mut Vec<Finding>) {
        let mut names = FxHashSet::default();
        for output in &self.outputs {
            if !self.has_value(output.value) {
                let (output, value) = (output.name.clone(), output.value);
                found.push(Finding::graph(VerifyErrorKind::Output { output, value }));
            } else if !names.insert(&output.name) {
                found.push(Finding::graph(VerifyErrorKind::OutputTwice { output: output.name.clone() }));
            }
        }
    }

    fn check_names(&self, found: &mut Vec<Finding>) {
        let live = |value: ValueId| self.has_value(value);
        for (value, data) in self.values.iter().filter(|(value, _)| live(*value)) {
            let Some(name) = &data.name else { continue };
            if self.names.get(name) != Some(&value) {
                found.push(Finding::node(data.producer, VerifyErrorKind::Name { name: name.clone() }));
            }
        }
        let named = self.values.iter().filter(|(value, data)| live(*value) && data.name.is_some()).count();
        if named != self.names.len() {
            found.push(Finding::graph(VerifyErrorKind::Names { named, listed: self.names.len() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::graph::Output;
    use crate::loc::Loc;
    use crate::ops::source::Binding;
    use crate::ops::{Add, Relu};
    use crate::tensor::Tensor;
    use crate::types::TensorType;
    use crate::verify::verify;

    /// `y = relu(x) + w`.
    fn sum() -> Graph {
        let mut graph = Graph::new("main");
        let ty = TensorType::known(DType::F32, &[2]);
        let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("an input");
        let w = Tensor::zeros(DType::F32, &[2]).expect("small");
        let w = graph.add_constant(&w, Loc::Built).expect("a weight");
        let positive = graph.add_value(Relu, &[x], Loc::Built).expect("typed");
        let y = graph.add_value(Add, &[positive, w], Loc::Built).expect("typed");
        graph.set_name(y, "y");
        graph.set_outputs(vec![Output { name: "y".into(), value: y }]).expect("y is there");
        assert!(verify(&graph).is_ok());
        graph
    }

    /// What the verifier says of the graph that `damage` makes of it.
    fn after(damage: impl FnOnce(&mut Graph)) -> String {
        let mut graph = sum();
        damage(&mut graph);
        verify(&graph).expect_err("the damage is seen").to_string()
    }

    fn node(graph: &Graph, op: &str) -> NodeId {
        let found = graph.nodes().find(|node| node.op().def().name() == op);
        found.expect("an operation of that name").id()
    }

    #[test]
    fn a_reader_of_an_erased_node() {
        let message = after(|graph| {
            let relu = node(graph, "relu");
            graph.nodes[relu] = None;
            graph.topology.remove(relu);
        });
        assert!(message.contains("its producer was erased"), "{message}");
        assert!(message.contains("\n           ^^^^^ v2"), "{message}");
    }

    #[test]
    fn a_use_that_is_not_listed() {
        let message = after(|graph| {
            let (relu, add) = (node(graph, "relu"), node(graph, "add"));
            graph.topology.disconnect(relu, add, 0);
        });
        assert!(message.contains("listed 0 times among its readers"), "{message}");
        assert!(message.contains("2 operands, but 1 edges"), "{message}");
    }

    #[test]
    fn a_cycle() {
        let message = after(|graph| {
            let (relu, add, input) = (node(graph, "relu"), node(graph, "add"), node(graph, "input"));
            let y = graph.data(add).results[0];
            graph.nodes[relu].as_mut().expect("there").operands[0] = Some(y);
            graph.topology.disconnect(input, relu, 0);
            graph.topology.connect(add, relu, y, 0);
        });
        assert_eq!(message, "graph @main: a node depends on its own result");
    }

    #[test]
    fn inputs_and_names() {
        let twice = after(|graph| graph.inputs.push(graph.inputs[0]));
        assert!(twice.contains("is listed twice"), "{twice}");
        let unlisted = after(|graph| graph.inputs.clear());
        assert!(unlisted.contains("is not listed among the inputs"), "{unlisted}");
        let foreign = after(|graph| graph.inputs.push(node(graph, "add")));
        assert!(foreign.contains("is listed as an input, but is none"), "{foreign}");
        let nameless = after(|graph| graph.forget_name(graph.data(graph.inputs[0]).results[0]));
        assert!(nameless.contains("an input needs a name"), "{nameless}");
        let renamed = after(|graph| {
            let x = graph.data(graph.inputs[0]).results[0];
            graph.values[x].name = Some("y".into());
        });
        assert!(renamed.contains("the name `y` is that of another value"), "{renamed}");
    }

    #[test]
    fn outputs_and_weights() {
        let lost = after(|graph| graph.outputs[0].value = crate::entity::Entity::from_index(99));
        assert!(lost.contains("output `y` is v99, which is not there"), "{lost}");
        let twice = after(|graph| graph.outputs.push(graph.outputs[0].clone()));
        assert!(twice.contains("two outputs are called `y`"), "{twice}");
        let weight = after(|graph| graph.weights = crate::weights::Weights::default());
        assert!(weight.contains("no weight of that number and type"), "{weight}");
    }

    #[test]
    fn a_type_that_the_rule_does_not_give() {
        let message = after(|graph| {
            let relu = graph.data(node(graph, "relu")).results[0];
            graph.values[relu].ty = TensorType::known(DType::F32, &[1]);
        });
        assert!(message.contains("the result is f32[1], but the operands make it f32[2]"), "{message}");
    }
}
