//! Channels last in models that real exporters wrote: what is transposed and reshaped afterwards, with the same results.

use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_ir::ops::Op;
use quad_passes::check::Checker;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::models::{self, Model};
use quad_tests::paths;
use rayon::prelude::*;

/// What runs before: the same for a graph that keeps its layout.
const BEFORE: &str = "float";
/// What compilers for NPUs take.
const PIPELINE: &str = "npu";

/// Largest difference of an output, relative to its largest magnitude.
const TOLERANCE: f64 = 1e-4;

/// Nodes of a module that move elements or rename axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moves {
    transposes: usize,
    reshapes: usize,
}

fn moves(module: &Module) -> Moves {
    let count = |counts: fn(&Op) -> bool| {
        module.graphs.iter().flat_map(Graph::nodes).filter(|node| counts(node.op())).count()
    };
    Moves {
        transposes: count(|op| matches!(op, Op::Transpose(_))),
        reshapes: count(|op| {
            matches!(op, Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Flatten(_))
        }),
    }
}

fn run(pipeline: &str, module: &mut Module) {
    let pipeline = Pipeline::parse(pipeline, &Registry::standard()).expect("a pipeline");
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).expect("runs");
}

/// What is left of `model` when it keeps its layout, and with channels last.
fn before_and_after(model: &Model) -> [Moves; 2] {
    [BEFORE, PIPELINE].map(|pipeline| {
        let mut module = model.import().expect("a model");
        run(pipeline, &mut module);
        moves(&module)
    })
}

/// Images are transposed where they come in and where they go out; text is not transposed at all.
#[test]
fn only_inputs_and_outputs_are_transposed() {
    let models = models::all().expect("a list of models");
    let mut rows: Vec<(String, [Moves; 2])> =
        models.par_iter().map(|model| (model.name().to_owned(), before_and_after(model))).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.dedup();
    for (name, [_, after]) in &rows {
        let expected = if name.starts_with("clip") { 0 } else { 2 };
        assert_eq!(after.transposes, expected, "{name}");
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let row = |(name, [before, after]): &(String, [Moves; 2])| {
        let shown = |moves: &Moves| format!("{:>3} {:>3}", moves.transposes, moves.reshapes);
        format!("{name:width$}  {}  ->  {}", shown(before), shown(after))
    };
    let table: Vec<String> = rows.iter().map(row).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(paths::root().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(format!(
        "Transposes and reshapes after `{BEFORE}`, which keeps layouts, and after `{PIPELINE}`."
    ));
    settings.bind(|| insta::assert_snapshot!("channels_last", table.join("\n")));
}

/// For models with branches also where their weights are inputs of the graph, drawn
/// at random.
#[test]
fn results_stay_the_same() {
    let wanted = [
        "unet2_base.legacy17",
        "unet2_lora_taskB.dynamo18",
        "unet2_lora_taskC.legacy17",
        "vae_decoder.legacy17",
    ];
    let models = models::all().expect("a list of models");
    let chosen: Vec<&Model> = models.iter().filter(|model| wanted.contains(&model.name())).collect();
    assert_eq!(chosen.len(), wanted.len(), "all of these are there");
    chosen.into_par_iter().for_each(|model| {
        for as_inputs in [false, true] {
            if as_inputs && !model.name().contains("lora") {
                continue;
            }
            let mut module = model.import().expect("a model");
            run("clean", &mut module);
            if as_inputs {
                module.graphs.iter_mut().for_each(models::give_branches_when_it_runs);
            }
            let inputs = models::inputs_of(model, &module).expect("a sample");
            let mut checker = Checker::new(&module, inputs, TOLERANCE).expect("runs");
            run(PIPELINE, &mut module);
            checker.check(PIPELINE, &module).unwrap_or_else(|error| panic!("{}: {error}", model.name()));
        }
    });
}

/// A second time nothing is left to do.
#[test]
fn channels_stay_last() {
    for name in ["unet2_base.dynamo18", "vae_encoder.legacy17", "clip_text.legacy17"] {
        let models = models::all().expect("a list of models");
        let model = models.iter().find(|model| model.name() == name).expect("the model is there");
        let mut module = model.import().expect("a model");
        run(PIPELINE, &mut module);
        for pass in ["layout", "move-transposes", "rank4"] {
            let pipeline = Pipeline::parse(pass, &Registry::standard()).expect("a pass");
            let report = runner::run(&pipeline, &mut module, &RunOptions::default(), &mut []).expect("runs");
            assert_eq!(report.changes(), 0, "{pass} on {name}");
        }
    }
}
