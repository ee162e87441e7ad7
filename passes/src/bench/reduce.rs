//! Shrinking a model that a pipeline fails on, as long as it fails the same way.
//!
//! Delta debugging: outputs are dropped, runs of nodes become inputs, nodes become one of their operands, the end of the
//! graph is cut off, sizes become smaller, constants become plain. Each is tried on a copy, in large steps first, and
//! kept when the copy fails as the model did.

mod rebuild;
mod shrink;

use std::collections::BTreeSet;

use quad_ir::graph::{Graph, NodeId, NodeRef, Output, ValueId, ValueRef};
use quad_ir::module::Module;
use quad_ir::ops::{Input, OpVariant, Weight};

use super::{Bench, BenchError, Failure, Settings};
use rebuild::{Instead, Plan};

/// A model that is as small as it could be made.
#[derive(Debug)]
pub struct Reduced {
    /// The model.
    pub module: Module,
    /// How the pipeline fails on it.
    pub failure: Failure,
    /// Smaller models that were tried.
    pub tried: usize,
}

/// Is told of progress: models tried so far, and nodes that are left.
pub type Tried<'f> = &'f mut dyn FnMut(usize, usize);

impl Bench<'_> {
    /// Shrinks `module` as long as the pipeline fails on it the same way, trying at most `limit` smaller models.
    /// `None` when the pipeline does not fail on it.
    pub fn reduce(
        &self,
        module: &Module,
        limit: usize,
        progress: Tried<'_>,
    ) -> Result<Option<Reduced>, BenchError> {
        let Err(failure) = self.attempt(module)? else { return Ok(None) };
        // Other inputs are needed for other graphs; and what fails without running needs none.
        let check = self.settings.check && failure.kind.is_numeric();
        let settings = Settings { inputs: None, check, ..self.settings.clone() };
        let bench = Bench { pipeline: self.pipeline, settings };
        let mut reduction = Reduction {
            bench: &bench,
            first: (*failure).clone(),
            module: module.clone(),
            at: 0,
            failure: *failure,
            tried: 0,
            limit,
            progress,
        };
        reduction.drop_graphs();
        for at in 0..reduction.module.graphs.len() {
            reduction.at = at;
            reduction.shrink_fully();
        }
        Ok(Some(Reduced { module: reduction.module, failure: reduction.failure, tried: reduction.tried }))
    }
}

/// A reduction at work.
struct Reduction<'r, 'p> {
    bench: &'r Bench<'p>,
    /// How the pipeline failed at first.
    first: Failure,
    /// The smallest module so far.
    module: Module,
    /// The graph that is shrunk.
    at: usize,
    /// How the pipeline fails on it.
    failure: Failure,
    tried: usize,
    limit: usize,
    progress: Tried<'r>,
}

/// What is to become smaller: operations, then nodes, outputs, and elements.
fn measure(graph: &Graph) -> (usize, usize, usize, u64) {
    let nodes = graph.nodes().count();
    let elements = graph.nodes().flat_map(NodeRef::results).map(|value| value.ty().byte_len().unwrap_or(0));
    (operations(graph).len(), nodes, graph.outputs().len(), elements.fold(0, u64::saturating_add))
}

/// The nodes that compute, in topological order.
fn operations(graph: &Graph) -> Vec<NodeId> {
    let is_source = |node: &NodeId| {
        let op = graph.node(*node).op();
        Input::of(op).is_some() || Weight::of(op).is_some()
    };
    graph.topo().into_iter().filter(|node| !is_source(node)).collect()
}

impl Reduction<'_, '_> {
    fn graph(&self) -> &Graph {
        &self.module.graphs[self.at]
    }

    /// Keeps `candidate` when the pipeline fails on it as it did at first. Whether it was kept.
    fn keep(&mut self, candidate: Option<Module>) -> bool {
        let Some(candidate) = candidate.filter(|_| self.tried < self.limit) else { return false };
        self.tried += 1;
        let nodes = self.module.graphs.iter().map(|graph| graph.nodes().count()).sum();
        (self.progress)(self.tried, nodes);
        match self.bench.attempt(&candidate) {
            Ok(Err(failure)) if self.first.is_again(&failure) => {
                (self.module, self.failure) = (candidate, *failure);
                true
            }
            _ => false,
        }
    }

    /// Keeps `graph` in place of the one that is shrunk, when it is smaller and the pipeline still fails.
    fn keep_graph(&mut self, graph: Option<Graph>) -> bool {
        let smaller = graph.filter(|graph| measure(graph) < measure(self.graph()));
        let candidate = smaller.map(|graph| {
            let mut module = self.module.clone();
            module.graphs[self.at] = graph;
            module
        });
        self.keep(candidate)
    }

    /// Graphs beside the one that runs go when they can.
    fn drop_graphs(&mut self) {
        for at in (0..self.module.graphs.len()).rev() {
            let mut fewer = self.module.clone();
            fewer.graphs.remove(at);
            let runs = fewer.main().is_some();
            self.keep(Some(fewer).filter(|_| runs));
        }
    }

    /// All ways of shrinking, until none helps.
    fn shrink_fully(&mut self) {
        loop {
            let before = measure(self.graph());
            self.drop_outputs();
            self.in_runs(as_inputs);
            self.end_earlier();
            self.in_runs(as_operands);
            self.shrink_sizes();
            if measure(self.graph()) >= before || self.tried >= self.limit {
                break;
            }
        }
        self.plain_constants();
    }

