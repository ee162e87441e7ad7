//! Channels first, as ONNX has them: operations with channels last get transposes around them before a graph is written.
//!
//! Nothing is cancelled: what is written shows the graph as it is. Kernels that are weights are transposed by recipe, and stored
//! ones before they are read: readers of ONNX look for `DequantizeLinear` right before what computes, and ONNX Runtime refuses
//! what it makes itself of signed bytes with a transpose behind.

use std::borrow::Cow;

use quad_ir::graph::{AddError, Graph, NodeRef, Patch, PatchError, ValueId, ValueRef};
use quad_ir::ops::layout::{DataLayout, Role, layout_of, with_layout};
use quad_ir::ops::{DequantizeLinear, Input, Op, Transpose};
use quad_ir::weights::{Source, WeightId};
use rustc_hash::FxHashMap;

use super::export::WriteError;

/// The name under which the new nodes say where they come from.
const RULE: &str = "channels-first";

/// `graph`, or a copy in which all operations have channels first.
pub(crate) fn channels_first(graph: &Graph) -> Result<Cow<'_, Graph>, WriteError> {
    if !graph.nodes().any(|node| has_channels_last(node.op())) {
        return Ok(Cow::Borrowed(graph));
    }
    let fault = |error: &dyn std::error::Error| WriteError::Layout(error.to_string());
    let mut rewrite = Rewrite { patch: Patch::new(graph, RULE), new: FxHashMap::default() };
    let order = graph.topo();
    for node in order.into_iter().map(|node| graph.node(node)).filter(|node| has_channels_last(node.op())) {
        rewrite.node(node).map_err(|error| fault(&error))?;
    }
    let edit = rewrite.finish().map_err(|error| fault(&error))?;
    let mut copy = graph.clone();
    copy.apply(edit).map_err(|error| fault(&error))?;
    Ok(Cow::Owned(copy))
}

fn has_channels_last(op: &Op) -> bool {
    layout_of(op).is_some_and(|(layout, _)| layout == DataLayout::Nhwc)
}

struct Rewrite<'g> {
    patch: Patch<'g>,
    /// What stands for results of nodes that were rewritten.
    new: FxHashMap<ValueId, ValueId>,
}

impl Rewrite<'_> {
    fn node(&mut self, node: NodeRef<'_>) -> Result<(), AddError> {
        let Some((_, roles)) = layout_of(node.op()) else { return Ok(()) };
        self.patch.on_behalf_of(node.id());
        let mut operands: Vec<Option<ValueId>> = Vec::with_capacity(node.operands().len());
        for (index, operand) in node.operands().enumerate() {
            let role = roles.operands.iter().find(|(number, _)| *number == index).map(|(_, role)| *role);
            operands.push(match (operand, role) {
                (Some(operand), Some(role)) => Some(self.operand(operand.id(), role)?),
                (operand, _) => operand.map(|operand| self.current(operand.id())),
            });
        }
        let first = self.patch.add(with_layout(node.op().clone(), DataLayout::Nchw), &operands)?;
        let results: Vec<ValueId> = self.patch.results(first).to_vec();
        for (index, (old, first)) in node.results().zip(results).enumerate() {
            let is_features = index < roles.results;
            let order = Role::Features.channels_last(old.ty().rank());
            let new = if is_features { self.transpose(first, &order)? } else { first };
            self.new.insert(old.id(), new);
        }
        Ok(())
    }

    fn current(&self, value: ValueId) -> ValueId {
        self.new.get(&value).copied().unwrap_or(value)
    }

    /// `value` with channels first.
    fn operand(&mut self, value: ValueId, role: Role) -> Result<ValueId, AddError> {
        let view = self.patch.graph().value(value);
        let order = role.channels_first(view.ty().rank());
        if let Some(dequantized) = self.dequantized(view.producer(), &order)? {
            return Ok(dequantized);
        }
        let Some(weight) = view.weight() else { return self.transpose(self.current(value), &order) };
        if let Some(original) = self.untransposed(weight, &order) {
            return self.patch.add_weight(original);
        }
        self.patch.add_recipe(transpose(&order), &[Some(value)])
    }

    /// What `reader` reads, with axes in this order before it is read; `None` where it is not a kernel that is stored, or has its
    /// scales in blocks.
    fn dequantized(&mut self, reader: NodeRef<'_>, order: &[usize]) -> Result<Option<ValueId>, AddError> {
        let Some(op) = reader.is::<DequantizeLinear>() else { return Ok(None) };
        let stored = reader.operands().next().flatten();
        let Some(stored) = stored.filter(|stored| op.block_size == 0 && is_given(*stored)) else {
            return Ok(None);
        };
        let axis = if op.axis < 0 { op.axis + order.len() as i64 } else { op.axis };
        let Some(moved) = order.iter().position(|from| *from as i64 == axis) else { return Ok(None) };
        let has_one_scale = reader.operand("x_scale").is_none_or(|scale| scale.ty().rank() == 0);
        let axis = if has_one_scale { op.axis } else { moved as i64 };
        let first = match stored.weight() {
            Some(_) => self.patch.add_recipe(transpose(order), &[Some(stored.id())])?,
            None => self.transpose(stored.id(), order)?,
        };
        let parameters = reader.operands().skip(1).map(|operand| operand.map(ValueRef::id));
        let operands: Vec<Option<ValueId>> = [Some(first)].into_iter().chain(parameters).collect();
        let node = self.patch.add(DequantizeLinear { axis, ..op.clone() }, &operands)?;
        Ok(self.patch.results(node).first().copied())
    }

    fn transpose(&mut self, value: ValueId, order: &[usize]) -> Result<ValueId, AddError> {
        self.patch.add_value(transpose(order), &[value])
    }

    /// The weight that `weight` is a transpose of, when `order` undoes that.
    fn untransposed(&self, weight: WeightId, order: &[usize]) -> Option<WeightId> {
        let Source::Recipe { op: Op::Transpose(transpose), from } = self.patch.weights().source(weight)
        else {
            return None;
        };
        let perm = transpose.perm.as_ref()?;
        let undone = order.iter().enumerate().all(|(axis, from)| perm[*from] == axis as i64);
        from.first().copied().flatten().filter(|_| undone)
    }

    fn finish(mut self) -> Result<quad_ir::graph::Edit, PatchError> {
        let mut new: Vec<(ValueId, ValueId)> = self.new.into_iter().collect();
        new.sort_unstable();
        for (old, new) in new {
            self.patch.replace(old, new)?;
        }
        self.patch.erase_unread();
        self.patch.finish()
    }
}

/// Whether `value` is stored with the model, or given to it.
fn is_given(value: ValueRef<'_>) -> bool {
    value.weight().is_some() || value.producer().is::<Input>().is_some()
}

fn transpose(order: &[usize]) -> Transpose {
    Transpose { perm: Some(order.iter().map(|axis| *axis as i64).collect()) }
}
