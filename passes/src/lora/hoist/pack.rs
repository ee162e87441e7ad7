//! The graph `@pack`: made, or added to, so that it fills the slots of a cut.

use quad_ir::graph::{Graph, NodeId, NodeRef, Output, Patch, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Input, Weight};
use quad_ir::weights::{Source, WeightError, WeightId, Weights};
use rustc_hash::{FxHashMap, FxHashSet};

use super::cut::Cut;
use super::{INFO, names};
use crate::check::PACK;
use crate::context::{Context, Place};
use crate::lora::interface::adapter_inputs;
use crate::pass::PassError;

/// `@pack`, and what it fills.
pub(super) struct Pack {
    pub(super) graph: Graph,
    /// The slots by their values in the graph that runs, in the order of the tensors that they are called after.
    pub(super) slots: Vec<(ValueId, String)>,
}

impl Pack {
    /// What fills the slots of `cut`, which is one of `main`; made of what `existing` fills, where that is there. `None`
    /// without fuel.
    pub(super) fn build(
        existing: Option<&Graph>,
        main: &Graph,
        cut: &Cut,
        place: &Place,
        cx: &mut Context,
    ) -> Result<Option<Self>, PassError> {
        let mut graph = existing.cloned().unwrap_or_else(|| Graph::new(PACK));
        let mut patch = Patch::new(&graph, INFO.name);
        let mut values = inputs(&mut patch, main)?;
        copy(&mut patch, main, cut, &mut values)?;
        let edit = patch.finish()?;
        if !edit.is_empty() && !cx.apply(&mut graph, edit, INFO.name, place.clone())? {
            return Ok(None);
        }
        let filled: Vec<ValueId> = cut.slots.iter().map(|slot| values[slot]).collect();
        let mut slots: Vec<_> = cut.slots.iter().zip(names::of(&graph, &filled)).collect();
        slots.sort_by_key(|(_, name)| name.origin);
        let output = |slot: &ValueId, name: &str| Output { name: name.into(), value: values[slot] };
        let outputs = slots.iter().map(|(slot, name)| output(slot, &name.name)).collect();
        let slots = slots.into_iter().map(|(slot, name)| (*slot, name.name)).collect();
        graph.set_outputs(outputs).map_err(|error| PassError::Refused(error.to_string()))?;
        let mut patch = Patch::new(&graph, INFO.name);
        patch.erase_dead();
        let edit = patch.finish()?;
        cx.apply(&mut graph, edit, INFO.name, place.clone())?;
        Ok(Some(Self { graph, slots }))
    }
}

/// The values of `@pack` that inputs of `main` are: slots that it fills already, or else new inputs.
fn inputs(patch: &mut Patch<'_>, main: &Graph) -> Result<FxHashMap<ValueId, ValueId>, PassError> {
    let pack = patch.graph();
    let filled: FxHashMap<&str, ValueId> =
        pack.outputs().iter().map(|output| (&*output.name, output.value)).collect();
    let mut values = FxHashMap::default();
    for input in adapter_inputs(main) {
        let name = input.name().map_or("", |name| &**name);
        let value = match filled.get(name) {
            Some(value) => *value,
            None if pack.find(name).is_some() => {
                let found = format!(
                    "@pack has a value %{name} that fills no slot, and the graph that runs has an input of that name"
                );
                return Err(PassError::Refused(found));
            }
            None => patch.add_input(name, input.ty().clone(), Binding::Adapter)?,
        };
        values.insert(input.id(), value);
    }
    Ok(values)
}

/// Copies what the slots of `cut` are made of.
fn copy(
    patch: &mut Patch<'_>,
    main: &Graph,
    cut: &Cut,
    values: &mut FxHashMap<ValueId, ValueId>,
) -> Result<(), PassError> {
    let needed = needed(main, cut);
    let mut weights = FxHashMap::default();
    for node in main.topo().into_iter().filter(|node| needed.contains(node)).map(|node| main.node(node)) {
        if node.is::<Input>().is_some() {
            continue;
        }
        let copy = match node.is::<Weight>() {
            Some(weight) => {
                let id = import(main.weights(), weight.id, patch.weights_mut(), &mut weights)?;
                let ty = weight.ty.clone();
                patch.add(Weight { id, ty }, &[])?
            }
            None => patch.add_like(node, &operands(node, values))?,
        };
        let results: Vec<ValueId> = patch.results(copy).to_vec();
        values.extend(node.results().map(ValueRef::id).zip(results));
    }
    Ok(())
}

fn operands(node: NodeRef<'_>, values: &FxHashMap<ValueId, ValueId>) -> Vec<Option<ValueId>> {
    node.operands().map(|operand| operand.and_then(|operand| values.get(&operand.id()).copied())).collect()
}

/// The nodes that the slots depend on.
fn needed(main: &Graph, cut: &Cut) -> FxHashSet<NodeId> {
    let mut needed = FxHashSet::default();
    let mut waiting: Vec<NodeId> = cut.slots.iter().map(|slot| main.value(*slot).producer().id()).collect();
    while let Some(node) = waiting.pop() {
        if needed.insert(node) {
            waiting.extend(main.node(node).operands().flatten().map(|operand| operand.producer().id()));
        }
    }
    needed
}

/// The weight `id` of `from` in `into`, where it is added unless `done` says that it is there. No bytes are copied.
fn import(
    from: &Weights,
    id: WeightId,
    into: &mut Weights,
    done: &mut FxHashMap<WeightId, WeightId>,
) -> Result<WeightId, WeightError> {
    if let Some(there) = done.get(&id) {
        return Ok(*there);
    }
    let ty = from.ty(id).cloned().ok_or(WeightError::Type { ty: id.to_string() })?;
    let there = match from.source(id) {
        Source::Memory(bytes) => into.add_memory(ty, bytes.clone())?,
        Source::File { file, range } => into.add_file(ty, file.clone(), range.clone())?,
        Source::Recipe { op, from: operands } => {
            let mut copy =
                |operand: &Option<WeightId>| operand.map(|id| import(from, id, into, done)).transpose();
            let operands: Vec<Option<WeightId>> = operands.iter().map(&mut copy).collect::<Result<_, _>>()?;
            into.add_recipe(ty, op.clone(), &operands)?
        }
    };
    done.insert(id, there);
    Ok(there)
}