    /// One output alone, or fewer of them.
    fn drop_outputs(&mut self) {
        let outputs = self.graph().outputs().to_vec();
        if outputs.len() > 1 {
            for output in &outputs {
                if self.keep_outputs(vec![output.clone()]) {
                    return;
                }
            }
        }
        for output in outputs.iter().filter(|_| outputs.len() > 1) {
            let fewer: Vec<Output> =
                self.graph().outputs().iter().filter(|other| other.name != output.name).cloned().collect();
            if !fewer.is_empty() {
                self.keep_outputs(fewer);
            }
        }
    }

    fn keep_outputs(&mut self, outputs: Vec<Output>) -> bool {
        let graph = Plan { outputs, ..Plan::of(self.graph()) }.build();
        self.keep_graph(graph)
    }

    /// Tries `without` on runs of operations, from half of all of them down to single ones.
    fn in_runs(&mut self, without: impl Fn(&Graph, &[NodeId]) -> Vec<Graph>) {
        let mut length = operations(self.graph()).len().div_ceil(2);
        while length > 0 {
            let mut start = 0;
            loop {
                let all = operations(self.graph());
                let Some(run) = all.get(start..(start + length).min(all.len())).filter(|run| !run.is_empty())
                else {
                    break;
                };
                let candidates = without(self.graph(), run);
                if !candidates.into_iter().any(|candidate| self.keep_graph(Some(candidate))) {
                    start += length;
                }
            }
            length /= 2;
        }
    }

    /// Outputs further up: what the last operations read, in large steps first.
    fn end_earlier(&mut self) {
        let mut length = operations(self.graph()).len().div_ceil(2);
        while length > 0 {
            let all = operations(self.graph());
            let kept = &all[..all.len().saturating_sub(length)];
            let candidate = ending_with(self.graph(), kept);
            if kept.is_empty() || !self.keep_graph(candidate) {
                length /= 2;
            }
        }
        // Not only the last one in order may be superfluous: any output may end one operation earlier.
        let mut at = 0;
        while at < self.graph().outputs().len() {
            let candidate = one_earlier(self.graph(), at);
            if !self.keep_graph(candidate) {
                at += 1;
            }
        }
    }
}

/// `graph` with what `run` computes for others as inputs.
fn as_inputs(graph: &Graph, run: &[NodeId]) -> Vec<Graph> {
    let within: BTreeSet<NodeId> = run.iter().copied().collect();
    let mut plan = Plan::of(graph);
    for node in run {
        for result in graph.node(*node).results() {
            if result.is_output() || result.readers().any(|(reader, _)| !within.contains(&reader.id())) {
                plan.instead.insert(result.id(), Instead::Input);
            }
        }
    }
    plan.build().into_iter().collect()
}

/// `graph` with the nodes of `run` replaced by one of their operands of the same type; for a run of one node, all of the
/// ways to do that.
fn as_operands(graph: &Graph, run: &[NodeId]) -> Vec<Graph> {
    let operands = |node: NodeId| -> Vec<ValueId> {
        let node = graph.node(node);
        let fits = |operand: &ValueRef<'_>| operand.ty() == node.result().ty();
        node.operands().flatten().filter(fits).map(ValueRef::id).collect()
    };
    if let [node] = run {
        let result = graph.node(*node).result().id();
        let plan = |operand: ValueId| {
            let mut plan = Plan::of(graph);
            plan.instead.insert(result, Instead::Value(operand));
            plan.build()
        };
        return operands(*node).into_iter().filter_map(plan).collect();
    }
    let mut plan = Plan::of(graph);
    for node in run {
        if let Some(operand) = operands(*node).first() {
            plan.instead.insert(graph.node(*node).result().id(), Instead::Value(*operand));
        }
    }
    if plan.instead.is_empty() { Vec::new() } else { plan.build().into_iter().collect() }
}

/// `graph` up to the operations `kept`: what is read after them, or is an output already, is an output.
fn ending_with(graph: &Graph, kept: &[NodeId]) -> Option<Graph> {
    let within: BTreeSet<NodeId> = kept.iter().copied().collect();
    let results = kept.iter().flat_map(|node| graph.node(*node).results());
    let ends = results.filter(|value| {
        value.is_output() || value.readers().any(|(reader, _)| !within.contains(&reader.id()))
    });
    let outputs: Vec<Output> = ends.enumerate().map(|(index, value)| output(index, value.id())).collect();
    if outputs.is_empty() { None } else { Plan { outputs, ..Plan::of(graph) }.build() }
}

/// `graph` with the operands of the producer of output `at` in its place.
fn one_earlier(graph: &Graph, at: usize) -> Option<Graph> {
    let mut values: Vec<ValueId> = graph.outputs().iter().map(|output| output.value).collect();
    let producer = graph.value(values.remove(at)).producer();
    let is_constant = |value: &ValueRef<'_>| value.weight().is_some();
    let operands = producer.operands().flatten().filter(|operand| !is_constant(operand));
    values.extend(operands.map(ValueRef::id));
    values.dedup();
    let outputs: Vec<Output> =
        values.into_iter().enumerate().map(|(index, value)| output(index, value)).collect();
    if outputs.is_empty() { None } else { Plan { outputs, ..Plan::of(graph) }.build() }
}

fn output(index: usize, value: ValueId) -> Output {
    Output { name: format!("y{index}").into(), value }
}
