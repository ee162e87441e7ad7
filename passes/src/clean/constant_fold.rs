//! Computes what does not depend on inputs, once and for all.
//!
//! A value whose elements are known becomes a constant, wherever it comes from: the sizes of a tensor that never change,
//! and all the arithmetic that exporters do with them, are known although the tensor is not. What is computed from
//! constants of more than 1024 elements becomes a recipe: its bytes are made when the graph is written, one tensor at a
//! time, and no earlier.
//!
//! Constants that are stored in fewer bits stay so: `dequantize_linear` of one, and what is computed from that, is left to
//! be computed when the graph runs, unless `quantized` asks for it.
//!
//! A constant that would take more than `max-growth` bytes above what its operands take is left to be computed when the
//! graph runs: a mask that one number is stretched to would make the file larger than the model.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 6]) {
//!   %sizes = shape_of(%x) : i64[2]
//!   %first = weight [0] : i64[1]
//!   %rows = gather(%sizes, %first) : i64[1]
//!   %rest = weight [3, 2] : i64[2]
//!   %target = concat(%rows, %rest) : i64[3]
//!   %y = reshape(%x, %target) : f32[2, 3, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 6]) {
//!   %target = weight [2, 3, 2] : i64[3]
//!   %y = reshape(%x, %target) : f32[2, 3, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueRef};
use quad_ir::ops::{DequantizeLinear, Input, OpTraits, Slice, Split, Weight};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightId;
use rustc_hash::FxHashSet;

use crate::context::{Context, Place};
use crate::pass::{Fault, Pass, PassError, PassInfo};
use crate::pattern::axis_of;
use crate::rule::{QUANTIZED, Skip, because};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct ConstantFold {
    /// Bytes that a constant may take above what its operands take.
    pub max_growth: u64,
    /// Whether constants that are stored in fewer bits are written out.
    pub quantized: bool,
}

impl Default for ConstantFold {
    fn default() -> Self {
        Self { max_growth: 1 << 20, quantized: false }
    }
}

const INFO: PassInfo = PassInfo { name: "constant-fold", source: include_str!("constant_fold.rs") };

impl Pass for ConstantFold {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("max-growth", &mut self.max_growth)?;
        visitor.attr("quantized", &mut self.quantized)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let kept = if self.quantized { FxHashSet::default() } else { quantized_constants(graph) };
        // From the readers up: what only a folded value needed goes with it and is not folded itself.
        for node in graph.topo().into_iter().rev().filter(|node| !kept.contains(node)) {
            attempt(graph, node, cx, fold_known)?;
        }
        // From the operands down: a recipe is made of what became a constant before it.
        for node in graph.topo() {
            attempt(graph, node, cx, |node, patch| {
                if kept.contains(&node.id()) {
                    return Err(because(node, "its constant is stored in fewer bits"));
                }
                self.fold_constants(node, patch)
            })?;
        }
        Ok(())
    }
}

/// The nodes that compute with constants in the clear that are stored in fewer bits.
fn quantized_constants(graph: &Graph) -> FxHashSet<NodeId> {
    let mut found = FxHashSet::default();
    for node in graph.topo().into_iter().map(|node| graph.node(node)) {
        let mut operands = node.operands().flatten();
        let begins = node.is::<DequantizeLinear>().is_some();
        let goes_on = node.operands().flatten().any(|operand| found.contains(&operand.producer().id()));
        let is_constant = |operand: ValueRef<'_>| {
            operand.weight().is_some()
                || operand.constant().is_some()
                || found.contains(&operand.producer().id())
        };
        if (begins || goes_on) && operands.all(is_constant) {
            found.insert(node.id());
        }
    }
    found
}

