//! Every tensor of stored integers in the runtime against `quad_litert::kernels`.
//!
//! A model is run in the runtime with all such tensors as outputs. Then the interpreter, with those kernels, computes each layer
//! from what the runtime stored for its operands, so that layers are judged by themselves; and all of them in one chain.

use std::collections::BTreeMap;
use std::path::Path;

use libtest_mimic::Failed;
use quad_ir::graph::{Graph, NodeRef, Output, Patch, ValueId};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::ops::source::Binding;
use quad_ir::tensor::Tensor;
use quad_litert::flatbuffer;
use quad_litert::kernels::{ReferenceKernels, Way};
use quad_litert::lower::{Settings, lower};
use quad_litert::model::LiteRtModel;
use quad_tests::litert::RESOLVERS;

use super::page::{self, Chain, Figures, Layers};
use super::{Quantized, SOURCES, Source, prepared};
use crate::litert;

pub(super) fn check() -> Result<(), Failed> {
    let mut figures = Figures::default();
    for source in SOURCES {
        for quantized in &prepared(source)?.quantized {
            let folder = tempfile::tempdir()?;
            compare(source, quantized, folder.path(), &mut figures)?;
        }
    }
    page::require(&figures)
}

/// Names of outputs by the values that they show.
type Shown = BTreeMap<String, ValueId>;

fn compare(
    source: Source,
    quantized: &Quantized,
    folder: &Path,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let graph = quantized.legal.main().ok_or("a graph runs")?;
    let mut model = lower(graph, &Settings::default())?;
    let shown = show_layers(graph, &mut model);
    let file = folder.join("model.tflite");
    flatbuffer::write_file(&model, &file)?;
    let task = source.adapters.first().unwrap_or(&"none");
    let inputs = quantized.with_slots(task, &source.inputs(task, 0)?)?;
    let cut = cut(graph, &shown)?;
    let chained = chained(graph, &inputs)?;
    for (index, resolver) in RESOLVERS.iter().enumerate() {
        let mut found = litert()?.run(&file, resolver, &[&inputs])?.remove(0);
        let outputs = litert()?.run(&quantized.written, resolver, &[&inputs])?.remove(0);
        let layers: NamedTensors =
            shown.keys().filter_map(|name| Some((name.clone(), found.remove(name)?))).collect();
        if layers.len() != shown.len() || found != outputs {
            return Err(format!("{resolver}: showing layers changes what {} computes", source.name).into());
        }
        let given = inputs.clone().into_iter().chain(layers.clone()).collect();
        let ours = Interpreter::new(&cut).with_kernels(&ReferenceKernels).run(&given)?;
        for (name, value) in &shown {
            let theirs = layers.get(name).ok_or("a layer that is shown")?;
            let off = steps_off(theirs, ours.get(&of(name)).ok_or("the same layer")?)?;
            let node = graph.value(*value).producer();
            let bits = graph.value(*value).ty().dtype.bits();
            let row = Layers { operation: node.op().def().name(), bits, way: Way::of(node) };
            let figure = figures.layers.entry(row).or_default();
            figure.count += u64::from(index == 0);
            figure.worst[index] = figure.worst[index].max(off);
        }
        if *resolver == "reference" {
            let differs = |(name, value): &(&String, &ValueId)| layers.get(*name) != chained.get(*value);
            let different: Vec<ValueId> = shown.iter().filter(differs).map(|(_, value)| *value).collect();
            let operation = |node: NodeRef<'_>| node.op().def().name();
            let first = graph
                .topo()
                .into_iter()
                .map(|id| graph.node(id))
                .find(|node| node.results().any(|value| different.contains(&value.id())));
            let chain = Chain {
                model: source.name,
                precision: quantized.precision,
                layers: shown.len(),
                same: shown.len() - different.len(),
                first: first.map_or("none", operation).to_owned(),
                outputs: same_outputs(graph, &outputs, &chained),
            };
            figures.chains.push(chain);
        }
    }
    Ok(())
}

/// The name of what is computed for the layer that is handed over as `name`.
fn of(name: &str) -> String {
    format!("of {name}")
}

/// Makes outputs of all layers of `model`, which is `graph`, that store integers.
fn show_layers(graph: &Graph, model: &mut LiteRtModel) -> Shown {
    let mut shown = Shown::new();
    let (subgraph, signature) = (&mut model.subgraphs[0], &mut model.signatures[0]);
    for node in graph.nodes() {
        // The last operator of a node makes what the node does.
        let made = subgraph.operators.iter().rfind(|operator| operator.node == Some(node.id()));
        let Some(made) = made else { continue };
        for (value, tensor) in node.results().zip(made.outputs.clone()) {
            let is_layer = value.ty().quant.is_some() && !subgraph.outputs.contains(&tensor);
            if is_layer {
                let name = format!("layer.{}", value.id());
                subgraph.outputs.push(tensor);
                signature.outputs.push((name.clone(), tensor));
                shown.insert(name, value.id());
            }
        }
    }
    shown
}

/// `graph` with an input in place of each layer for whatever reads it; the layers are the outputs.
fn cut(graph: &Graph, shown: &Shown) -> Result<Graph, Failed> {
    let mut cut = graph.clone();
    let mut patch = Patch::new(graph, "cut");
    for (name, value) in shown {
        let input = patch.add_input(name, graph.value(*value).ty().clone(), Binding::Run)?;
        patch.replace(*value, input)?;
    }
    let edit = patch.finish()?;
    cut.apply(edit)?;
    let output =
        |(name, value): (&String, &ValueId)| Output { name: of(name).as_str().into(), value: *value };
    cut.set_outputs(shown.iter().map(output).collect())?;
    Ok(cut)
}

/// All values of `graph`, computed one after the other.
fn chained(graph: &Graph, inputs: &NamedTensors) -> Result<BTreeMap<ValueId, Tensor>, Failed> {
    let mut values = BTreeMap::new();
    Interpreter::new(graph).with_kernels(&ReferenceKernels).run_observed(inputs, &mut |value, tensor| {
        values.insert(value.id(), tensor.clone());
    })?;
    Ok(values)
}

fn same_outputs(graph: &Graph, outputs: &NamedTensors, values: &BTreeMap<ValueId, Tensor>) -> bool {
    graph.outputs().iter().all(|output| outputs.get(&*output.name) == values.get(&output.value))
}

/// How many steps two tensors of stored integers are apart, at most.
fn steps_off(found: &Tensor, expected: &Tensor) -> Result<i64, Failed> {
    if (found.dtype(), found.sizes()) != (expected.dtype(), expected.sizes()) {
        return Err(format!("{} where {} is expected", found.ty(), expected.ty()).into());
    }
    let (found, expected) = (found.to_i64()?, expected.to_i64()?);
    Ok(found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).max().unwrap_or_default())
}
