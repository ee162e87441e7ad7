//! `If`, `Loop` and `Scan`: the branch that is taken, or every turn of the loop, is written out.
//!
//! Graphs have no control flow, so the value that decides (a condition, a number of turns, a length) must be known when
//! the model is read. Exporters mostly write such nodes around conditions on shapes, which are. Where a condition is not
//! known and both branches give the same types, both are computed.

mod repeat;
mod scan;

use quad_ir::graph::ValueId;
use quad_ir::loc::Loc;
use quad_ir::ops::{Concat, Reshape, Unsqueeze, Where};
use quad_ir::tensor::Tensor;

use super::context::{NodeContext, Values};
use super::error::NodeError;
use super::header::type_of_input;
use super::proto::{GraphProto, ValueInfoProto};
use super::table::{Row, import};

pub(super) const ROWS: &[Row] =
    &[import("If", branch), import("Loop", repeat::unroll), import("Scan", scan::unroll)];

/// A subgraph of a node, to be written out once or several times.
pub(crate) struct Body<'p> {
    graph: &'p GraphProto,
    /// What is put before the names of its nodes and values.
    name: String,
    /// Its own constants, added to the graph once.
    constants: Vec<(&'p str, ValueId)>,
    parameters: Vec<&'p str>,
}

impl<'p> Body<'p> {
    /// The subgraph in attribute `attribute` of the node at hand.
    pub(crate) fn new(context: &mut NodeContext<'_, 'p>, attribute: &'static str) -> Result<Self, NodeError> {
        let graph = context.subgraph(attribute)?.ok_or(NodeError::MissingAttribute(attribute))?;
        let name = match context.loc() {
            Loc::Source { node, .. } => node.to_string(),
            _ => attribute.to_owned(),
        };
        let scope = context.importer.subgraph_scope(&name, []);
        let constants = context.importer.within(scope, |importer| {
            importer.import_initializers(graph)?;
            let named = graph.initializer.iter().map(|tensor| tensor.name.as_str());
            Ok(named.filter_map(|name| Some((name, importer.find(name)?))).collect::<Vec<_>>())
        })?;
        // Files before IR version 4 list initializers among the inputs.
        let is_constant = |name: &str| constants.iter().any(|(constant, _)| *constant == name);
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let parameters = inputs.filter(|name| !is_constant(name)).collect();
        Ok(Self { graph, name, constants, parameters })
    }

    /// The outputs that it declares.
    fn outputs(&self) -> &'p [ValueInfoProto] {
        &self.graph.output
    }

    /// Writes it out with its inputs bound to `operands`, and returns its outputs. `turn` tells several apart.
    pub(crate) fn inline(
        &self,
        context: &mut NodeContext<'_, 'p>,
        turn: Option<&str>,
        operands: &[ValueId],
    ) -> Result<Vec<ValueId>, NodeError> {
        if self.parameters.len() != operands.len() {
            return Err(NodeError::Body(format!(
                "takes {} inputs, but the node gives it {}",
                self.parameters.len(),
                operands.len()
            )));
        }
        let bound = self.parameters.iter().copied().zip(operands.iter().copied());
        let name = turn.map_or_else(|| self.name.clone(), |turn| format!("{}/{turn}", self.name));
        let scope = context.importer.subgraph_scope(&name, self.constants.iter().copied().chain(bound));
        let graph = self.graph;
        let outputs = context.importer.within(scope, |importer| {
            importer.import_nodes(&graph.node)?;
            let output = |output: &ValueInfoProto| importer.find(&output.name).ok_or(output.name.clone());
            Ok(graph.output.iter().map(output).collect::<Result<Vec<_>, String>>())
        })?;
        outputs.map_err(|name| NodeError::Undefined { name })
    }

    /// What is carried in the end, then the elements that each turn gave, stacked along an axis. `first` is the output
    /// that declares the first of these.
    fn results(
        &self,
        context: &mut NodeContext<'_, 'p>,
        carried: Vec<ValueId>,
        first: usize,
        elements: Vec<(Vec<ValueId>, i64)>,
    ) -> Result<Values, NodeError> {
        let mut results = Values::from_vec(carried);
        for (index, (elements, axis)) in elements.into_iter().enumerate() {
            results.push(if elements.is_empty() {
                self.nothing(context, first + index, axis)?
            } else {
                stack(context, &elements, axis)?
            });
        }
        Ok(results)
    }

    /// What the output at `index` collects when there is no turn: nothing, stacked along `axis`.
    fn nothing(
        &self,
        context: &mut NodeContext<'_, 'p>,
        index: usize,
        axis: i64,
    ) -> Result<ValueId, NodeError> {
        let unknown = || {
            NodeError::Unsupported(
                "a loop without a turn whose body does not state the sizes of its outputs".to_owned(),
            )
        };
        let info = self.outputs().get(index).ok_or_else(unknown)?;
        let ty = type_of_input(context.graph_mut().symbols_mut(), info).map_err(|_| unknown())?;
        let mut sizes =
            ty.shape.as_known().ok_or_else(unknown)?.iter().map(|size| *size as usize).collect::<Vec<_>>();
        let rank = sizes.len() as i64 + 1;
        let place = usize::try_from(if axis < 0 { axis.saturating_add(rank) } else { axis });
        let place = place.ok().filter(|place| *place <= sizes.len()).ok_or_else(unknown)?;
        sizes.insert(place, 0);
        let empty = Tensor::zeros(ty.dtype, &sizes).map_err(NodeError::Tensor)?;
        context.add_constant(&empty)
    }
}

