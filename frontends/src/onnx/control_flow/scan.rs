//! `Scan`: a loop over the slices of some operands, every turn written out.

use quad_ir::graph::ValueId;
use quad_ir::ops::Gather;

use super::{Body, stack};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

/// An axis along which slices are read or stacked.
#[derive(Clone, Copy)]
struct Direction {
    axis: i64,
    backward: bool,
}

/// What is scanned.
struct Scan<'p> {
    body: Body<'p>,
    inputs: Vec<Direction>,
    outputs: Vec<Direction>,
}

/// Reads a scan: its operands are what is carried from turn to turn, then what is sliced. Before operand set 9, all
/// have an axis for the batch before the others, and the first operand are lengths.
pub(super) fn unroll(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let batched = context.opset() < 9;
    if batched && context.optional(0).is_some() {
        return Err(context.unsupported("a scan with a length for each sample of the batch"));
    }
    let mut operands = Vec::new();
    for index in usize::from(batched)..context.operands().len() {
        operands.push(context.operand(index)?);
    }
    let count = context.int("num_scan_inputs")?.ok_or(NodeError::MissingAttribute("num_scan_inputs"))?;
    let sliced = usize::try_from(count).ok().filter(|count| (1..=operands.len()).contains(count));
    let sliced = sliced.ok_or_else(|| {
        NodeError::Body(format!("is to slice {count} of the {} operands that the node has", operands.len()))
    })?;
    let sequences = operands.split_off(operands.len() - sliced);
    let body = Body::new(context, "body")?;
    let stacked = body.outputs().len().checked_sub(operands.len()).ok_or_else(|| {
        NodeError::Body(format!("gives fewer than the {} values that are carried", operands.len()))
    })?;
    let (inputs, outputs) = if batched {
        (
            directions(context, None, "directions", sliced)?,
            vec![Direction { axis: 0, backward: false }; stacked],
        )
    } else {
        (
            directions(context, Some("scan_input_axes"), "scan_input_directions", sliced)?,
            directions(context, Some("scan_output_axes"), "scan_output_directions", stacked)?,
        )
    };
    let scan = Scan { body, inputs, outputs };
    if batched {
        scan.run_batch(context, &operands, &sequences)
    } else {
        scan.run(context, "", operands, &sequences)
    }
}

impl<'p> Scan<'p> {
    /// The last carried values and the stacked slices, for each sample of a batch, stacked again.
    fn run_batch(
        &self,
        context: &mut NodeContext<'_, 'p>,
        carried: &[ValueId],
        sequences: &[ValueId],
    ) -> Result<Values, NodeError> {
        let batch = Direction { axis: 0, backward: false };
        let samples = length(context, sequences[0], batch)?;
        let mut results: Vec<Vec<ValueId>> = vec![Vec::new(); carried.len() + self.outputs.len()];
        for sample in 0..samples {
            let mut slices = |values: &[ValueId]| {
                values
                    .iter()
                    .map(|value| slice(context, *value, batch, sample, samples))
                    .collect::<Result<Vec<_>, _>>()
            };
            let (own_carried, own_sequences) = (slices(carried)?, slices(sequences)?);
            let outputs = self.run(context, &format!("{sample}/"), own_carried, &own_sequences)?;
            results.iter_mut().zip(outputs).for_each(|(result, output)| result.push(output));
        }
        if samples == 0 {
            return Err(context.unsupported("a scan of an empty batch"));
        }
        results.iter().map(|samples| stack(context, samples, 0)).collect()
    }

    /// The last carried values and the stacked slices.
    fn run(
        &self,
        context: &mut NodeContext<'_, 'p>,
        prefix: &str,
        mut carried: Vec<ValueId>,
        sequences: &[ValueId],
    ) -> Result<Values, NodeError> {
        let count = length(context, sequences[0], self.inputs[0])?;
        for (sequence, direction) in sequences.iter().zip(&self.inputs) {
            let other = length(context, *sequence, *direction)?;
            if other != count {
                return Err(NodeError::Body(format!("is to slice operands into {count} and into {other}")));
            }
        }
        let mut elements: Vec<Vec<ValueId>> = vec![Vec::new(); self.outputs.len()];
        for turn in 0..count {
            context.importer.count_node()?;
            let mut operands = carried.clone();
            for (sequence, direction) in sequences.iter().zip(&self.inputs) {
                operands.push(slice(context, *sequence, *direction, turn, count)?);
            }
            let outputs = self.body.inline(context, Some(&format!("{prefix}{turn}")), &operands)?;
            let (states, rest) = outputs.split_at(carried.len());
            carried.copy_from_slice(states);
            elements.iter_mut().zip(rest).for_each(|(elements, element)| elements.push(*element));
        }
        let states = carried.len();
        let stacked = elements.into_iter().zip(&self.outputs).map(|(mut elements, direction)| {
            if direction.backward {
                elements.reverse();
            }
            (elements, direction.axis)
        });
        self.body.results(context, carried, states, stacked.collect())
    }
}

/// How many slices `value` has.
fn length(context: &NodeContext<'_, '_>, value: ValueId, direction: Direction) -> Result<i64, NodeError> {
    let shape = &context.ty(value).shape;
    let axis =
        if direction.axis < 0 { direction.axis.saturating_add(shape.rank() as i64) } else { direction.axis };
    let dim = usize::try_from(axis).ok().and_then(|axis| shape.get(axis));
    let dim = dim.ok_or_else(|| {
        NodeError::Body(format!(
            "is to slice an operand of {} axes along axis {}",
            shape.rank(),
            direction.axis
        ))
    })?;
    dim.known().map(u64::cast_signed).ok_or_else(|| {
        context.unsupported("a scan over a length that is not fixed; export the model with fixed sizes")
    })
}

/// The slice of `value` that turn `turn` of `length` reads.
fn slice(
    context: &mut NodeContext<'_, '_>,
    value: ValueId,
    direction: Direction,
    turn: i64,
    length: i64,
) -> Result<ValueId, NodeError> {
    let place = context.scalar(if direction.backward { length - 1 - turn } else { turn })?;
    context.value(Gather { axis: direction.axis }, &[value, place])
}

/// The axes and directions in two optional attributes, for `count` operands or outputs.
fn directions(
    context: &NodeContext<'_, '_>,
    axes: Option<&'static str>,
    directions: &'static str,
    count: usize,
) -> Result<Vec<Direction>, NodeError> {
    let list = |name: &'static str| match context.ints(name)? {
        Some(list) if list.len() != count => {
            Err(NodeError::Body(format!("has {count} values where attribute `{name}` has {}", list.len())))
        }
        list => Ok(list.unwrap_or_else(|| vec![0; count])),
    };
    let axes = axes.map_or_else(|| Ok(vec![0; count]), list)?;
    let backward = list(directions)?;
    Ok(axes
        .iter()
        .zip(backward)
        .map(|(axis, backward)| Direction { axis: *axis, backward: backward != 0 })
        .collect())
}
