//! Attention in models that real exporters wrote: found, split into heads, and written out, with the same results.
//!
//! Models with low-rank branches are taken twice: as they are, and with the weights of the branches as inputs that are
//! given when the graph runs.

use std::collections::BTreeMap;

use quad_frontends::adapter::branches;
use quad_frontends::onnx;
use quad_ir::graph::{Graph, NodeRef, Patch, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Attention, Input, Op, Slice, Transpose};
use quad_ir::tensor::Tensor;
use quad_passes::check::{Checker, draw_inputs};
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, Observer, RunOptions};
use quad_tests::paths;
use rayon::prelude::*;

/// What runs before: attention is found in graphs whose shape arithmetic is folded.
const CLEAN: &str = "canonicalize,constant-fold,cse,dce";
/// The passes, one after the other.
const PASSES: [&str; 3] = ["fuse-attention", "split-heads", "lower-attention"];

/// Largest difference of an output, relative to its largest magnitude.
const SINGLE_PRECISION: f64 = 1e-4;
/// The same for models in 16-bit floats, in which scores are rounded before attention is found and not after.
const HALF_PRECISION: f64 = 2e-2;

/// Attentions and their heads in the models of a kind, whichever exporter wrote them.
const EXPECTED: [(&str, usize, u64); 4] =
    [("clip", 2, 8), ("unet2", 8, 32), ("unet4", 32, 64), ("vae", 1, 1)];

/// What there is of what the passes are about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    softmax: usize,
    attention: usize,
    heads: u64,
    /// Reshapes, transposes and their like right before and after attention.
    rearranged: usize,
    /// Slices along channels of what is computed.
    cut_late: usize,
}

fn count(module: &Module) -> Counts {
    let mut counts = Counts::default();
    for node in module.graphs.iter().flat_map(Graph::nodes) {
        match node.op() {
            Op::Softmax(_) => counts.softmax += 1,
            Op::Attention(attention) => {
                counts.attention += 1;
                counts.heads += heads(node, attention);
                counts.rearranged += rearranged(node);
            }
            Op::Slice(_) if is_cut_late(node) => counts.cut_late += 1,
            _ => {}
        }
    }
    counts
}

/// How many operands of `node` are rearranged, and how many readers rearrange its result.
fn rearranged(node: NodeRef<'_>) -> usize {
    let rearranges = |node: &NodeRef<'_>| {
        matches!(node.op(), Op::Reshape(_) | Op::Transpose(_) | Op::Squeeze(_) | Op::Unsqueeze(_))
    };
    let before = node.operands().flatten().map(ValueRef::producer).filter(rearranges).count();
    before + node.result().readers().map(|(reader, _)| reader).filter(rearranges).count()
}

fn heads(node: NodeRef<'_>, attention: &Attention) -> u64 {
    let axis = node.operand("q").and_then(|q| (q.ty().rank() == 4).then(|| q.ty().shape[1].known())?);
    attention.q_num_heads.or(axis).expect("the number of heads is known")
}

/// Whether `node` slices activations along channels.
fn is_cut_late(node: NodeRef<'_>) -> bool {
    let Some(x) = node.is::<Slice>().and_then(|_| node.operand("x")) else { return false };
    x.ty().rank() == 3 && x.producer().is::<Input>().is_none()
}

/// Makes inputs of the weights of all low-rank branches of `graph`.
fn give_branches_when_it_runs(graph: &mut Graph) {
    let branches = branches::find(graph);
    let mut patch = Patch::new(graph, "test");
    for (number, branch) in branches.iter().enumerate() {
        for (name, node) in [("a", branch.down), ("b", branch.up)] {
            let weight = graph.node(node).operands().flatten().find_map(weight_behind).expect("a weight");
            let input = patch.add_input(&format!("{name}{number}"), weight.ty().clone(), Binding::Adapter);
            patch.replace(weight.id(), input.expect("an input")).expect("the weight is read");
        }
    }
    patch.erase_unread();
    let edit = patch.finish().expect("inputs replace weights");
    graph.apply(edit).expect("nothing changed in between");
}

/// The weight that `value` is, or is a transpose of.
fn weight_behind(value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    let node = value.producer();
    let source = node.is::<Transpose>().and_then(|_| node.operand("x")).unwrap_or(value);
    source.weight().map(|_| source)
}

/// Inputs for `module`. Those of adapters are small, as adapters are.
fn inputs(module: &Module) -> NamedTensors {
    let mut inputs = draw_inputs(module, 1, &BTreeMap::new()).expect("inputs");
    for input in module.graphs[0].inputs() {
        let binding = input.producer().is::<Input>().map(|input| input.binding);
        let name = input.name().expect("inputs have names").to_string();
        if binding == Some(Binding::Adapter) {
            let drawn = inputs.remove(&name).expect("a tensor for each input");
            let small: Vec<f32> = drawn.to_f64().expect("floats").iter().map(|x| *x as f32 / 10.0).collect();
            let tensor = Tensor::from_f32(drawn.dtype(), drawn.sizes(), &small).expect("as many elements");
            inputs.insert(name, tensor);
        }
    }
    inputs
}

fn run(passes: &str, module: &mut Module, observers: &mut [&mut dyn Observer]) {
    let pipeline = Pipeline::parse(passes, &Registry::standard()).expect("passes");
    if let Err(error) = runner::run(&pipeline, module, &RunOptions::default(), observers) {
        panic!("{}: {error}", module.graphs[0].name());
    }
}

/// Runs the passes on `module`, and checks what they find and that the results stay the same.
fn prove(name: &str, mut module: Module) {
    let inputs = inputs(&module);
    let allowed = if name.contains("fp16") { HALF_PRECISION } else { SINGLE_PRECISION };
    let mut checker = Checker::new(&module, inputs, allowed).expect("the model runs");
    let mut counts = vec![count(&module)];
    for pass in PASSES {
        run(pass, &mut module, &mut [&mut checker]);
        counts.push(count(&module));
    }
    let [before, fused, split, lowered] = &counts[..] else { panic!("three passes ran") };
    let unfused = before.softmax + before.attention;
    assert_eq!((fused.softmax, fused.attention), (0, unfused), "{name}: all attention is found");
    assert_eq!(
        (split.attention as u64, split.heads),
        (fused.heads, fused.heads),
        "{name}: one attention per head"
    );
    assert_eq!((fused.rearranged, split.rearranged), (0, 0), "{name}: nothing rearranges heads");
    assert_eq!(split.cut_late, fused.cut_late, "{name}: projections are cut at their weights");
    assert_eq!(lowered.attention, 0, "{name}: nothing is left of attention");
    let expected = EXPECTED.iter().find(|(network, ..)| name.starts_with(network)).expect("a known network");
    assert_eq!((fused.attention, fused.heads), (expected.1, expected.2), "{name}: as by other exporters");
}

#[test]
fn attention_of_exported_models_is_found_split_and_written_out() {
    let folder = paths::fixtures().join("tiny/models");
    let models = paths::files_below(&folder, "onnx").expect("the models");
    assert!(models.len() > 20, "models are missing from {}", folder.display());
    models.par_iter().for_each(|path| {
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        let mut module = onnx::import(path).expect("a model");
        run(CLEAN, &mut module, &mut []);
        prove(&name, module.clone());
        if name.contains("lora") {
            module.graphs.iter_mut().for_each(give_branches_when_it_runs);
            prove(&format!("{name}, branches as inputs"), module);
        }
    });
}
