//! A graph in QDQ form that is cut where it stores, so that each stored tensor can be compared given the same operands.

use libtest_mimic::Failed;
use quad_ir::graph::{Graph, NodeRef, Output, Patch, ValueId};
use quad_ir::ops::QuantizeLinear;
use quad_ir::ops::source::Binding;

/// The end of the name under which a stored tensor is given.
pub(crate) const GIVEN: &str = ".given";

/// `graph`, cut at each `quantize_linear` that `is_cut` is true of: what is stored there is an output, and an input for those
/// who read it.
pub(crate) fn cut(mut graph: Graph, is_cut: impl Fn(NodeRef<'_>) -> bool) -> Result<Graph, Failed> {
    let quantizers = graph.nodes().filter(|node| node.is::<QuantizeLinear>().is_some());
    let cuts = quantizers.filter(|node| is_cut(*node));
    let stored: Vec<(ValueId, String)> =
        cuts.filter_map(|node| Some((node.result().id(), node.result().name()?.to_string()))).collect();
    let mut patch = Patch::new(&graph, "cut");
    for (value, name) in &stored {
        let ty = graph.value(*value).ty().clone();
        let given = patch.add_input(&format!("{name}{GIVEN}"), ty, Binding::Run)?;
        patch.replace(*value, given)?;
    }
    let edit = patch.finish()?;
    graph.apply(edit)?;
    let outputs = stored.into_iter().map(|(value, name)| Output { name: name.into(), value });
    graph.set_outputs(outputs.collect())?;
    Ok(graph)
}
