//! Pipelines on random graphs: what they compute stays what it was.
//!
//! `cargo run -p quad-tests --bin random-graphs -- --count 10000 --pipeline npu` runs more of them.

use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_tests::generate::{Fault, Trial};
use rayon::prelude::*;

/// Graphs for each pipeline.
const GRAPHS: u64 = 200;

/// Nodes of a graph, about.
const NODES: usize = 60;

/// Faults that are reported.
const SHOWN: usize = 5;

fn holds_on_random_graphs(pipeline: &str) {
    let pipeline = Pipeline::parse(pipeline, &Registry::standard()).expect("a pipeline");
    let trial = Trial::new(&pipeline, NODES);
    let outcomes: Vec<Result<usize, Fault>> =
        (0..GRAPHS).into_par_iter().map(|seed| trial.run(seed, None)).collect();
    let changes: usize = outcomes.iter().flatten().sum();
    let faults: Vec<String> =
        outcomes.into_iter().filter_map(Result::err).map(|fault| fault.to_string()).collect();
    assert!(
        faults.is_empty(),
        "{} of {GRAPHS} graphs:\n{}",
        faults.len(),
        faults[..faults.len().min(SHOWN)].join("\n")
    );
    assert!(pipeline.is_empty() || changes > 0, "the pipeline found nothing to do in {GRAPHS} graphs");
}

#[test]
fn every_pass_by_itself_holds() {
    for (_, info, _) in Registry::standard().passes() {
        holds_by_itself(info.name);
    }
}

/// As [`holds_on_random_graphs`], for a pass that may find nothing to do: targets of some are not grown.
fn holds_by_itself(pass: &str) {
    let pipeline = Pipeline::parse(pass, &Registry::standard()).expect("a pass");
    let trial = Trial::new(&pipeline, NODES);
    let fault = (0..GRAPHS / 4).into_par_iter().find_map_any(|seed| trial.run(seed, None).err());
    assert!(fault.is_none(), "{}", fault.map_or_else(String::new, |fault| fault.to_string()));
}

#[test]
fn clean_ups_hold() {
    holds_on_random_graphs("dce");
}

#[test]
fn named_pipelines_hold() {
    for pipeline in Registry::standard().pipelines() {
        holds_on_random_graphs(pipeline.name);
    }
}
