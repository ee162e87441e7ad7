//! A checked change of a graph, and making it.

use std::collections::BTreeSet;

use super::patch::{Patch, PatchError};
use super::{Graph, NodeData, NodeId, Revision, ValueData, ValueId};
use crate::loc::{Loc, Name};
use crate::ops::{Input, OpVariant};
use crate::types::SymTable;
use crate::weights::Weights;

/// A change that [`Graph::apply`] can make: the result of [`Patch::finish`].
#[derive(Clone, Debug)]
pub struct Edit {
    revision: Revision,
    nodes: Vec<NodeData>,
    values: Vec<ValueData>,
    inputs: Vec<NodeId>,
    names: Vec<(ValueId, Name)>,
    /// `None` where the patch added none.
    weights: Option<Weights>,
    symbols: Option<SymTable>,
    replaced: Vec<(ValueId, ValueId)>,
    erased: BTreeSet<NodeId>,
    known_elements: usize,
}

/// The graph was changed after the patch was begun, or is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the graph is not the one that the edit was made for, or was changed since")]
pub struct StaleEdit;

impl Edit {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.replaced.is_empty() && self.erased.is_empty() && self.names.is_empty()
    }

    /// How many nodes are added.
    pub fn n_added(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes that go away, in order.
    pub fn erased(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.erased.iter().copied()
    }

    /// The values that are replaced, with what replaces them.
    pub fn replaced(&self) -> &[(ValueId, ValueId)] {
        &self.replaced
    }

    /// Whether a quantized value of `graph`, for which the edit was made, is read or replaced, or goes away.
    pub fn touches_quantized(&self, graph: &Graph) -> bool {
        let touched = |node: NodeId| graph.node(node).touches_quantized();
        let producer = |(old, _): &(ValueId, ValueId)| graph.value(*old).producer().id();
        let read = |value: &ValueId| graph.values.get(*value).is_some_and(|data| data.ty.quant.is_some());
        self.erased.iter().copied().chain(self.replaced.iter().map(producer)).any(touched)
            || self.nodes.iter().flat_map(|node| node.operands.iter().flatten()).any(read)
    }

    /// Checks what only the whole patch shows.
    pub(super) fn check(patch: Patch<'_>) -> Result<Self, PatchError> {
        check_erased(&patch)?;
        check_names(&patch)?;
        super::cycle::check(&patch)?;
        let loc = origin(&patch);
        let mut nodes = patch.nodes;
        for node in nodes.iter_mut().filter(|node| node.loc == Loc::Built) {
            node.loc = loc.clone();
        }
        Ok(Self {
            revision: patch.graph.revision,
            nodes,
            values: patch.values,
            inputs: patch.inputs,
            names: patch.names,
            weights: owned(patch.weights),
            symbols: owned(patch.symbols),
            replaced: patch.replaced.into_iter().collect(),
            erased: patch.erased,
            known_elements: patch.known_elements,
        })
    }
}

impl Graph {
    /// Makes the change. Fails, without a change, when the graph was changed after the patch was begun.
    pub fn apply(&mut self, edit: Edit) -> Result<(), StaleEdit> {
        if self.revision != edit.revision {
            return Err(StaleEdit);
        }
        self.revision = Revision::next();
        self.known_elements = edit.known_elements;
        if let Some(weights) = edit.weights {
            self.weights = weights;
        }
        if let Some(symbols) = edit.symbols {
            self.symbols = symbols;
        }
        let moved = self.names_to_move(&edit.replaced, &edit.erased, &edit.names);
        let redirects = self.redirects(&edit.replaced);
        self.append(edit.nodes, edit.values);
        self.inputs.extend(edit.inputs);
        for (node, operand, new) in redirects {
            self.redirect(node, operand, new);
        }
        for output in &mut self.outputs {
            if let Ok(at) = edit.replaced.binary_search_by_key(&output.value, |(old, _)| *old) {
                output.value = edit.replaced[at].1;
            }
        }
        for node in edit.erased {
            self.erase(node);
        }
        for (value, name) in edit.names {
            self.set_name(value, &name);
        }
        for (value, name) in moved {
            if self.values[value].name.is_none() {
                self.set_name(value, &name);
            }
        }
        Ok(())
    }

    /// Takes the names off replaced values whose replacement will have them.
    fn names_to_move(
        &mut self,
        replaced: &[(ValueId, ValueId)],
        erased: &BTreeSet<NodeId>,
        given: &[(ValueId, Name)],
    ) -> Vec<(ValueId, Name)> {
        let mut moved = Vec::new();
        for (old, new) in replaced {
            let producer = self.values[*old].producer;
            let stays_input = Input::of(&self.data(producer).op).is_some() && !erased.contains(&producer);
            let named = self.values.get(*new).is_some_and(|data| data.name.is_some())
                || given.iter().any(|(value, _)| value == new);
            if stays_input || named {
                continue;
            }
            if let Some(name) = self.values[*old].name.clone() {
                self.forget_name(*old);
                moved.push((*new, name));
            }
        }
        moved
    }

