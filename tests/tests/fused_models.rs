//! Whatever exporter wrote a model, the pipeline `float` makes one operation of each of its normalizations and activations
//! that are spelled out, and splits no result of a linear layer afterwards, but its weights. What the model computes stays,
//! and what two exporters wrote of one model becomes the same operations.

use std::collections::BTreeMap;

use libtest_mimic::{Arguments, Failed, Trial};
use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_ir::ops::OpKind;
use quad_passes::check::Checker;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::models::{self, Model};

/// How far outputs may be off, relative to the largest of them. The passes only reorder sums of `f32`.
const ALLOWED: f64 = 1e-5;

/// As [`ALLOWED`], where a model computes in `f16`: a normalization that is one operation rounds once, not eight times.
const ALLOWED_OF_HALVES: f64 = 5e-3;

/// What is spelled out with one operation that nothing else in these models has, and what it becomes.
const SPELLED_OUT: [(OpKind, OpKind); 3] = [
    (OpKind::InstanceNorm, OpKind::GroupNorm),
    (OpKind::Erf, OpKind::Gelu),
    (OpKind::Sigmoid, OpKind::Swish),
];

fn main() -> Result<(), Failed> {
    let arguments = Arguments::from_args();
    let models = models::all()?;
    let pairs = models.iter().filter_map(|model| {
        let other = model.file.replace(".legacy17", ".dynamo18");
        let other = models.iter().find(|found| found.file == other && found.file != model.file)?;
        Some((model.clone(), other.clone()))
    });
    // Text encoders differ in how they write their masks, and models with a dynamic batch in how they compute sizes.
    let pairs =
        pairs.filter(|(model, _)| !model.file.starts_with("clip") && !model.file.contains("dynbatch"));
    let pairs: Vec<_> = pairs.collect();
    let alike = pairs.into_iter().map(|(model, other)| {
        Trial::test(format!("{} and {}", model.name(), other.name()), move || check_alike(&model, &other))
    });
    let each = models.clone().into_iter().map(|model| {
        let name = model.name().to_owned();
        Trial::test(name, move || check(&model))
    });
    libtest_mimic::run(&arguments, alike.chain(each).collect()).exit();
}

/// What two exporters wrote of the same model becomes the same operations, equally often.
fn check_alike(model: &Model, other: &Model) -> Result<(), Failed> {
    let [a, b] = [fused(model.import()?)?, fused(other.import()?)?];
    let (a, b) = (histogram(main_of(&a)?), histogram(main_of(&b)?));
    if a == b { Ok(()) } else { Err(format!("{a:?} of {}, {b:?} of {}", model.name(), other.name()).into()) }
}

/// `module` after the pipeline.
fn fused(mut module: Module) -> Result<Module, Failed> {
    let pipeline = Pipeline::parse("float,split-projections,clean", &Registry::standard())?;
    runner::run(&pipeline, &mut module, &RunOptions::default(), &mut [])?;
    Ok(module)
}

/// How often each operation occurs.
fn histogram(graph: &Graph) -> BTreeMap<OpKind, usize> {
    let mut counts = BTreeMap::new();
    graph.nodes().for_each(|node| *counts.entry(node.op().kind()).or_default() += 1);
    counts
}

fn check(model: &Model) -> Result<(), Failed> {
    let original = model.import()?;
    let case = model.cases.first().ok_or("a model has a case")?;
    let allowed = if model.is_half() { ALLOWED_OF_HALVES } else { ALLOWED };
    let mut checker = Checker::new(&original, model.inputs(&original, case)?, allowed)?;
    let module = fused(original.clone())?;
    checker.check("float", &module)?;
    let (before, after) = (main_of(&original)?, main_of(&module)?);
    for (spelled_out, fused) in SPELLED_OUT {
        let (expected, found) = (count(before, spelled_out) + count(before, fused), count(after, fused));
        if found != expected || count(after, spelled_out) > 0 {
            return Err(format!("{found} of {expected} are {fused:?}").into());
        }
    }
    let norms = [before, after].map(|graph| count(graph, OpKind::LayerNorm));
    if norms[0] != norms[1] || count(after, OpKind::Pad) > 0 {
        return Err(format!("{norms:?} layer normalizations, {} pads", count(after, OpKind::Pad)).into());
    }
    let splits = after.nodes().filter(|node| node.op().kind() == OpKind::Split);
    let of_linear = splits.filter(|split| {
        let made_by = split.operand("x").map(|x| x.producer().op().kind());
        made_by.is_some_and(|kind| matches!(kind, OpKind::Add | OpKind::MatMul | OpKind::Gemm | OpKind::Conv))
    });
    match of_linear.count() {
        0 => Ok(()),
        count => Err(format!("{count} results of linear layers are split").into()),
    }
}

fn main_of(module: &Module) -> Result<&Graph, Failed> {
    Ok(module.main().ok_or("a model has one graph")?)
}

fn count(graph: &Graph, kind: OpKind) -> usize {
    graph.nodes().filter(|node| node.op().kind() == kind).count()
}
