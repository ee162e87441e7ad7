//! Which ONNX operation is which of ours: one line for each, both ways.
//!
//! A regular line, `op::<Relu>("Relu")`, reads and writes an operation whose operands and attributes are those of the
//! newest operator set. Others name a function that reads the older forms, or that composes several operations.

mod elementwise;
mod linear;
mod movement;
mod normalization;
#[cfg(test)]
pub(crate) mod one_node;
mod reduction;
mod spatial;
mod windows;

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueId};
use quad_ir::ops::{OpKind, OpVariant};

use super::context::{NodeContext, Values};
use super::control_flow;
use super::error::NodeError;
use super::export::WriteError;
use super::header::same_domain;
use super::write_node::{WriteNode, write_regular};

/// How nodes of one operation are read.
pub(crate) type Import = fn(&mut NodeContext<'_, '_>) -> Result<Values, NodeError>;

/// How nodes of one of our operations are written.
pub(crate) type Export = fn(&mut WriteNode<'_>) -> Result<(), WriteError>;

/// One ONNX operation.
pub(crate) struct Row {
    /// Empty for the standard domain.
    pub(crate) domain: &'static str,
    /// What files call it.
    pub(crate) op_type: &'static str,
    /// How it is read.
    pub(crate) import: Import,
    /// Which of our operations is written as this one, and how. `None` for compositions.
    pub(crate) export: Option<(OpKind, Export)>,
    /// The operator set in which it got the form that is written.
    pub(crate) since: i64,
    /// The operator set that one node asks for, where some ask for a newer one than others.
    pub(crate) newer: Option<fn(NodeRef<'_>) -> i64>,
}

impl Row {
    /// The same, read by `import`, which knows the older forms.
    pub(crate) const fn reading(mut self, import: Import) -> Self {
        self.import = import;
        self
    }

    /// The same, written by `export`.
    pub(crate) const fn writing(mut self, export: Export) -> Self {
        if let Some((kind, _)) = self.export {
            self.export = Some((kind, export));
        }
        self
    }

    /// The same, written in operator set `version` or newer. Without it, 18 is new enough.
    pub(crate) const fn since(mut self, version: i64) -> Self {
        self.since = version;
        self
    }

    /// The same, written in the operator set that `needed` gives for a node where that is newer.
    pub(crate) const fn newer(mut self, needed: fn(NodeRef<'_>) -> i64) -> Self {
        self.newer = Some(needed);
        self
    }

    /// The oldest operator set in which `node` can be written.
    pub(crate) fn opset_of(&self, node: NodeRef<'_>) -> i64 {
        self.newer.map_or(self.since, |needed| needed(node).max(self.since))
    }

    /// The same, of another domain.
    pub(crate) const fn of(mut self, domain: &'static str) -> Self {
        self.domain = domain;
        self
    }
}

/// An operation that is `O`, with the same operands and the same attributes by the same names.
pub(crate) const fn op<O: OpVariant>(op_type: &'static str) -> Row {
    Row { export: Some((O::KIND, write_regular)), ..import(op_type, read_regular::<O>) }
}

/// An operation that is only read: a composition, or another name for something that has one.
pub(crate) const fn import(op_type: &'static str, import: Import) -> Row {
    Row { domain: "", op_type, import, export: None, since: 18, newer: None }
}

/// All lines.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    let families = [
        control_flow::ROWS,
        elementwise::ROWS,
        linear::ROWS,
        movement::ROWS,
        normalization::ROWS,
        reduction::ROWS,
        spatial::ROWS,
        windows::ROWS,
    ];
    families.into_iter().flatten()
}

/// The line for an operation of a file.
pub(crate) fn find(domain: &str, op_type: &str) -> Option<&'static Row> {
    rows().find(|row| row.op_type == op_type && same_domain(row.domain, domain))
}

/// The line by which an operation of ours is written.
pub(crate) fn find_export(kind: OpKind) -> Option<(&'static Row, Export)> {
    rows().find_map(|row| row.export.filter(|(of, _)| *of == kind).map(|(_, export)| (row, export)))
}

/// Reads a node whose operands and attributes are those of `O`.
pub(crate) fn read_regular<O: OpVariant>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let op = context.op::<O>()?;
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// The operator set from which on operations of long standing take `bf16`, for nodes that ask for it.
pub(crate) fn bf16_since_22(node: NodeRef<'_>) -> i64 {
    if node.result().ty().dtype == DType::BF16 { 22 } else { 1 }
}

/// Another name for the first operand.
pub(crate) fn alias(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    Ok(Values::from_slice(&[context.operand(0)?]))
}

/// Reads a node of `O` whose axes are an operand, and were an attribute before opset 13 or 18.
pub(crate) fn with_axes<O: OpVariant>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let axes = match list_attribute(context, "axes")? {
        Some(axes) => Some(axes),
        None => context.optional(1),
    };
    let (op, x) = (context.op::<O>()?, context.operand(0)?);
    let node = context.add(op, &[Some(x), axes])?;
    Ok(context.results(node))
}

/// The list attribute `name` as a constant: what newer operator sets have as an operand.
pub(crate) fn list_attribute(
    context: &mut NodeContext<'_, '_>,
    name: &'static str,
) -> Result<Option<ValueId>, NodeError> {
    context.ints(name)?.map(|values| context.integers(&values)).transpose()
}
