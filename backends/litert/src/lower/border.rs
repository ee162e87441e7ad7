//! The border of a model: which values its inputs and outputs are.
//!
//! By default they are those of the graph. Where callers hand over stored integers, or planes with channels last, what the
//! graph does first to an input and last to an output is left to them: it is not emitted, and its result is the input.

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{Dequantize, Quantize, Transpose};
use quad_passes::pattern::{made_by, permutation};

use super::Settings;

/// From channels first to channels last.
const TO_LAST: [usize; 4] = [0, 2, 3, 1];
/// And back.
const TO_FIRST: [usize; 4] = [0, 3, 1, 2];

/// What becomes of inputs and outputs.
#[derive(Debug, Default)]
pub(super) struct Border {
    /// For each input in order, the value that callers pass, and all values that it stands for.
    pub(super) inputs: Vec<(ValueId, Vec<ValueId>)>,
    /// For each output in order, the value that callers get.
    pub(super) outputs: Vec<ValueId>,
    /// Nodes that are left to callers.
    pub(super) left_out: BTreeSet<NodeId>,
}

/// An input or output cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}` cannot have channels last: the graph does not bring it there before anything else reads it{}", if *.stored { "; with --io-types quantized it can" } else { "" })]
pub struct BorderError {
    kind: &'static str,
    name: String,
    /// Whether stored integers are in the way.
    stored: bool,
}

impl Border {
    pub(super) fn new(graph: &Graph, settings: &Settings) -> Result<Self, BorderError> {
        let mut border = Self::default();
        for input in graph.inputs() {
            border.input(input, settings)?;
        }
        let mut given: BTreeMap<ValueId, usize> = BTreeMap::new();
        graph.outputs().iter().for_each(|output| *given.entry(output.value).or_default() += 1);
        for output in graph.outputs() {
            let value = graph.value(output.value);
            let is_only = given[&output.value] == 1;
            border.output(value, &output.name, is_only, settings)?;
        }
        Ok(border)
    }

    fn input(&mut self, input: ValueRef<'_>, settings: &Settings) -> Result<(), BorderError> {
        let mut passed = input;
        if settings.stored_border
            && let Some(reader) = input.only_reader().filter(|node| node.is::<Quantize>().is_some())
        {
            self.left_out.insert(reader.id());
            passed = reader.result();
        }
        let mut stands_for = vec![passed.id()];
        if settings.channels_last && passed.ty().rank() == 4 && is_run_time(input) {
            let readers: Vec<NodeRef<'_>> = passed.readers().map(|(node, _)| node).collect();
            if passed.is_output() || readers.is_empty() || !readers.iter().all(|node| orders(*node, TO_LAST))
            {
                let stored = readers.iter().any(|node| node.is::<Quantize>().is_some());
                let name = input.name().map(ToString::to_string).unwrap_or_default();
                return Err(BorderError { kind: "input", name, stored });
            }
            self.left_out.extend(readers.iter().map(|node| node.id()));
            stands_for = readers.iter().map(|node| node.result().id()).collect();
            passed = readers[0].result();
        }
        self.inputs.push((passed.id(), stands_for));
        Ok(())
    }

    fn output(
        &mut self,
        output: ValueRef<'_>,
        name: &str,
        is_only: bool,
        settings: &Settings,
    ) -> Result<(), BorderError> {
        let mut given = output;
        if settings.stored_border
            && let Some((node, _)) = made_by::<Dequantize>(output)
            && let Some(stored) = node.operand("x").filter(|_| is_only && !output.is_read())
        {
            self.left_out.insert(node.id());
            given = stored;
        }
        if settings.channels_last && given.ty().rank() == 4 {
            let node = given.producer();
            let is_last = given.readers().all(|(reader, _)| self.left_out.contains(&reader.id())) && is_only;
            let Some(last) = node.operand("x").filter(|_| is_last && orders(node, TO_FIRST)) else {
                let stored = node.is::<Dequantize>().is_some();
                return Err(BorderError { kind: "output", name: name.to_owned(), stored });
            };
            self.left_out.insert(node.id());
            given = last;
        }
        self.outputs.push(given.id());
        Ok(())
    }
}

/// Whether `input` is passed at each run, as images are; what an adapter fills stays as packing makes it.
fn is_run_time(input: ValueRef<'_>) -> bool {
    use quad_ir::ops::Input;
    use quad_ir::ops::source::Binding;
    input.producer().is::<Input>().is_some_and(|input| input.binding == Binding::Run)
}

/// Whether `node` puts four axes in the order `order`.
fn orders(node: NodeRef<'_>, order: [usize; 4]) -> bool {
    let transpose = node.is::<Transpose>().zip(node.operand("x"));
    transpose.is_some_and(|(transpose, x)| permutation(transpose, x)[..] == order)
}
