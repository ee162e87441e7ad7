//! Copies of a graph with some values replaced, some outputs left out, and some sizes smaller.

use quad_ir::graph::{AddError, Graph, NodeId, Output, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, Op, OpVariant, Weight};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, TensorType};
use rustc_hash::{FxHashMap, FxHashSet};

use super::shrink;

/// What a copy has in place of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instead {
    /// An input of its type.
    Input,
    /// Another value of the same type, which does not depend on it.
    Value(ValueId),
}

/// What a copy of a graph is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan<'g> {
    pub(super) graph: &'g Graph,
    /// The outputs that it has, as values of the graph.
    pub(super) outputs: Vec<Output>,
    /// What it has in place of values.
    pub(super) instead: FxHashMap<ValueId, Instead>,
    /// A size, and what it becomes wherever it occurs.
    pub(super) resize: Option<(u64, u64)>,
    /// Constants with other elements.
    pub(super) constants: FxHashMap<ValueId, Tensor>,
}

impl<'g> Plan<'g> {
    /// A plan that changes nothing.
    pub(super) fn of(graph: &'g Graph) -> Self {
        let outputs = graph.outputs().to_vec();
        let (instead, constants) = (FxHashMap::default(), FxHashMap::default());
        Self { graph, outputs, instead, resize: None, constants }
    }

    /// The copy, of which only what outputs depend on is there; `None` when a type rule refuses something.
    pub(super) fn build(&self) -> Option<Graph> {
        let needed = self.needed();
        let mut copy = Graph::new(self.graph.name().clone());
        *copy.symbols_mut() = self.graph.symbols().clone();
        *copy.weights_mut() = self.graph.weights().clone();
        let mut copies: FxHashMap<ValueId, ValueId> = FxHashMap::default();
        // Callers know inputs by their order.
        let inputs = self.graph.inputs().map(|input| input.producer().id());
        let order: Vec<NodeId> = inputs.chain(self.graph.topo()).collect();
        for node in order {
            self.copy_node(&mut copy, node, &needed, &mut copies)?;
        }
        let value = |value: ValueId| copies.get(&self.resolved(value)).copied();
        let outputs = self.outputs.iter();
        let outputs: Option<Vec<Output>> =
            outputs.map(|output| Some(Output { value: value(output.value)?, ..output.clone() })).collect();
        copy.set_outputs(outputs?).ok()?;
        Some(copy)
    }

    /// What stands for `value`, which may itself be replaced.
    fn resolved(&self, mut value: ValueId) -> ValueId {
        while let Some(Instead::Value(other)) = self.instead.get(&value) {
            value = *other;
        }
        value
    }

    /// The values that outputs depend on.
    fn needed(&self) -> FxHashSet<ValueId> {
        let mut needed = FxHashSet::default();
        let mut waiting: Vec<ValueId> =
            self.outputs.iter().map(|output| self.resolved(output.value)).collect();
        while let Some(value) = waiting.pop() {
            if needed.insert(value) && !self.instead.contains_key(&value) {
                let operands = self.graph.value(value).producer().operands().flatten();
                waiting.extend(operands.map(|operand| self.resolved(operand.id())));
            }
        }
        needed
    }

    /// Adds `node` to `copy` where its results are needed, and inputs for those that are replaced by some.
    fn copy_node(
        &self,
        copy: &mut Graph,
        node: NodeId,
        needed: &FxHashSet<ValueId>,
        copies: &mut FxHashMap<ValueId, ValueId>,
    ) -> Option<()> {
        let node = self.graph.node(node);
        let missing =
            |value: &ValueRef<'_>| needed.contains(&value.id()) && !copies.contains_key(&value.id());
        let wanted: Vec<ValueRef<'_>> = node.results().filter(missing).collect();
        for value in wanted.iter().filter(|value| self.instead.contains_key(&value.id())) {
            let name = value.name().map_or_else(|| value.id().to_string(), ToString::to_string);
            let ty = self.resized(value.ty());
            let added = copy.add_input(&name, ty, Binding::Run, node.loc().clone()).ok()?;
            copies.insert(value.id(), added);
        }
        if wanted.iter().all(|value| self.instead.contains_key(&value.id())) {
            return Some(());
        }
        let results = self.add(copy, node.id(), copies).ok()??;
        for (value, result) in node.results().zip(results) {
            if let Some(name) = value.name() {
                copy.set_name(result, name);
            }
            copies.entry(value.id()).or_insert(result);
        }
        Some(())
    }

    /// Adds a copy of `node`; `None` when an operand is not there.
    fn add(
        &self,
        copy: &mut Graph,
        node: NodeId,
        copies: &FxHashMap<ValueId, ValueId>,
    ) -> Result<Option<Vec<ValueId>>, AddError> {
        let node = self.graph.node(node);
        let loc = node.loc().clone();
        let result = node.result();
        if let Some(input) = Input::of(node.op()) {
            let name = result.name().map_or("", |name| &**name);
            let added = copy.add_input(name, self.resized(&input.ty), input.binding, loc)?;
            return Ok(Some(vec![added]));
        }
        if let Some(weight) = Weight::of(node.op())
            && let Some(tensor) = self.constant(result, weight)
        {
            return Ok(Some(vec![copy.add_constant(&tensor, loc)?]));
        }
        let mut operands = Vec::new();
        for operand in node.operands() {
            let Some(operand) = operand else {
                operands.push(None);
                continue;
            };
            let Some(value) = copies.get(&self.resolved(operand.id())) else { return Ok(None) };
            operands.push(Some(*value));
        }
        let op: Op = node.op().clone();
        let added = copy.add_stated(op, &operands, &node.stated(), loc)?;
        Ok(Some(copy.node(added).results().map(ValueRef::id).collect()))
    }

    /// The elements of a constant that are not those it has.
    fn constant(&self, value: ValueRef<'_>, weight: &Weight) -> Option<Tensor> {
        if let Some(tensor) = self.constants.get(&value.id()) {
            return Some(tensor.clone());
        }
        let (from, to) = self.resize?;
        shrink::resized(self.graph, weight, from, to)
    }

    fn resized(&self, ty: &TensorType) -> TensorType {
        let Some((from, to)) = self.resize else { return ty.clone() };
        let size = |dim: &Dim| if *dim == Dim::Known(from) { Dim::Known(to) } else { dim.clone() };
        TensorType { shape: ty.shape.iter().map(size).collect(), ..ty.clone() }
    }
}
