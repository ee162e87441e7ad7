//! What is left of models as exporters wrote them once everything idle is gone.
//!
//! The same model, exported in two ways, must come out nearly the same; the summary shows how near, for every model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quad_frontends::onnx::import;
use quad_ir::graph::{Graph, NodeRef};
use quad_ir::module::Module;
use quad_ir::ops::ShapeOf;
use quad_passes::check::{Checker, draw_inputs};
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::paths;

/// Everything of the area `clean`, until nothing changes.
const CLEAN: &str = "(canonicalize,constant-fold,cse,dce)*";

/// Where the models are.
fn folder() -> PathBuf {
    paths::root().join("tests/fixtures/tiny/models")
}

fn clean(module: &mut Module) {
    let pipeline = Pipeline::parse(CLEAN, &Registry::standard()).expect("a pipeline");
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).expect("runs");
}

/// Nodes that compute something: all but inputs and constants.
fn operations(module: &Module) -> usize {
    let graphs = module.graphs.iter();
    graphs.flat_map(Graph::nodes).filter(|node| node.operands().len() > 0).count()
}

fn model(name: &str) -> Module {
    import(&folder().join(format!("{name}.onnx"))).expect("a model")
}

#[test]
fn little_is_left_of_every_model() {
    let mut rows = BTreeMap::new();
    for path in paths::files_below(&folder(), "onnx").expect("models") {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut module = import(&path).expect("a model");
        let before = operations(&module);
        clean(&mut module);
        // Sizes of a model without symbolic ones are numbers, and so is all that is computed from them.
        let is_static = !path.to_string_lossy().contains("dynbatch");
        let asks = |node: NodeRef<'_>| node.is::<ShapeOf>().is_some();
        assert!(!is_static || !module.graphs.iter().any(|graph| graph.nodes().any(asks)), "{name}");
        rows.insert(name, (before, operations(&module)));
    }
    let width = rows.keys().map(String::len).max().unwrap_or(0);
    let row = |(name, (before, after)): (&String, &(usize, usize))| {
        format!("{name:width$} {before:>5} -> {after:>5}")
    };
    let table: Vec<String> = rows.iter().map(row).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(paths::root().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(format!("Operations before and after `{CLEAN}`."));
    settings.bind(|| insta::assert_snapshot!("cleaning", table.join("\n")));
}

/// Numbers computed by what is left: bit for bit those of the model as it was exported.
#[test]
fn what_is_left_computes_the_same() {
    for name in ["clip_text.legacy17", "vae_decoder.legacy17.dynbatch", "unet2_lora_taskA.dynamo18"] {
        let mut module = model(name);
        let inputs = draw_inputs(&module, 1, &BTreeMap::new()).expect("inputs of those types");
        let mut checker = Checker::new(&module, inputs, 0.0).expect("runs");
        clean(&mut module);
        checker.check(CLEAN, &module).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Two exporters write one model in two ways, of which what they mean is left.
#[test]
fn exports_of_one_model_come_close() {
    let left = |name: &str| {
        let mut module = model(name);
        clean(&mut module);
        operations(&module)
    };
    for name in ["unet2_base", "vae_encoder", "vae_decoder"] {
        let (legacy, dynamo) = (left(&format!("{name}.legacy17")), left(&format!("{name}.dynamo18")));
        assert!(legacy.abs_diff(dynamo) <= 2, "{name}: {legacy} and {dynamo}");
    }
}
