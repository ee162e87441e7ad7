//! Attention in models that real exporters wrote: found, split into heads, and written out, with the same results.
//!
//! Models with low-rank branches are taken twice: as they are, and with the weights of the branches as inputs that are
//! given when the graph runs.

use libtest_mimic::{Arguments, Failed, Trial};
use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Attention, Input, Op};
use quad_passes::check::Checker;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, Observer, RunOptions};
use quad_tests::models::{self, Model};

/// What runs before: attention is found in graphs whose shape arithmetic is folded.
const CLEAN: &str = "canonicalize,constant-fold,cse,dce";
/// The passes, one after the other.
const PASSES: [&str; 3] = ["fuse-attention", "split-heads", "lower-attention"];

/// What runs afterwards: what heads read of an adapter is cut once, when the adapter is chosen.
const HOIST: &str = "hoist-adapter,clean";

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
    /// Slices and splits along channels of what is computed.
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
            Op::Slice(_) | Op::Split(_) if is_cut_late(node) => counts.cut_late += 1,
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

/// Whether `node` cuts activations.
fn is_cut_late(node: NodeRef<'_>) -> bool {
    node.operand("x").is_some_and(|x| x.ty().rank() == 3 && x.producer().is::<Input>().is_none())
}

/// Whether `node` takes a part of an input that an adapter gives.
fn cuts_adapter(node: NodeRef<'_>) -> bool {
    let cuts = matches!(node.op(), Op::Slice(_) | Op::Split(_));
    let input = node.operand("x").and_then(|x| x.producer().is::<Input>());
    cuts && input.is_some_and(|input| input.binding == Binding::Adapter)
}

fn run(passes: &str, module: &mut Module, observers: &mut [&mut dyn Observer]) -> Result<(), Failed> {
    let pipeline = Pipeline::parse(passes, &Registry::standard())?;
    runner::run(&pipeline, module, &RunOptions::default(), observers)?;
    Ok(())
}

/// Runs the passes on `module`, which is `model`, and checks what they find and that the results stay the same.
fn prove(model: &Model, mut module: Module) -> Result<(), Failed> {
    let allowed = if model.is_half() { HALF_PRECISION } else { SINGLE_PRECISION };
    let mut checker = Checker::new(&module, models::inputs_of(model, &module)?, allowed)?;
    let mut counts = vec![count(&module)];
    for pass in PASSES {
        run(pass, &mut module, &mut [&mut checker])?;
        counts.push(count(&module));
    }
    let [before, fused, split, lowered] = &counts[..] else { return Err("three passes ran".into()) };
    let unfused = before.softmax + before.attention;
    assert_eq!((fused.softmax, fused.attention), (0, unfused), "all attention is found");
    assert_eq!((split.attention as u64, split.heads), (fused.heads, fused.heads), "one attention per head");
    assert_eq!((fused.rearranged, split.rearranged), (0, 0), "nothing rearranges heads");
    assert_eq!(split.cut_late, fused.cut_late, "projections are cut at their weights");
    assert_eq!(lowered.attention, 0, "nothing is left of attention");
    run(HOIST, &mut module, &mut [&mut checker])?;
    let main = module.main().ok_or("a model has one graph")?;
    assert_eq!(
        main.nodes().filter(|node| cuts_adapter(*node)).count(),
        0,
        "adapters are cut when they are chosen"
    );
    let expected = EXPECTED.iter().find(|(network, ..)| model.name().starts_with(network));
    let (_, attentions, heads) = expected.ok_or("a known network")?;
    assert_eq!((fused.attention, fused.heads), (*attentions, *heads), "as by other exporters");
    Ok(())
}

fn check(model: &Model, branches_as_inputs: bool) -> Result<(), Failed> {
    let mut module = model.import()?;
    run(CLEAN, &mut module, &mut [])?;
    if branches_as_inputs {
        module.graphs.iter_mut().for_each(models::give_branches_when_it_runs);
    }
    prove(model, module)
}

fn main() -> Result<(), Failed> {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for model in models::all()? {
        if model.name().contains("lora") {
            let model = model.clone();
            let name = format!("{}, branches as inputs", model.name());
            trials.push(Trial::test(name, move || check(&model, true)));
        }
        trials.push(Trial::test(model.name().to_owned(), move || check(&model, false)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
