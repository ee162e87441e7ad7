//! Activations, weights and biases: what stands between a value and whoever reads it.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Patch, ValueId};
use quad_ir::ops::{Cast, Clip, Div, Op, Round};
use quad_ir::tensor::Tensor;
use quad_passes::context::{Context, Place};
use quad_passes::pass::PassError;

use super::parameters::{Parameters, limits};
use super::plan::{Plan, Target};

/// What puts a value's stored numbers into a patch and returns what stands for the value from then on.
type Insert = fn(&mut Patch<'_>, &Target) -> Result<ValueId, PassError>;

/// Quantizes what `plan` lists of `graph`, but for slots.
pub(super) fn insert(graph: &mut Graph, plan: &Plan, cx: &mut Context) -> Result<(), PassError> {
    let groups: [(&[Target], &'static str, Insert); 3] = [
        (&plan.weights, "quantize-weight", weight),
        (&plan.biases, "quantize-bias", bias),
        (&plan.activations, "quantize-activation", activation),
    ];
    for (targets, rule, insert) in groups {
        for target in targets {
            let place = Place::of(graph.value(target.value).producer());
            let mut patch = Patch::new(graph, rule);
            patch.on_behalf_of(graph.value(target.value).producer().id());
            let real = insert(&mut patch, target)?;
            patch.set_name(real, &format!("{}.dq", target.name));
            patch.replace(target.value, real)?;
            if rule != "quantize-activation" {
                patch.erase_unread();
            }
            let edit = patch.finish()?;
            cx.apply(graph, edit, rule, place)?;
        }
    }
    Ok(())
}

fn activation(patch: &mut Patch<'_>, target: &Target) -> Result<ValueId, PassError> {
    let ty = patch.graph().value(target.value).ty();
    let parameters = Parameters::add(patch, &target.wanted.encoding, ty, &target.name)?;
    let stored = parameters.quantize(patch, target.value)?;
    patch.set_name(stored, &format!("{}.q", target.name));
    Ok(parameters.dequantize(patch, stored, ty.dtype)?)
}

fn weight(patch: &mut Patch<'_>, target: &Target) -> Result<ValueId, PassError> {
    let ty = patch.graph().value(target.value).ty();
    let parameters = Parameters::add(patch, &target.wanted.encoding, ty, &target.name)?;
    let mut stored = parameters.quantize_constant(patch, target.value)?;
    let limits = limits(&target.wanted)?;
    if limits.iter().any(Option::is_some) {
        let mut from = vec![Some(stored)];
        for limit in &limits {
            from.push(limit.as_ref().map(|limit| patch.weights_mut().add_tensor(limit)).transpose()?);
        }
        stored = patch.weights_mut().derive(Clip, &from)?;
    }
    let stored = patch.add_weight(stored)?;
    patch.set_name(stored, &target.name);
    Ok(parameters.dequantize(patch, stored, ty.dtype)?)
}

/// The largest integer up to which `f64` holds every one.
const EXACT: f64 = (1u64 << 53) as f64;

/// A bias is divided by its scale and rounded in `f64`, which holds every number of 32 bits, and those of 64 that a bias
/// comes to.
fn bias(patch: &mut Patch<'_>, target: &Target) -> Result<ValueId, PassError> {
    let ty = patch.graph().value(target.value).ty();
    let parameters = Parameters::add(patch, &target.wanted.encoding, ty, &target.name)?;
    let stored_type = target.wanted.encoding.stored;
    let highest = match stored_type {
        DType::I32 => f64::from(i32::MAX),
        _ => EXACT,
    };
    let from = [patch.weight(target.value), patch.weight(parameters.scale())];
    let weights = patch.weights_mut();
    let wide = Cast { to: DType::F64, ..Cast::default() };
    let [bias, scale] = [weights.derive(wide.clone(), &from[..1])?, weights.derive(wide, &from[1..])?];
    let limits = [Some(-highest), Some(highest)];
    let steps: [(Op, [Option<f64>; 2]); 3] = [
        (Round.into(), [None; 2]),
        (Clip.into(), limits),
        (Cast { to: stored_type, ..Cast::default() }.into(), [None; 2]),
    ];
    let mut stored = weights.derive(Div, &[Some(bias), Some(scale)])?;
    for (op, limits) in steps {
        let mut from = vec![Some(stored)];
        for limit in limits.into_iter().flatten() {
            from.push(Some(weights.add_tensor(&Tensor::scalar(limit))?));
        }
        stored = weights.derive(op, &from)?;
    }
    let stored = patch.add_weight(stored)?;
    patch.set_name(stored, &target.name);
    Ok(parameters.dequantize(patch, stored, ty.dtype)?)
}
