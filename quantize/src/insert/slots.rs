//! Slots: inputs that an adapter fills take stored numbers, and `@pack` makes them.

use quad_ir::graph::{Graph, Output, Patch, ValueId};
use quad_ir::module::Module;
use quad_ir::ops::Clip;
use quad_ir::ops::source::Binding;
use quad_ir::types::TensorType;
use quad_passes::context::{Context, Place};
use quad_passes::emit::Emit;
use quad_passes::pass::PassError;

use super::parameters::{Parameters, limits};
use super::plan::Target;
const RULE: &str = "quantize-slots";

/// Quantizes the slots `targets` of the graph at `main`, which the graph at `pack` fills: both graphs or none.
pub(super) fn insert(
    module: &mut Module,
    main: usize,
    pack: usize,
    targets: &[Target],
    cx: &mut Context,
) -> Result<(), PassError> {
    let Some(first) = targets.first() else { return Ok(()) };
    let place = Place::of(module.graphs[main].value(first.value).producer());
    let Some(filling) = fill(&module.graphs[pack], targets, &place, cx)? else { return Ok(()) };
    if take(&mut module.graphs[main], targets, place, cx)? {
        module.graphs[pack] = filling;
    }
    Ok(())
}

/// `pack` with what stores its outputs; `None` without fuel.
fn fill(
    pack: &Graph,
    targets: &[Target],
    place: &Place,
    cx: &mut Context,
) -> Result<Option<Graph>, PassError> {
    let mut graph = pack.clone();
    let mut patch = Patch::new(pack, RULE);
    let mut outputs: Vec<Output> = pack.outputs().to_vec();
    for output in &mut outputs {
        if let Some(target) = targets.iter().find(|target| *target.name == *output.name) {
            output.value = store(&mut patch, output.value, target)?;
        }
    }
    let edit = patch.finish()?;
    // The copy is what the patch was made for, and values have in it the ids that they had in the patch.
    if !cx.apply(&mut graph, edit, RULE, place.clone())? {
        return Ok(None);
    }
    graph.set_outputs(outputs).map_err(|error| PassError::Refused(error.to_string()))?;
    Ok(Some(graph))
}

/// The stored numbers of `value`, of which none is beyond the smallest that the encoding uses.
fn store(patch: &mut Patch<'_>, value: ValueId, target: &Target) -> Result<ValueId, PassError> {
    let ty = patch.graph().value(value).ty();
    let parameters = Parameters::add(patch, &target.wanted.encoding, ty, &target.name)?;
    let stored = parameters.quantize(patch, value)?;
    let limits = limits(&target.wanted)?;
    if limits.iter().all(Option::is_none) {
        return Ok(stored);
    }
    let mut operands = vec![Some(stored)];
    for limit in &limits {
        operands.push(limit.as_ref().map(|limit| patch.add_constant(limit)).transpose()?);
    }
    Ok(patch.op(Clip, &operands)?)
}

/// Lets `main` take stored numbers. Whether there was fuel for it.
fn take(main: &mut Graph, targets: &[Target], place: Place, cx: &mut Context) -> Result<bool, PassError> {
    let mut patch = Patch::new(main, RULE);
    for target in targets {
        let slot = main.value(target.value);
        patch.on_behalf_of(slot.producer().id());
        let ty = TensorType::new(target.wanted.encoding.stored, slot.ty().shape.clone());
        let input = patch.add_input(&target.name, ty, Binding::Adapter)?;
        let parameters = Parameters::add(&mut patch, &target.wanted.encoding, slot.ty(), &target.name)?;
        let real = parameters.dequantize(&mut patch, input, slot.ty().dtype)?;
        patch.set_name(real, &format!("{}.dq", target.name));
        patch.replace(target.value, real)?;
        patch.erase(slot.producer().id())?;
    }
    let edit = patch.finish()?;
    cx.apply(main, edit, RULE, place)
}
