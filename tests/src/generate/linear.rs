//! Steps with products: linear layers, branches of adapters, gated units.

use quad_ir::graph::{AddError, ValueId};
use quad_ir::ops::{Add, Gemm, MatMul, Mul, Relu, Reshape, Sigmoid, Slice, Split};

use super::elementwise;
use super::grower::{Grower, Grown, Range};

/// A constant matrix of which no column makes its operand more than `growth` times as large.
fn matrix(grower: &mut Grower, sizes: &[u64], depth: u64, growth: f64) -> Result<Grown, AddError> {
    grower.constant(sizes, growth / (depth as f64).sqrt())
}

/// The range of sums of `depth` products with elements of `w`.
fn summed(x: Range, w: Range, depth: u64) -> Range {
    Range::around_zero(x.magnitude() * w.magnitude() * depth as f64)
}

/// A linear layer of `x` along its last axis, with so many outputs: the weight as it is or transposed, with a bias on
/// either side or none.
pub(super) fn layer(grower: &mut Grower, x: Grown, outputs: u64) -> Result<Grown, AddError> {
    let inputs = grower.tail(x.id).last().copied().unwrap_or(1);
    let (weight, range) = if grower.once_in(3) {
        let w = matrix(grower, &[outputs, inputs], inputs, 1.0)?;
        (grower.transpose(w.id, &[1, 0])?, w.range)
    } else {
        let w = matrix(grower, &[inputs, outputs], inputs, 1.0)?;
        (w.id, w.range)
    };
    let y = Grown { id: grower.op(MatMul, &[x.id, weight])?, range: summed(x.range, range, inputs) };
    biased(grower, y, outputs)
}

fn biased(grower: &mut Grower, y: Grown, outputs: u64) -> Result<Grown, AddError> {
    if grower.once_in(4) {
        return Ok(y);
    }
    let bias = grower.constant(&[outputs], 1.0)?;
    let operands = if grower.once_in(2) { [y.id, bias.id] } else { [bias.id, y.id] };
    Ok(Grown { id: grower.op(Add, &operands)?, range: y.range.plus(bias.range) })
}

/// A linear layer, and sometimes a second one right behind it.
pub(super) fn dense(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let outputs = grower.pick(&[2, 4, 6, 8]);
    let mut y = layer(grower, x, outputs)?;
    if grower.once_in(5) {
        y = layer(grower, y, outputs)?;
    }
    grower.keep(y.id, y.range)
}

/// Two products with constants, with a `relu` between them or nothing: channels that can be evened out.
pub(super) fn in_a_row(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let inputs = grower.tail(x.id).last().copied().unwrap_or(1);
    let (width, outputs) = (grower.pick(&[2, 4, 6]), grower.pick(&[2, 4]));
    let first = matrix(grower, &[inputs, width], inputs, 1.0)?;
    let mut y =
        Grown { id: grower.op(MatMul, &[x.id, first.id])?, range: summed(x.range, first.range, inputs) };
    if grower.once_in(2) {
        y.id = grower.op(Relu, &[y.id])?;
    }
    let second = matrix(grower, &[width, outputs], width, 1.0)?;
    let id = grower.op(MatMul, &[y.id, second.id])?;
    grower.keep(id, summed(y.range, second.range, width))
}

/// A linear layer between factors, as one number or one for each channel: what can be folded into its weight.
pub(super) fn between_factors(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let inputs = grower.tail(x.id).last().copied().unwrap_or(1);
    let outputs = grower.pick(&[2, 4, 6]);
    let x = if grower.once_in(2) { multiplied(grower, x, inputs)? } else { x };
    let mut y = layer(grower, x, outputs)?;
    if grower.once_in(2) {
        y = multiplied(grower, y, outputs)?;
    }
    if grower.once_in(3) {
        y = biased(grower, y, outputs)?;
    }
    grower.keep(y.id, y.range)
}

fn multiplied(grower: &mut Grower, x: Grown, channels: u64) -> Result<Grown, AddError> {
    let sizes: &[u64] = if grower.once_in(2) { &[] } else { &[channels] };
    let factor = grower.constant(sizes, 1.5)?;
    let operands = if grower.once_in(3) { [factor.id, x.id] } else { [x.id, factor.id] };
    Ok(Grown { id: grower.op(Mul, &operands)?, range: x.range.times(factor.range) })
}