    /// The operands that change: those of nodes that are there before the patch's own.
    fn redirects(&self, replaced: &[(ValueId, ValueId)]) -> Vec<(NodeId, usize, ValueId)> {
        let uses = |old: ValueId| self.topology.uses(self.values[old].producer, old);
        let redirects = replaced
            .iter()
            .flat_map(|(old, new)| uses(*old).into_iter().map(|read| (read.reader, read.operand, *new)));
        redirects.collect()
    }

    fn append(&mut self, nodes: Vec<NodeData>, values: Vec<ValueData>) {
        for value in values {
            self.values.push(value);
        }
        for data in nodes {
            let node = self.nodes.next_id();
            self.topology.add(node);
            for (operand, value) in data.operands.iter().enumerate() {
                if let Some(value) = *value {
                    self.topology.connect(self.values[value].producer, node, value, operand);
                }
            }
            self.nodes.push(Some(data));
        }
    }

    fn redirect(&mut self, node: NodeId, operand: usize, new: ValueId) {
        let Some(data) = self.nodes[node].as_mut() else { return };
        let Some(slot) = data.operands.get_mut(operand) else { return };
        if let Some(old) = slot.replace(new) {
            self.topology.disconnect(self.values[old].producer, node, operand);
        }
        self.topology.connect(self.values[new].producer, node, new, operand);
    }

    fn erase(&mut self, node: NodeId) {
        let Some(data) = self.nodes[node].take() else { return };
        for value in data.results {
            self.forget_name(value);
            let known = self.values[value].known.take();
            self.known_elements -= known.map_or(0, |known| known.len()).min(self.known_elements);
        }
        self.topology.remove(node);
        if Input::of(&data.op).is_some() {
            self.inputs.retain(|input| *input != node);
        }
    }
}

fn owned<T: Clone>(value: std::borrow::Cow<'_, T>) -> Option<T> {
    match value {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(value) => Some(value),
    }
}

/// Where the patch's nodes came from: what they replace and what went away.
fn origin(patch: &Patch<'_>) -> Loc {
    let replaced = patch.replaced.keys().map(|old| patch.graph.values[*old].producer);
    let nodes = replaced.chain(patch.erased.iter().copied());
    Loc::rewritten(patch.rule, nodes.map(|node| &patch.graph.data(node).loc))
}

/// Nothing may read a value of an erased node.
fn check_erased(patch: &Patch<'_>) -> Result<(), PatchError> {
    let still_read = |value: ValueId, reader: String| {
        Err(PatchError::StillRead { rule: patch.rule, value: patch.describe(value), reader })
    };
    let gone = |value: ValueId| patch.data(value).is_some_and(|data| patch.erased.contains(&data.producer));
    for node in &patch.nodes {
        if let Some(value) = node.operands.iter().flatten().find(|value| gone(**value)) {
            return still_read(*value, format!("a new `{}`", node.op.def().name()));
        }
    }
    for old in patch.restored.iter().map(|old| patch.graph.value(*old)) {
        if let Some((reader, _)) = old.readers().find(|(reader, _)| !patch.erased.contains(&reader.id())) {
            let name = reader.op().def().name();
            return still_read(
                old.id(),
                format!("`{name}`, {} ({}), as it was stored", reader.id(), reader.loc()),
            );
        }
    }
    if let Some((old, new)) = patch.replaced.iter().find(|(_, new)| gone(**new)) {
        return still_read(*new, format!("the readers of {}, which it replaces", patch.describe(*old)));
    }
    let results = patch.erased.iter().flat_map(|node| patch.graph.node(*node).results());
    for value in results.filter(|value| !patch.replaced.contains_key(&value.id())) {
        if let Some((reader, _)) = value.readers().find(|(reader, _)| !patch.erased.contains(&reader.id())) {
            let name = reader.op().def().name();
            return still_read(value.id(), format!("`{name}`, {} ({})", reader.id(), reader.loc()));
        }
        if let Some(output) = patch.graph.outputs.iter().find(|output| output.value == value.id()) {
            return still_read(value.id(), format!("output `{}`", output.name));
        }
    }
    Ok(())
}

/// Only values that will be there have names.
fn check_names(patch: &Patch<'_>) -> Result<(), PatchError> {
    let lives = |value: ValueId| patch.data(value).is_some_and(|data| !patch.erased.contains(&data.producer));
    match patch.names.iter().find(|(value, _)| !lives(*value)) {
        Some((value, _)) => Err(PatchError::NoSuchValue { rule: patch.rule, value: *value }),
        None => Ok(()),
    }
}
