//! Moves what depends on the adapter alone out of each run: into the graph `@pack`, which runs once when an adapter is
//! chosen.
//!
//! What constant folding is to the time when a model is built, this is to the time when an adapter is chosen. Transposes,
//! scaling, casts, slices for attention heads and quantization of an adapter's tensors all move, whichever pass put them
//! there. What is left are slots: inputs of the graph that `@pack` fills. `@pack` is made where there is none, and added
//! to where there is one.
//!
//! A value that is at least twice as large as what it is made of, such as an expanded or a dequantized one, is made in
//! each run, so that slots stay small; products of factors are not, since they are worth the space. What depends on
//! constants alone is left to constant folding, and copied where `@pack` needs it.
//!
//! A slot is named after the adapter's tensor that it is made of, the one with as many elements or else the largest:
//! `fc.lora_A` holds the same numbers as the tensor of that name, perhaps in another order. Where several slots are made of
//! one tensor, they are `fc.lora_A.0`, `fc.lora_A.1`, ...
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[5, 3], %fc.lora_A: f32[2, 3] adapter, %fc.lora_B: f32[4, 2] adapter, %fc.lora_scale: f32[2] adapter) {
//!   %0 = transpose(%fc.lora_A) {perm = [1, 0]} : f32[3, 2]
//!   %1 = mul(%fc.lora_B, %fc.lora_scale) : f32[4, 2]
//!   %2 = transpose(%1) {perm = [1, 0]} : f32[2, 4]
//!   %3 = matmul(%x, %0) : f32[5, 2]
//!   %y = matmul(%3, %2) : f32[5, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[5, 3], %fc.lora_A: f32[3, 2] adapter, %fc.lora_B: f32[2, 4] adapter) {
//!   %0 = matmul(%x, %fc.lora_A) : f32[5, 2]
//!   %y = matmul(%0, %fc.lora_B) : f32[5, 4]
//!   return "y" = %y
//! }
//!
//! graph @pack(%fc.lora_A: f32[2, 3] adapter, %fc.lora_B: f32[4, 2] adapter, %fc.lora_scale: f32[2] adapter) {
//!   %0 = transpose(%fc.lora_A) {perm = [1, 0]} : f32[3, 2]
//!   %1 = mul(%fc.lora_B, %fc.lora_scale) : f32[4, 2]
//!   %2 = transpose(%1) {perm = [1, 0]} : f32[2, 4]
//!   return "fc.lora_A" = %0, "fc.lora_B" = %2
//! }
//! ```

mod cut;
mod names;
mod pack;

use quad_ir::graph::{Graph, Patch, ValueId, ValueRef};
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use rustc_hash::FxHashSet;

use super::interface::adapter_inputs;
use crate::check::PACK;
use crate::context::{Context, Place};
use crate::pass::{Pass, PassError, PassInfo};
use cut::Cut;
use pack::Pack;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct HoistAdapter;

const INFO: PassInfo = PassInfo { name: "hoist-adapter", source: include_str!("hoist.rs") };

/// What the graph that runs is called beside `@pack`.
const MAIN: &str = "main";

impl Pass for HoistAdapter {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, _graph: &mut Graph, _cx: &mut Context) -> Result<(), PassError> {
        // A graph by itself has no place to move anything to.
        Ok(())
    }

    fn run_module(&self, module: &mut Module, cx: &mut Context) -> Result<(), PassError> {
        let existing = module.graphs.iter().position(|graph| &**graph.name() == PACK);
        let Some(at) =
            module.main().and_then(|main| module.graphs.iter().position(|it| it.name() == main.name()))
        else {
            return Ok(());
        };
        let main = &module.graphs[at];
        let Some(first) = adapter_inputs(main).next() else { return Ok(()) };
        let place = Place::of(first.producer());
        let cut = Cut::of(main);
        if existing.is_some_and(|pack| is_done(main, &cut, &module.graphs[pack])) {
            return Ok(());
        }
        let pack = Pack::build(existing.map(|at| &module.graphs[at]), main, &cut, &place, cx)?;
        let Some(Pack { graph, slots }) = pack else { return Ok(()) };
        let main = &mut module.graphs[at];
        if !rewire(main, &cut, &slots, place, cx)? {
            return Ok(());
        }
        if let Some(existing) = existing {
            module.graphs[existing] = graph;
        } else {
            main.rename(MAIN);
            module.graphs.push(graph);
        }
        Ok(())
    }
}

/// Whether every input of `main` that depends on an adapter is a slot that `pack` fills, and nothing is left to move.
fn is_done(main: &Graph, cut: &Cut, pack: &Graph) -> bool {
    let filled: FxHashSet<&str> = pack.outputs().iter().map(|output| &*output.name).collect();
    let slots: FxHashSet<ValueId> = cut.slots.iter().copied().collect();
    let is_slot = |input: ValueRef<'_>| {
        slots.contains(&input.id()) && input.name().is_some_and(|name| filled.contains(&**name))
    };
    adapter_inputs(main).all(is_slot) && slots.len() == filled.len() && cut.moved.is_empty()
}

/// Lets `main` read `slots` in place of what they hold, and erases what made that. Whether there was fuel for it.
fn rewire(
    main: &mut Graph,
    cut: &Cut,
    slots: &[(ValueId, String)],
    place: Place,
    cx: &mut Context,
) -> Result<bool, PassError> {
    let mut patch = Patch::new(main, INFO.name);
    let inputs: FxHashSet<ValueId> = adapter_inputs(main).map(ValueRef::id).collect();
    let mut kept = FxHashSet::default();
    for (slot, name) in slots {
        let named = main.find(name);
        if named.is_some_and(|named| named.id() == *slot && inputs.contains(slot)) {
            kept.insert(*slot);
            continue;
        }
        if named.is_some_and(|named| !inputs.contains(&named.id())) {
            let found = format!("a slot is to be called %{name}, which is the name of another value");
            return Err(PassError::Refused(found));
        }
        let input = patch.add_input(name, main.value(*slot).ty().clone(), Binding::Adapter)?;
        patch.replace(*slot, input)?;
    }
    for input in adapter_inputs(main).filter(|input| !kept.contains(&input.id())) {
        patch.erase(input.producer().id())?;
    }
    for node in &cut.moved {
        patch.erase(*node)?;
    }
    patch.erase_unread();
    let edit = patch.finish()?;
    // Every tensor of the adapter may be a slot as it is.
    Ok(edit.is_empty() || cx.apply(main, edit, INFO.name, place)?)
}

#[cfg(test)]
mod tests;
