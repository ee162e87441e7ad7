//! Pipelines on random graphs: what they compute stays what it was.
//!
//! `cargo run -p quad-tests --bin random-graphs -- --count 10000 --pipeline npu` runs more of them.

use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_tests::generate::{Fault, Fired, Trial};
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
    let outcomes: Vec<Result<Fired, Fault>> =
        (0..GRAPHS).into_par_iter().map(|seed| trial.run(seed, None)).collect();
    let changes: usize = outcomes.iter().flatten().flat_map(Fired::values).sum();
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

/// Passes that find nothing in any random graph, and why.
const IDLE: &[(&str, &str)] = &[
    ("convert-floats", "there is nothing but f32 and f64"),
    ("expose-lora", "adapters are inputs already"),
    ("fold-quant", "nothing is quantized"),
    ("tabulate-timesteps", "no sine has a whole number times frequencies for its argument"),
    ("unfold-quant", "nothing is quantized"),
];

/// Passes that do nothing unless they are told to.
const TOLD: &[(&str, &str)] = &[
    (
        "decompose",
        "decompose{div=true,neg=true,pow=true,gemm=true,gelu=true,swish=true,softplus=true,hard-swish=true,\
         layer-norm=true,group-norm=true,mean=true,resize=true,sine=true}",
    ),
    ("specialize", "specialize{sizes=\"batch=3\"}"),
];

#[test]
fn every_pass_by_itself_holds_and_finds_something_to_do() {
    let wrong: Vec<String> =
        Registry::standard().passes().filter_map(|(_, info, _)| wrong(info.name)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with `pass` by itself.
fn wrong(pass: &str) -> Option<String> {
    let told = TOLD.iter().find(|(told, _)| *told == pass).map_or(pass, |(_, told)| told);
    let pipeline = Pipeline::parse(told, &Registry::standard()).expect("a pass");
    let trial = Trial::new(&pipeline, NODES);
    let outcomes: Vec<Result<Fired, Fault>> =
        (0..GRAPHS / 4).into_par_iter().map(|seed| trial.run(seed, None)).collect();
    let is_idle = outcomes.iter().flatten().all(Fired::is_empty);
    if let Some(fault) = outcomes.into_iter().find_map(Result::err) {
        return Some(fault.to_string());
    }
    match (is_idle, IDLE.iter().any(|(idle, _)| *idle == pass)) {
        (true, false) => Some(format!("`{pass}` finds nothing: grow what it looks for")),
        (false, true) => Some(format!("`{pass}` finds something after all")),
        _ => None,
    }
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
