//! Scale and bias that follow a normalization become its own.

use std::ops::Range;

use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, LayerNorm, Mul, OpKind, RmsNorm};
use quad_ir::types::Dim;
use quad_ir::weights::{Source, WeightId};

use crate::emit::Emit;
use crate::pattern::{axis_of, both_ways, channel_axis, is_constant, only_read_by, sizes, uniform};
use crate::rule::{Rule, Skip, because};

/// `norm(x, scale, bias) * factor` is `norm(x, scale * factor, bias * factor)`, for a constant factor of the shape of the
/// scale.
#[derive(Debug)]
pub(super) struct FactorIntoNorm(pub(super) OpKind);

/// `norm(x, scale, bias) + addend` is `norm(x, scale, bias + addend)`, for a constant addend of the shape of the bias.
#[derive(Debug)]
pub(super) struct AddendIntoNorm(pub(super) OpKind);

impl Rule for FactorIntoNorm {
    fn name(&self) -> &'static str {
        "factor-into-norm"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Mul]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let Normed { norm, parameter, sizes } = Normed::before(root, self.0)?;
        let factor = patch.sized(parameter.id(), &sizes)?;
        let mut operands: Vec<Option<ValueId>> =
            norm.operands().map(|operand| operand.map(ValueRef::id)).collect();
        for operand in operands.iter_mut().skip(1).flatten() {
            let old = patch.graph().value(*operand);
            *operand = if is_filled_with(old, 1.0) {
                factor
            } else if is_filled_with(old, 0.0) {
                *operand
            } else {
                patch.derived(Mul, &[*operand, factor])?
            };
        }
        renew(root, norm, &operands, patch)
    }
}

impl Rule for AddendIntoNorm {
    fn name(&self) -> &'static str {
        "addend-into-norm"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Add]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let Normed { norm, parameter, sizes } = Normed::before(root, self.0)?;
        let addend = patch.sized(parameter.id(), &sizes)?;
        let mut operands: Vec<Option<ValueId>> =
            norm.operands().map(|operand| operand.map(ValueRef::id)).collect();
        operands.resize(3, None);
        let old =
            operands[2].map(|bias| patch.graph().value(bias)).filter(|bias| !is_filled_with(*bias, 0.0));
        operands[2] = Some(match old {
            Some(bias) => patch.derived(Add, &[bias.id(), addend])?,
            None => addend,
        });
        renew(root, norm, &operands, patch)
    }
}

/// Puts the normalization `norm`, on other operands, in the place of `root`.
fn renew(
    root: NodeRef<'_>,
    norm: NodeRef<'_>,
    operands: &[Option<ValueId>],
    patch: &mut Patch<'_>,
) -> Result<(), Skip> {
    let renewed = patch.op(norm.op().clone(), operands)?;
    Ok(patch.replace(root.result().id(), renewed)?)
}

/// A normalization, and a constant that is applied to its result.
struct Normed<'g> {
    norm: NodeRef<'g>,
    parameter: ValueRef<'g>,
    /// The sizes of scale and bias.
    sizes: Vec<u64>,
}

impl<'g> Normed<'g> {
    /// The normalization of kind `kind` that an operand of `root` is.
    fn before(root: NodeRef<'g>, kind: OpKind) -> Result<Self, Skip> {
        let normed = both_ways(root).find(|(y, _)| y.producer().op().kind() == kind && y.port() == 0);
        let (y, parameter) = normed.ok_or(Skip::NoMatch)?;
        let norm = y.producer();
        if !is_constant(parameter) {
            // A shift computed when the graph runs is not a parameter of the normalization.
            return Err(Skip::NoMatch);
        }
        let axes = parameter_axes(norm).ok_or(Skip::NoMatch)?;
        let sizes = sizes_along(parameter, y, axes.clone()).ok_or_else(|| {
            let (found, wanted) = (parameter.ty(), y.ty());
            because(root, format!("its constant, {found}, has not the sizes of axes {axes:?} of {wanted}"))
        })?;
        only_read_by(y, root)?;
        if let Some(other) = norm.results().skip(1).find(|result| result.is_read() || result.is_output()) {
            return Err(because(norm, format!("its result {} is read, too", other.port() + 1)));
        }
        Ok(Self { norm, parameter, sizes })
    }
}

/// The axes that scale and bias of `norm` run along.
fn parameter_axes(norm: NodeRef<'_>) -> Option<Range<usize>> {
    let x = norm.operand("x")?;
    if let Some(layer) = norm.is::<LayerNorm>() {
        return Some(axis_of(layer.axis, x)?..x.ty().rank());
    }
    if let Some(rms) = norm.is::<RmsNorm>() {
        return Some(axis_of(rms.axis, x)?..x.ty().rank());
    }
    let channels = channel_axis(norm)?;
    Some(channels..channels + 1)
}

/// The sizes of `y` along `axes`, when `parameter` has those there, and 1 along all other axes.
pub(super) fn sizes_along(parameter: ValueRef<'_>, y: ValueRef<'_>, axes: Range<usize>) -> Option<Vec<u64>> {
    let (shape, missing) = (&y.ty().shape, y.ty().rank().checked_sub(parameter.ty().rank())?);
    let fits = |axis: usize| {
        let one = Dim::Known(1);
        let found = axis.checked_sub(missing).map_or(&one, |axis| &parameter.ty().shape[axis]);
        let wanted = if axes.contains(&axis) { &shape[axis] } else { &one };
        found == wanted
    };
    (0..shape.rank()).all(fits).then(|| axes.map(|axis| shape[axis].known()).collect())?
}

/// Elements up to which a weight is looked at. Parameters of normalizations are fewer.
const MAX_LOOKED_AT: u64 = 1 << 16;

/// Whether all elements of `value` are seen to be `number`: they are known, or in memory, as what a rule put there. Files
/// are not read.
pub(super) fn is_filled_with(value: ValueRef<'_>, number: f64) -> bool {
    if value.constant().is_some() {
        return uniform(value) == Some(number);
    }
    let weights = value.producer().graph().weights();
    let small = sizes(value).is_some_and(|sizes| sizes.iter().product::<u64>() <= MAX_LOOKED_AT);
    let in_memory = |weight: &WeightId| matches!(weights.source(*weight), Source::Memory(_));
    let weight = value.weight().filter(in_memory).filter(|_| small);
    let elements = weight.and_then(|weight| weights.tensor(weight).ok()?.to_f64().ok());
    elements.is_some_and(|elements| elements.iter().all(|element| *element == number))
}
