//! The oracle: adapters merged into the weights of a model, one element after the other in double precision.

use quad_frontends::adapter::matching::{self, MatchOptions, Target, WeightLayout};
use quad_frontends::adapter::{self, ReadOptions};
use quad_frontends::onnx;
use quad_ir::graph::{Graph, Patch, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;

use crate::bench::{Bench, lora, model};

/// What the model `name` computes of `sample` with these adapters, given with their strengths, in its weights.
pub(crate) fn run(bench: &Bench, name: &str, adapters: &[(&str, f64)], sample: &str) -> NamedTensors {
    let mut module = onnx::import(&model(name)).expect("a model");
    let graph = &mut module.graphs[0];
    let read =
        |(file, _): &(&str, f64)| adapter::read(&lora(file), &ReadOptions::default()).expect("an adapter");
    let read: Vec<adapter::Adapter> = adapters.iter().map(read).collect();
    let matches = matching::match_sites(graph, &read, &MatchOptions::default()).expect("they fit");
    for target in &matches.targets {
        let change = |place: &matching::SiteRef| {
            delta(target, &read[place.adapter].sites[place.site], adapters[place.adapter].1)
        };
        let changes: Vec<Vec<f64>> = target.sites.iter().map(change).collect();
        let total: Vec<f64> =
            (0..changes[0].len()).map(|at| changes.iter().map(|change| change[at]).sum()).collect();
        merge(graph, target, &total);
    }
    Interpreter::new(graph).run(&bench.inputs(sample)).expect("it runs")
}

/// `strength * scale * B A`, as `[out, in, kernel..]`.
fn delta(target: &Target, site: &adapter::AdapterSite, strength: f64) -> Vec<f64> {
    let (a, b) = matching::fitted(target, site).expect("it fits");
    let (rank, inner) = (site.rank(), a.len() / site.rank());
    let (a, b) = (a.to_f64().expect("floats"), b.to_f64().expect("floats"));
    let element = |out: usize, at: usize| -> f64 {
        (0..rank).map(|rank_at| b[out * rank + rank_at] * a[rank_at * inner + at]).sum::<f64>()
    };
    let places = (0..target.channels_out).flat_map(|out| (0..inner).map(move |at| (out, at)));
    places.map(|(out, at)| strength * site.scale * element(out, at)).collect()
}

/// Adds `change` to the weight of all products of `target`.
fn merge(graph: &mut Graph, target: &Target, change: &[f64]) {
    for product in &target.nodes {
        let operand = graph.node(product.node).operands().nth(product.weight_operand).flatten();
        let value = operand.expect("a weight").id();
        let weight = weight_of(graph.value(value));
        let inner = change.len() / target.channels_out;
        let at = |index: usize| match product.layout {
            WeightLayout::OutIn => index,
            WeightLayout::InOut => index % target.channels_out * inner + index / target.channels_out,
        };
        let sum: Vec<f32> = weight
            .to_f64()
            .expect("floats")
            .iter()
            .enumerate()
            .map(|(index, element)| (element + change[at(index)]) as f32)
            .collect();
        let mut patch = Patch::new(graph, "merge");
        let merged = Tensor::from_vec(weight.sizes(), sum).expect("as many");
        let merged = patch.add_constant(&merged).expect("typed");
        let mut operands: Vec<_> =
            graph.node(product.node).operands().map(|operand| operand.map(ValueRef::id)).collect();
        operands[product.weight_operand] = Some(merged);
        let node = graph.node(product.node);
        let new = patch.add(node.op().clone(), &operands).expect("typed");
        let new = patch.results(new)[0];
        patch.replace(node.result().id(), new).expect("of the same type");
        let edit = patch.finish().expect("a change");
        graph.apply(edit).expect("the graph is the same");
    }
}

fn weight_of(value: ValueRef<'_>) -> Tensor {
    let weight = value.weight().expect("a weight as it is");
    value.producer().graph().weights().tensor(weight).expect("its elements")
}
