//! Building a quantized graph anew in its other form.

use quad_ir::graph::{Edit, Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Input, Weight};
use quad_ir::types::TensorType;
use rustc_hash::FxHashMap;

use crate::pass::PassError;

/// A graph that is being built anew, with what has become of each value that it had.
pub(super) struct Copy<'g> {
    pub(super) graph: &'g Graph,
    pub(super) patch: Patch<'g>,
    /// The copies, of the type that the value had.
    pub(super) plain: FxHashMap<ValueId, ValueId>,
    /// The copies that have or had an encoding: see those who fill it.
    pub(super) other: FxHashMap<ValueId, ValueId>,
}

impl<'g> Copy<'g> {
    pub(super) fn new(graph: &'g Graph, rule: &'static str) -> Self {
        Self {
            graph,
            patch: Patch::new(graph, rule),
            plain: FxHashMap::default(),
            other: FxHashMap::default(),
        }
    }

    /// Adds an input like `input`, of type `ty`.
    pub(super) fn input(&mut self, input: ValueRef<'_>, ty: TensorType) -> Result<ValueId, PassError> {
        let binding = input.producer().is::<Input>().map(|input| input.binding).unwrap_or_default();
        Ok(self.patch.add_input(input.name().map_or("", |name| &**name), ty, binding)?)
    }

    /// The copy of a value that has one, or that is a constant: constants are copied when they are first read.
    pub(super) fn constant(&mut self, value: ValueRef<'_>) -> Result<Option<ValueId>, PassError> {
        if let Some(copy) = self.plain.get(&value.id()) {
            return Ok(Some(*copy));
        }
        let Some(weight) = value.producer().is::<Weight>() else { return Ok(None) };
        let node = self.patch.add(weight.clone(), &[])?;
        self.patch.set_loc(node, value.producer().loc().clone());
        let copy = self.patch.results(node)[0];
        self.name(copy, value);
        self.plain.insert(value.id(), copy);
        Ok(Some(copy))
    }

    /// Gives `new` the name of `old`, if it has one.
    pub(super) fn name(&mut self, new: ValueId, old: ValueRef<'_>) {
        if let Some(name) = old.name() {
            self.patch.set_name(new, name);
        }
    }

    /// Erases the graph as it was; `outputs` are what its outputs are now.
    pub(super) fn finish(mut self, outputs: &[(ValueId, ValueId)]) -> Result<Edit, PassError> {
        for node in self.graph.nodes().map(NodeRef::id) {
            self.patch.erase(node)?;
        }
        for (old, new) in outputs {
            self.patch.replace_stored(*old, *new)?;
        }
        Ok(self.patch.finish()?)
    }
}