/// `values` stacked along a new axis.
fn stack(context: &mut NodeContext<'_, '_>, values: &[ValueId], axis: i64) -> Result<ValueId, NodeError> {
    let axes = context.integers(&[axis])?;
    let mut layers = Vec::with_capacity(values.len());
    for value in values {
        layers.push(context.value(Unsqueeze, &[*value, axes])?);
    }
    context.value(Concat { axis }, &layers)
}

/// The truth value in `value`, where it is known.
fn known_truth(context: &NodeContext<'_, '_>, value: ValueId) -> Option<bool> {
    let truth = context.constant(value)?.to_bools().ok()?;
    if let [truth] = truth[..] { Some(truth) } else { None }
}

/// The branch that a known condition takes.
fn branch(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let condition = context.operand(0)?;
    // Both are read, so that neither counts as not understood.
    let (then, other) = (context.subgraph("then_branch")?, context.subgraph("else_branch")?);
    if then.is_none() || other.is_none() {
        return Err(NodeError::MissingAttribute(if then.is_none() { "then_branch" } else { "else_branch" }));
    }
    match known_truth(context, condition) {
        Some(true) => Ok(Body::new(context, "then_branch")?.inline(context, None, &[])?.into()),
        Some(false) => Ok(Body::new(context, "else_branch")?.inline(context, None, &[])?.into()),
        None => both(context, condition),
    }
}

/// Both branches, and of each pair of outputs the one that the condition picks. Branches have no effects but their
/// outputs, so this is the same where the types agree.
fn both(context: &mut NodeContext<'_, '_>, condition: ValueId) -> Result<Values, NodeError> {
    let then = Body::new(context, "then_branch")?.inline(context, Some("then"), &[])?;
    let other = Body::new(context, "else_branch")?.inline(context, Some("else"), &[])?;
    if then.len() != other.len() {
        return Err(NodeError::Body(format!(
            "gives {} outputs if the condition holds, else {}",
            then.len(),
            other.len()
        )));
    }
    let no_axes = context.integers(&[])?;
    let condition = context.value(Reshape::default(), &[condition, no_axes])?;
    let pick = |(then, other): (ValueId, ValueId)| {
        let (one, two) = (context.ty(then), context.ty(other));
        if one != two {
            let why = format!("a condition that is computed from the model's inputs between {one} and {two}");
            return Err(context.unsupported(why));
        }
        if then == other { Ok(then) } else { context.value(Where, &[condition, then, other]) }
    };
    then.into_iter().zip(other).map(pick).collect()
}

#[cfg(test)]
mod tests;
