//! What may be asked of a graph, beside being valid, and the check of each.

use quad_ir::graph::{Graph, NodeRef};
use quad_ir::ops::Input;

use crate::context::Place;
use crate::pass::{Invariants, PassError};

/// Axes that a value may have under [`Invariants::RANK4`].
const MAX_RANK: usize = 4;

/// Checks `wanted`; an error says what was found and where.
pub fn check(graph: &Graph, wanted: Invariants) -> Result<(), String> {
    graph.nodes().try_for_each(|node| {
        if wanted.contains(Invariants::STATIC_SHAPES) {
            sizes_are_known(node)?;
        }
        if wanted.contains(Invariants::RANK4) {
            rank_is_small(node)?;
        }
        if wanted.contains(Invariants::NO_DEAD_NODES) { is_alive(node) } else { Ok(()) }
    })
}

/// Refuses a graph with quantized values, for passes that take elements for the numbers that they are.
pub(crate) fn refuse_quantized(graph: &Graph, pass: &str) -> Result<(), PassError> {
    let Some(node) = graph.nodes().find(|node| node.touches_quantized()) else { return Ok(()) };
    let place = Place::of(node);
    Err(PassError::Refused(format!(
        "`{pass}` found quantized values at {place}, expected real numbers: run it before values are quantized, or after \
         `unfold-quant`"
    )))
}

fn sizes_are_known(node: NodeRef<'_>) -> Result<(), String> {
    match node.results().find(|result| result.ty().shape.as_known().is_none()) {
        Some(result) => {
            let ty = node.graph().symbols().show_type(result.ty()).to_string();
            Err(format!(
                "{} has type {ty}, expected sizes that are numbers: set the symbolic ones first",
                Place::of(node)
            ))
        }
        None => Ok(()),
    }
}

fn rank_is_small(node: NodeRef<'_>) -> Result<(), String> {
    match node.results().find(|result| result.ty().rank() > MAX_RANK) {
        Some(result) => {
            Err(format!("{} has type {}, expected at most {MAX_RANK} axes", Place::of(node), result.ty()))
        }
        None => Ok(()),
    }
}

fn is_alive(node: NodeRef<'_>) -> Result<(), String> {
    let alive =
        node.is::<Input>().is_some() || node.results().any(|result| result.is_read() || result.is_output());
    if alive { Ok(()) } else { Err(format!("nothing reads {}", Place::of(node))) }
}