/// A `gemm`, behind a reshape to a matrix where `x` is none.
pub(super) fn gemm(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let tail = grower.tail(x.id);
    let (inputs, outputs) = (tail.last().copied().unwrap_or(1), grower.pick(&[2, 4, 6]));
    let flat = if tail.len() == 1 { x.id } else { grower.reshape(x.id, &[-1, inputs as i64])? };
    let trans_b = grower.once_in(2);
    let sizes = if trans_b { [outputs, inputs] } else { [inputs, outputs] };
    let w = matrix(grower, &sizes, inputs, 1.0)?;
    let c = grower.constant(&[outputs], 1.0)?;
    let alpha = grower.pick(&[1.0f32, 0.5]);
    let c_id = (!grower.once_in(4)).then_some(c.id);
    let op = Gemm { alpha: alpha.into(), transB: trans_b, ..Gemm::default() };
    let y = grower.results(op, &[Some(flat), Some(w.id), c_id])?[0];
    grower.keep(y, summed(x.range, w.range, inputs).plus(c.range))?;
    // Back to the axes that `x` had, when all its sizes are numbers.
    let Some(mut sizes) = grower.sizes(x.id).filter(|sizes| sizes.len() == 3) else { return Ok(()) };
    sizes[2] = outputs;
    let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
    let back = grower.reshape(y, &sizes)?;
    grower.keep(back, summed(x.range, w.range, inputs).plus(c.range))
}

/// A linear layer with the branch of an adapter: `w . x + alpha * up . (down . x)`.
pub(super) fn with_adapter(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.tokens()?;
    let inputs = grower.tail(x.id).last().copied().unwrap_or(1);
    let (outputs, rank) = (grower.pick(&[4, 6, 8]), grower.pick(&[1, 2]));
    let base = layer(grower, x, outputs)?;
    let (down, up) = if grower.once_in(2) {
        let (down, up) = (grower.adapter("down", &[rank, inputs])?, grower.adapter("up", &[outputs, rank])?);
        (grower.transpose(down.id, &[1, 0])?, grower.transpose(up.id, &[1, 0])?)
    } else {
        (grower.adapter("down", &[inputs, rank])?.id, grower.adapter("up", &[rank, outputs])?.id)
    };
    let inner = grower.op(MatMul, &[x.id, down])?;
    let branch = grower.op(MatMul, &[inner, up])?;
    let alpha = grower.scalar(0.0625)?;
    let scaled = grower.op(Mul, &[branch, alpha])?;
    let id = grower.op(Add, &[base.id, scaled])?;
    let factor = super::grower::INPUT.magnitude();
    let reach = x.range.magnitude() * factor * factor * (inputs * rank) as f64 * 0.0625;
    grower.keep(id, base.range.plus(Range::around_zero(reach)))
}

/// A product of two values, the second transposed.
pub(super) fn product(grower: &mut Grower) -> Result<(), AddError> {
    let a = grower.tokens()?;
    let b = elementwise::like(grower, a)?;
    let depth = grower.tail(a.id)[1];
    let turned = grower.transpose(b.id, &[0, 2, 1])?;
    let id = grower.op(MatMul, &[a.id, turned])?;
    grower.keep(id, summed(a.range, b.range, depth))
}

/// A gated unit: one half of a linear layer's result times an activation of the other.
pub(super) fn gated(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.tokens()?;
    let width = grower.pick(&[2, 4]);
    let y = layer(grower, x, 2 * width)?;
    let (value, gate) = halves(grower, y.id, width)?;
    let open = if grower.once_in(4) {
        let share = grower.op(Sigmoid, &[gate])?;
        grower.op(Mul, &[gate, share])?
    } else {
        elementwise::gelu(grower, gate)?
    };
    let id = grower.op(Mul, &[value, open])?;
    grower.keep(id, y.range.times(y.range))
}

/// The two halves of `y` along its last axis, which has `2 * width` elements.
fn halves(grower: &mut Grower, y: ValueId, width: u64) -> Result<(ValueId, ValueId), AddError> {
    let width = width as i64;
    if grower.once_in(2) {
        let sizes = grower.integers(&[width, width])?;
        let parts = grower.results(Split { axis: -1, num_outputs: None }, &[Some(y), Some(sizes)])?;
        return Ok((parts[0], parts[1]));
    }
    let mut half = |start: i64, end: i64| {
        let operands = [y, grower.integers(&[start])?, grower.integers(&[end])?, grower.integers(&[-1])?];
        grower.op(Slice, &operands)
    };
    Ok((half(0, width)?, half(width, 2 * width)?))
}

/// `x` reshaped to what `sizes` computes.
pub(super) fn reshape_to(grower: &mut Grower, x: ValueId, sizes: ValueId) -> Result<ValueId, AddError> {
    grower.op(Reshape::default(), &[x, sizes])
}
