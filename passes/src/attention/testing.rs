//! What the tests of this area share.

use std::collections::BTreeMap;

use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_ir::ops::OpKind;
use quad_ir::text::{NoWeights, parse};

use crate::check::{Checker, draw_inputs};
use crate::context::Event;
use crate::pipeline::Pipeline;
use crate::registry::Registry;
use crate::runner::{RunOptions, run};

/// A graph after passes, and why rules left something.
pub(super) struct Outcome {
    pub(super) module: Module,
    pub(super) left: Vec<String>,
}

/// Runs `pipeline` on the graph `body`, written without its name and inputs' parenthesis, and checks that it computes
/// the same after every pass, within `allowed` of the largest magnitude.
pub(super) fn run_on(pipeline: &str, body: &str, allowed: f64) -> Outcome {
    let text = format!("quad 1\n\ngraph @main{body}");
    let mut module = parse(&text, &NoWeights).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let pipeline = Pipeline::parse(pipeline, &Registry::standard()).expect("a pipeline");
    let inputs = draw_inputs(&module, 1, &BTreeMap::new()).expect("inputs");
    let mut checker = Checker::new(&module, inputs, allowed).expect("the graph runs");
    let options = RunOptions { explain: true, ..RunOptions::default() };
    let report =
        run(&pipeline, &mut module, &options, &mut [&mut checker]).unwrap_or_else(|error| panic!("{error}"));
    let events = report.passes.into_iter().flat_map(|pass| pass.events);
    let left = events.filter_map(|event| if let Event::Left { why, .. } = event { Some(why) } else { None });
    Outcome { left: left.collect(), module }
}

impl Outcome {
    pub(super) fn graph(&self) -> &Graph {
        &self.module.graphs[0]
    }

    /// How many nodes of kind `kind` there are.
    pub(super) fn count(&self, kind: OpKind) -> usize {
        self.graph().nodes().filter(|node| node.op().kind() == kind).count()
    }

    /// How many reshapes, transposes and their like there are.
    pub(super) fn rearrangements(&self) -> usize {
        let kinds = [OpKind::Reshape, OpKind::Transpose, OpKind::Squeeze, OpKind::Unsqueeze];
        kinds.into_iter().map(|kind| self.count(kind)).sum()
    }
}
