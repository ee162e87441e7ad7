//! Normalizations.

use quad_ir::graph::ValueId;
use quad_ir::loc::Loc;
use quad_ir::ops::{Add, GroupNorm, InstanceNorm, LayerNorm, Mul, RmsNorm};
use quad_ir::tensor::Tensor as Elements;

use super::{Form, Raising, Step, Why};
use crate::model::{DataType, Encoding, Node, Role, ScaleOffset, Tensor, TensorId};

/// The provider has no `GroupNormalization`: groups become the channels of an instance normalization, and factors and
/// shifts operations of their own. What is between them is stored in steps that the result's range gives.
pub(super) fn group_norm(r: &mut Raising<'_>, node: &Node) -> Step {
    let [x, gamma, beta] = node.inputs[..] else {
        return Err(Why::Said("it has not three inputs".to_owned()));
    };
    let (from, to) = (r.tensor(x), r.tensor(node.outputs[0]));
    if r.form == Form::Real {
        let op = GroupNorm {
            num_groups: u64::from(node.number("group").unwrap_or(1)),
            epsilon: node.real("epsilon").into(),
            ..GroupNorm::default()
        };
        let operands = [r.planes(x)?, r.read(gamma)?, r.read(beta)?];
        let real = r.graph.add_value(op, &operands, Loc::Built)?;
        return r.write_planes(node.outputs[0], real);
    }
    let (batch, channels) = (from.dims[0], from.dims[3]);
    let groups = node.number("group").unwrap_or(1);
    let count = from.len() as u32 / batch / groups;
    let first = r.planes(x)?;
    let rows = r.reshaped(first, &[batch, groups, 1, count])?;
    let rows = r.requantized(rows, x)?;
    let ranges = Ranges::of(r, to, gamma, beta, count)?;
    let [one, zero] = [1.0, 0.0].map(|value| filled(r, groups, value, from.data_type));
    let op = InstanceNorm { epsilon: node.real("epsilon").into(), ..InstanceNorm::default() };
    let normalized = r.graph.add_value(op, &[rows, one?, zero?], Loc::Built)?;
    let normalized = r.stored_as(normalized, to.data_type, ranges.normalized.as_ref())?;
    let back = r.reshaped(normalized, &[batch, channels, from.dims[1], from.dims[2]])?;
    let back = r.stored_as(back, to.data_type, ranges.normalized.as_ref())?;
    let (gamma, beta) = (column(r, gamma)?, shifts(r, beta, to)?);
    let scaled = r.graph.add_value(Mul, &[back, gamma], Loc::Built)?;
    let scaled = r.stored_as(scaled, to.data_type, ranges.scaled.as_ref())?;
    let real = r.graph.add_value(Add, &[scaled, beta], Loc::Built)?;
    r.write_planes(node.outputs[0], real)
}

/// How numbers between the steps of a group normalization are stored.
struct Ranges {
    normalized: Option<Encoding>,
    scaled: Option<Encoding>,
}

impl Ranges {
    /// Those that reach every result which `to` can store, where groups have `count` elements each.
    fn of(r: &Raising<'_>, to: &Tensor, gamma: TensorId, beta: TensorId, count: u32) -> Step<Self> {
        let Some(Encoding::Tensor(all)) = to.encoding.as_ref() else {
            return Ok(Self { normalized: None, scaled: None });
        };
        let (low, high) = to.data_type.fixed_range().unwrap_or_default();
        let real = |code: i64| f64::from(all.scale) * (code + i64::from(all.offset)) as f64;
        let (low, high) = (real(low), real(high));
        let (gamma, beta) = (numbers(r.tensor(gamma))?, numbers(r.tensor(beta))?);
        // Nothing is farther from the mean of its group.
        let most = f64::from(count.max(2) - 1).sqrt();
        let (mut scaled, mut normalized) = ((0.0f64, 0.0f64), 0.0f64);
        for (gamma, beta) in gamma.iter().zip(&beta) {
            let ends = [low - beta, high - beta];
            scaled = (scaled.0.min(ends[0]), scaled.1.max(ends[1]));
            let reach = if *gamma == 0.0 { 0.0 } else { ends[0].abs().max(ends[1].abs()) / gamma.abs() };
            normalized = normalized.max(reach.min(most));
        }
        // A whole number of 128ths of the result's step is a multiplier that sums have without error.
        let part = f64::from(all.scale) / 128.0;
        let least = part * (step(to.data_type, scaled.0, scaled.1) / part).ceil();
        Ok(Self {
            normalized: Some(spread(to.data_type, -normalized, normalized, 0.0)),
            scaled: Some(spread(to.data_type, scaled.0, scaled.1, least)),
        })
    }
}

/// The step with which codes fill the range.
fn step(data_type: DataType, low: f64, high: f64) -> f64 {
    let (least, most) = data_type.fixed_range().unwrap_or((0, 255));
    ((high - low) / (most - least) as f64).max(f64::from(f32::MIN_POSITIVE))
}

/// The encoding whose codes fill the range, unless its step is to be larger, at least `coarsest`.
fn spread(data_type: DataType, low: f64, high: f64, coarsest: f64) -> Encoding {
    let (least, most) = data_type.fixed_range().unwrap_or((0, 255));
    let scale = step(data_type, low, high).max(coarsest);
    let zero = (least as f64 - low / scale).round().clamp(least as f64, most as f64);
    Encoding::Tensor(ScaleOffset::new(scale as f32, zero as i32))
}

