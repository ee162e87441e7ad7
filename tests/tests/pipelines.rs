//! The named pipelines on every model that real exporters wrote: what is computed stays the same after each pass, and the
//! graphs are what targets need. `snapshots/pipelines.snap` has the number of operations before and after.
//!
//! `INSTA_UPDATE=always cargo test -p quad-tests --test pipelines` accepts the numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use quad_ir::graph::{Graph, NodeRef};
use quad_ir::module::Module;
use quad_ir::ops::{Attention, Gemm, Input, MatMul, Weight};
use quad_passes::check::Checker;
use quad_passes::pattern::is_constant;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::models::{self, Model};
use quad_tests::paths;

/// How far outputs may be off after any pass, relative to their largest magnitude.
const SINGLE_PRECISION: f64 = 1e-4;
/// The same for models that compute in floats of 16 bits, where a fused operation rounds once instead of several times.
const HALF_PRECISION: f64 = 5e-3;
/// How far the numbers of operations may be apart for two exports of one model, relative to the larger.
const EXPORTERS: f64 = 0.05;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let models = models::all().expect("the list of models");
    let mut trials = vec![Trial::test("counts", counts)];
    for model in models {
        trials.push(Trial::test(format!("npu {}", model.name()), move || check(&model)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs the pipeline `npu`, of which `float` is the beginning, and compares after each pass.
fn check(model: &Model) -> Result<(), Failed> {
    let mut module = model.import()?;
    let inputs = model.inputs(&module, &model.cases[0])?;
    let allowed = if model.is_half() { HALF_PRECISION } else { SINGLE_PRECISION };
    let mut checker = Checker::new(&module, inputs, allowed)?;
    runner::run(&pipeline("npu")?, &mut module, &RunOptions::default(), &mut [&mut checker])?;
    let graph = module.main().ok_or("a model has one graph")?;
    if model.file.starts_with("unet") { is_ready(graph) } else { Ok(()) }
}

/// What must hold of a diffusion model after `npu`.
fn is_ready(graph: &Graph) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for node in graph.nodes() {
        let name = node.op().def().name();
        if let Some(why) = unready(node) {
            wrong.push(format!("{} ({name}) from {}: {why}", node.id(), node.loc()));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn unready(node: NodeRef<'_>) -> Option<&'static str> {
    let is_weight = |name: &str| node.operand(name).is_some_and(is_constant);
    if node.is::<MatMul>().is_some() && (is_weight("a") || is_weight("b")) || node.is::<Gemm>().is_some() {
        return Some("a product with a constant, which should be a convolution");
    }
    if let (Some(attention), Some(q)) = (node.is::<Attention>(), node.operand("q")) {
        let heads = if q.ty().rank() == 4 { q.ty().shape[1].known() } else { attention.q_num_heads };
        if heads != Some(1) {
            return Some("more than one head");
        }
    }
    if node.results().any(|result| result.ty().rank() > 4) {
        return Some("more than four axes");
    }
    let parts = ["instance_norm", "erf", "sigmoid", "reduce_mean"];
    parts.contains(&node.op().def().name()).then_some("a part of something that should be one operation")
}

fn pipeline(name: &str) -> Result<Pipeline, Failed> {
    Ok(Pipeline::parse(name, &Registry::standard())?)
}

/// Operations by name, without inputs and constants.
fn operations(module: &Module) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for node in module.graphs.iter().flat_map(Graph::nodes) {
        if node.is::<Input>().is_none() && node.is::<Weight>().is_none() {
            *counts.entry(node.op().def().name()).or_default() += 1;
        }
    }
    counts
}

/// The table of all models, and whether exporters lead to nearly the same.
fn counts() -> Result<(), Failed> {
    let mut table = format!("{:<36} {:>6} {:>6} {:>6}  after npu\n", "operations", "model", "float", "npu");
    let mut totals: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut apart = Vec::new();
    for model in models::all()? {
        let imported = model.import()?;
        let run = |name| -> Result<_, Failed> {
            let mut module = imported.clone();
            let options = RunOptions { verify: false, ..RunOptions::default() };
            runner::run(&pipeline(name)?, &mut module, &options, &mut [])?;
            Ok(operations(&module))
        };
        let (float, npu) = (run("float")?, run("npu")?);
        let total = |counts: &BTreeMap<_, usize>| counts.values().sum::<usize>();
        let listed: Vec<String> = npu.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let counts = (total(&operations(&imported)), total(&float), total(&npu));
        let _ = writeln!(
            table,
            "{:<36} {:>6} {:>6} {:>6}  {}",
            model.name(),
            counts.0,
            counts.1,
            counts.2,
            listed.join(", ")
        );
        let exported = exported(model.name());
        let first = totals.entry(exported).or_insert_with(|| (model.name().to_owned(), counts.2));
        let (smaller, larger) = (first.1.min(counts.2), first.1.max(counts.2));
        if (larger - smaller) as f64 > EXPORTERS * larger as f64 {
            apart.push(format!("{} has {}, {} has {}", first.0, first.1, model.name(), counts.2));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(paths::root().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("pipelines", table));
    if apart.is_empty() { Ok(()) } else { Err(apart.join("\n").into()) }
}

/// What was exported: the name without the exporter, so that two exports of it are told to be the same.
fn exported(name: &str) -> String {
    let parts = name.split('.').filter(|part| !part.starts_with("legacy") && !part.starts_with("dynamo"));
    parts.filter(|part| *part != "nofold").collect::<Vec<_>>().join(".")
}