/// Makes the change that `fold` proposes at `node`, if that is still there.
fn attempt(
    graph: &mut Graph,
    node: NodeId,
    cx: &mut Context,
    fold: impl Fn(NodeRef<'_>, &mut Patch<'_>) -> Result<(), Skip>,
) -> Result<(), PassError> {
    if !cx.has_fuel() || !graph.contains(node) || is_source(graph.node(node)) {
        return Ok(());
    }
    let place = |graph: &Graph| Place::of(graph.node(node));
    let fault =
        |graph: &Graph, error| PassError::Rule { rule: INFO.name, place: Box::new(place(graph)), error };
    // A recipe computes with stored elements.
    if graph.node(node).touches_quantized() {
        cx.left(INFO.name, place(graph), QUANTIZED);
        return Ok(());
    }
    let mut patch = Patch::new(graph, INFO.name);
    match fold(graph.node(node), &mut patch) {
        Ok(()) => {}
        Err(Skip::NoMatch) => return Ok(()),
        Err(Skip::Because { why, .. }) => {
            cx.left(INFO.name, place(graph), why);
            return Ok(());
        }
        Err(Skip::Fault(error)) => return Err(fault(graph, error)),
    }
    patch.erase_unread();
    let edit = patch.finish().map_err(|error| fault(graph, Box::new(Fault::from(error))))?;
    let place = place(graph);
    cx.apply(graph, edit, INFO.name, place)?;
    Ok(())
}

/// Whether nothing is computed: the node is where a value comes from.
fn is_source(node: NodeRef<'_>) -> bool {
    node.is::<Weight>().is_some() || node.is::<Input>().is_some()
}

/// Whether anybody wants to have the value.
fn is_wanted(value: &ValueRef<'_>) -> bool {
    value.is_read() || value.is_output()
}

/// Results whose elements are known become constants.
fn fold_known(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    for result in node.results().filter(is_wanted) {
        let Some(elements) =
            result.constant().filter(|elements| elements.ty().refines(result.ty(), node.graph().symbols()))
        else {
            continue;
        };
        let new = patch.add_constant(elements)?;
        patch.replace(result.id(), new)?;
    }
    Ok(())
}

impl ConstantFold {
    /// A node whose operands are constants becomes a recipe, or several where it cuts a constant into parts.
    fn fold_constants(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let operands: Option<Vec<Option<WeightId>>> = node
            .operands()
            .map(|operand| operand.map_or(Some(None), |value| value.weight().map(Some)))
            .collect();
        let operands = operands.filter(|operands| !operands.is_empty()).ok_or(Skip::NoMatch)?;
        if !node.results().any(|result| is_wanted(&result)) {
            return Err(Skip::NoMatch);
        }
        if !node.op().def().traits().contains(OpTraits::PURE) {
            return Err(because(node, "its result is another one each time"));
        }
        self.check_growth(node)?;
        if let Some(split) = node.is::<Split>() {
            return fold_split(node, split, patch);
        }
        if node.results().len() > 1 {
            return Err(because(node, "a recipe has one result, and it has several"));
        }
        let weight = patch.weights_mut().derive(node.op().clone(), &operands)?;
        let new = patch.add_weight(weight)?;
        patch.replace(node.result().id(), new)?;
        Ok(())
    }

    /// Whether the file would become much larger.
    fn check_growth(&self, node: NodeRef<'_>) -> Result<(), Skip> {
        let bytes = |value: ValueRef<'_>| value.ty().byte_len();
        let made: Option<u64> = node.results().filter(is_wanted).map(bytes).sum();
        let Some(made) = made else {
            return Err(because(node, "the sizes of its result depend on elements of its operands"));
        };
        let given: u64 = node.operands().flatten().filter_map(bytes).sum();
        if made <= given.saturating_add(self.max_growth) {
            return Ok(());
        }
        let why = format!(
            "its result takes {made} bytes and its operands {given}: more than the {} above them that `max-growth` allows",
            self.max_growth
        );
        Err(because(node, why))
    }
}

/// Each part of a constant that is wanted becomes a slice of it.
fn fold_split(node: NodeRef<'_>, split: &Split, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let axis = axis_of(split.axis, x).ok_or(Skip::NoMatch)?;
    let whole = x.weight().ok_or(Skip::NoMatch)?;
    let mut start = 0;
    for part in node.results() {
        let size = part.ty().shape[axis].known().ok_or(Skip::NoMatch)?;
        if is_wanted(&part) {
            let mut vector = |value: u64| {
                let tensor = Tensor::from_vec(&[1], vec![value as i64])
                    .map_err(quad_ir::weights::WeightError::from)?;
                patch.weights_mut().add_tensor(&tensor)
            };
            let bounds = [vector(start)?, vector(start + size)?, vector(axis as u64)?];
            let [starts, ends, axes] = bounds.map(Some);
            let weight = patch.weights_mut().derive(Slice, &[Some(whole), starts, ends, axes])?;
            let new = patch.add_weight(weight)?;
            patch.replace(part.id(), new)?;
        }
        start += size;
    }
    Ok(())
}
