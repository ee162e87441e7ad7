//! Looks a whole model over before it is imported, so that everything it lacks is reported at once.

use std::collections::{BTreeMap, BTreeSet};

use super::error::UnsupportedOp;
use super::import::{same_domain, subgraphs};
use super::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};
use super::table;

/// Names shown for each operation.
const SHOWN: usize = 5;

/// The operations of `model` and its `graph` that neither the table nor the model's functions define, in order of
/// their names. Bodies of functions count only when they are called.
pub(crate) fn unsupported_ops(model: &ModelProto, graph: &GraphProto) -> Vec<UnsupportedOp> {
    let mut survey = Survey { model, called: BTreeSet::new(), found: BTreeMap::new() };
    survey.visit(&graph.node);
    survey.found.into_values().collect()
}

struct Survey<'p> {
    model: &'p ModelProto,
    called: BTreeSet<usize>,
    found: BTreeMap<String, UnsupportedOp>,
}

impl<'p> Survey<'p> {
    /// Looks at `nodes` and at what is in them. Recursion is bounded: the decoder bounds the depth of subgraphs, and
    /// each function is entered once.
    fn visit(&mut self, nodes: &'p [NodeProto]) {
        for node in nodes {
            if let Some(index) = self.model.functions.iter().position(|function| defines(function, node)) {
                if self.called.insert(index) {
                    self.visit(&self.model.functions[index].node);
                }
            } else if table::find(&node.domain, &node.op_type).is_none() {
                self.record(node);
            }
            subgraphs(node).for_each(|graph| self.visit(&graph.node));
        }
    }

    fn record(&mut self, node: &NodeProto) {
        let standard = same_domain(&node.domain, "");
        let op = if standard { node.op_type.clone() } else { format!("{}::{}", node.domain, node.op_type) };
        let entry = self.found.entry(op.clone());
        let entry = entry.or_insert_with(|| UnsupportedOp { op, count: 0, nodes: Vec::new() });
        entry.count += 1;
        if entry.nodes.len() < SHOWN {
            let output = node.output.first().map_or("", String::as_str);
            entry.nodes.push(if node.name.is_empty() { format!("-> {output}") } else { node.name.clone() });
        }
    }
}

fn defines(function: &FunctionProto, node: &NodeProto) -> bool {
    function.name == node.op_type
        && same_domain(&function.domain, &node.domain)
        && function.overload == node.overload
}
