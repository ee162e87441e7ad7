//! Looks a whole model over before it is imported, so that everything it lacks is reported at once.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashSet;

use super::error::UnsupportedOp;
use super::functions::Functions;
use super::header::same_domain;
use super::import::subgraphs;
use super::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};
use super::table;

/// Names shown for each operation.
const SHOWN: usize = 5;

/// The operations of `model` and its `graph` that neither the table nor the model's functions define, in order of
/// their names. Bodies of functions count only when they are called.
pub(crate) fn unsupported_ops(model: &ModelProto, graph: &GraphProto) -> Vec<UnsupportedOp> {
    let functions = Functions::new(&model.functions);
    let mut called: FxHashSet<*const FunctionProto> = FxHashSet::default();
    let mut survey = Survey::default();
    // A queue and not recursion: functions may call each other thousands deep.
    let mut pending = VecDeque::from([graph.node.as_slice()]);
    while let Some(nodes) = pending.pop_front() {
        for node in nodes {
            if let Some(function) = functions.called_by(node) {
                if called.insert(function) {
                    pending.push_back(&function.node);
                }
            } else if table::find(&node.domain, &node.op_type).is_none() {
                survey.record(node);
            }
            pending.extend(subgraphs(node).map(|graph| graph.node.as_slice()));
        }
    }
    survey.found.into_values().collect()
}

#[derive(Default)]
struct Survey {
    found: BTreeMap<String, UnsupportedOp>,
}

impl Survey {
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
