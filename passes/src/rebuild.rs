//! Building a graph anew from its inputs, for passes that change every type.

use quad_ir::graph::{Edit, Graph, NodeRef, Patch, ValueId};
use quad_ir::ops::Input;
use quad_ir::types::TensorType;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::pass::PassError;

/// Operands of the copy of a node.
pub(crate) type Operands = SmallVec<[Option<ValueId>; 4]>;

/// What becomes of the parts of a graph when it is built anew. Everything else is copied.
pub(crate) trait Rebuild {
    /// The type of the copy of an input.
    fn input(&self, ty: &TensorType) -> TensorType {
        ty.clone()
    }

    /// What nodes read in place of the copy `new` of an input.
    fn read_input(&self, new: ValueId, _patch: &mut Patch<'_>) -> Result<ValueId, PassError> {
        Ok(new)
    }

    /// The copy of `node`: its results, as many as `node` has.
    fn node(
        &self,
        node: NodeRef<'_>,
        operands: &[Option<ValueId>],
        patch: &mut Patch<'_>,
    ) -> Result<SmallVec<[ValueId; 1]>, PassError> {
        let copy = patch.add_like(node, operands)?;
        patch.set_loc(copy, node.loc().clone());
        Ok(patch.results(copy).iter().copied().collect())
    }

    /// What stands for an output that was `old` and is now computed as `new`.
    fn output(&self, _old: &TensorType, new: ValueId, _patch: &mut Patch<'_>) -> Result<ValueId, PassError> {
        Ok(new)
    }
}

/// The change that puts a copy of every node in place of it. Names, order of inputs and origins stay.
pub(crate) fn rebuild(graph: &Graph, rule: &'static str, how: &dyn Rebuild) -> Result<Edit, PassError> {
    let mut patch = Patch::new(graph, rule);
    let mut copies: FxHashMap<ValueId, ValueId> = FxHashMap::default();
    for input in graph.inputs() {
        let Some(op) = input.producer().is::<Input>() else { continue };
        let name = input.name().map_or("", |name| &**name);
        let new = patch.add_input(name, how.input(&op.ty), op.binding)?;
        copies.insert(input.id(), how.read_input(new, &mut patch)?);
    }
    for node in graph.topo() {
        let node = graph.node(node);
        if node.is::<Input>().is_none() {
            let copy =
                |operand: Option<quad_ir::graph::ValueRef<'_>>| operand.map(|value| copies[&value.id()]);
            let operands: Operands = node.operands().map(copy).collect();
            let results = how.node(node, &operands, &mut patch)?;
            for (old, new) in node.results().zip(results) {
                copies.insert(old.id(), new);
                if let Some(name) = old.name() {
                    patch.set_name(new, name);
                }
            }
        }
        patch.erase(node.id())?;
    }
    let mut replaced = Vec::new();
    for output in graph.outputs() {
        if !replaced.contains(&output.value) {
            replaced.push(output.value);
            let old = graph.value(output.value).ty();
            let new = how.output(old, copies[&output.value], &mut patch)?;
            patch.replace(output.value, new)?;
        }
    }
    Ok(patch.finish()?)
}