/// The shifts `beta` beside planes, in steps no finer than a 16th of the result's. Multipliers of sums have 15 bits, so that
/// large codes of fine steps come out wrong, and shifts are far smaller than what they are added to.
fn shifts(r: &mut Raising<'_>, beta: TensorId, to: &Tensor) -> Step<ValueId> {
    let Some(Encoding::Tensor(all)) = to.encoding.as_ref() else { return column(r, beta) };
    let numbers = numbers(r.tensor(beta))?;
    let low = numbers.iter().copied().fold(0.0, f64::min);
    let high = numbers.iter().copied().fold(0.0, f64::max);
    let encoding = spread(to.data_type, low, high, f64::from(all.scale) / 16.0);
    let part = encoding.parts()[0];
    let code = |number: &f64| (number / f64::from(part.scale)).round() as i64 - i64::from(part.offset);
    let (least, most) = to.data_type.fixed_range().unwrap_or((0, 255));
    let codes: Vec<i64> = numbers.iter().map(|number| code(number).clamp(least, most)).collect();
    let elements = Elements::from_i64(super::dtype(to.data_type), &[codes.len(), 1, 1], codes)?;
    let constant = r.graph.add_constant(&elements, Loc::Built)?;
    r.dequantized(constant, to.data_type, Some(&encoding))
}

/// The real numbers of a constant.
fn numbers(tensor: &Tensor) -> Step<Vec<f64>> {
    let computed = || Why::Said(format!("`{}` is computed, and must be constant", tensor.name));
    let Role::Static(bytes) = &tensor.role else { return Err(computed()) };
    let elements = Elements::new(super::dtype(tensor.data_type), &[tensor.len()], bytes.clone().into())?;
    let Some(encoding) = &tensor.encoding else { return Ok(elements.to_f64()?) };
    let part = encoding.parts()[0];
    let real = |code: &i64| f64::from(part.scale) * (code + i64::from(part.offset)) as f64;
    Ok(elements.to_i64()?.iter().map(real).collect())
}

/// As many constants of `value`, 0 or 1, as there are channels, as numbers of `data_type`.
fn filled(r: &mut Raising<'_>, channels: u32, value: f32, data_type: DataType) -> Step<ValueId> {
    let count = channels as usize;
    if !data_type.is_fixed() {
        let elements = Elements::from_vec(&[count], vec![value; count])?;
        return Ok(r.graph.add_constant(&elements, Loc::Built)?);
    }
    // The provider takes factors of 8 bits and shifts of 32.
    let (stored, scale) =
        if value == 0.0 { (DataType::Sfixed32, 1.0) } else { (DataType::Ufixed8, 1.0 / 255.0) };
    let codes = vec![if value == 0.0 { 0 } else { 255 }; count];
    let elements = Elements::from_i64(super::dtype(stored), &[count], codes)?;
    let constant = r.graph.add_constant(&elements, Loc::Built)?;
    r.dequantized(constant, stored, Some(&Encoding::Tensor(ScaleOffset::new(scale, 0))))
}

/// The constant `id`, one number for each channel, beside planes with channels first.
fn column(r: &mut Raising<'_>, id: TensorId) -> Step<ValueId> {
    let tensor = r.tensor(id);
    let Role::Static(bytes) = &tensor.role else {
        return Err(Why::Said(format!("`{}` is computed, and must be constant", tensor.name)));
    };
    r.constant(tensor, &[tensor.len() as u32, 1, 1], bytes, tensor.encoding.as_ref())
}

pub(super) fn instance_norm(r: &mut Raising<'_>, node: &Node) -> Step {
    let x = r.planes(node.inputs[0])?;
    let (gamma, beta) = (r.read(node.inputs[1])?, r.read(node.inputs[2])?);
    let op = InstanceNorm { epsilon: node.real("epsilon").into(), ..InstanceNorm::default() };
    let real = r.graph.add_value(op, &[x, gamma, beta], Loc::Built)?;
    r.write_planes(node.outputs[0], real)
}

/// The first of the axes that are normalized together; they are the last ones.
fn first_axis(node: &Node) -> i64 {
    node.list("axes").first().map_or(-1, |axis| i64::from(*axis))
}

pub(super) fn layer_norm(r: &mut Raising<'_>, node: &Node) -> Step {
    let operands: Step<Vec<_>> = node.inputs.iter().map(|id| Ok(Some(r.read(*id)?))).collect();
    let op =
        LayerNorm { axis: first_axis(node), epsilon: node.real("epsilon").into(), ..LayerNorm::default() };
    let made = r.graph.add(op, &operands?, Loc::Built)?;
    let real = r.graph.node(made).result().id();
    r.write(node.outputs[0], real)
}

pub(super) fn rms_norm(r: &mut Raising<'_>, node: &Node) -> Step {
    let operands: Step<Vec<_>> = node.inputs.iter().map(|id| r.read(*id)).collect();
    let op = RmsNorm { axis: first_axis(node), epsilon: node.real("epsilon").into() };
    let real = r.graph.add_value(op, &operands?, Loc::Built)?;
    r.write(node.outputs[0], real)
}
