//! `Loop`: every turn written out.

use quad_ir::graph::ValueId;
use quad_ir::tensor::Tensor;

use super::{Body, known_truth};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

/// Reads a loop: its operands are the number of turns, the condition, and what is carried from turn to turn; its body
/// takes the number of the turn, the condition and what is carried, and gives the condition for the next turn, what is
/// carried there, and elements that are stacked.
pub(super) fn unroll(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let body = Body::new(context, "body")?;
    let limit = context.optional(0).map(|count| turns(context, count)).transpose()?;
    let watched = context.optional(1);
    if limit.is_none() && watched.is_none() {
        return Err(
            context.unsupported("a loop with neither a number of turns nor a condition, which never ends")
        );
    }
    let mut going = watched.map_or(Ok(true), |condition| decided(context, condition, 0))?;
    let mut carried = Vec::new();
    for index in 2..context.operands().len() {
        carried.push(context.operand(index)?);
    }
    let stacked = body.outputs().len().checked_sub(1 + carried.len()).ok_or_else(|| {
        NodeError::Body(format!(
            "gives fewer than the condition and the {} values that are carried",
            carried.len()
        ))
    })?;
    let mut elements: Vec<Vec<ValueId>> = vec![Vec::new(); stacked];
    let mut turn = 0;
    while going && limit.is_none_or(|limit| turn < limit) {
        context.importer.count_node()?;
        let number = context.scalar(turn)?;
        let truth = Tensor::from_bools(&[], vec![true]).map_err(NodeError::Tensor)?;
        let mut operands = vec![number, context.add_constant(&truth)?];
        operands.extend(&carried);
        let outputs = body.inline(context, Some(&turn.to_string()), &operands)?;
        turn += 1;
        // After the last turn nobody asks.
        if watched.is_some() && limit != Some(turn) {
            going = decided(context, outputs[0], turn)?;
        }
        let (states, rest) = outputs[1..].split_at(carried.len());
        carried.copy_from_slice(states);
        elements.iter_mut().zip(rest).for_each(|(elements, element)| elements.push(*element));
    }
    let first_stacked = 1 + carried.len();
    let elements = elements.into_iter().map(|elements| (elements, 0)).collect();
    body.results(context, carried, first_stacked, elements)
}

/// The number of turns that `count` holds.
fn turns(context: &NodeContext<'_, '_>, count: ValueId) -> Result<i64, NodeError> {
    let count = context.constant(count).and_then(|count| count.to_i64().ok());
    match count.as_deref() {
        Some([count]) => Ok(*count),
        Some(_) => Err(NodeError::Body("is to turn a number of times that is not one number".to_owned())),
        None => Err(context.unsupported("a number of turns that is computed from the model's inputs")),
    }
}

/// Whether the loop goes on after `turn` turns.
fn decided(context: &NodeContext<'_, '_>, condition: ValueId, turn: i64) -> Result<bool, NodeError> {
    known_truth(context, condition).ok_or_else(|| {
        context.unsupported(format!(
            "a loop whose condition after {turn} turns is computed from the model's inputs"
        ))
    })
}
