//! Steps that work element by element: functions, arithmetic with constants, activations written out.

use quad_ir::graph::{AddError, ValueId};
use quad_ir::loc::Loc;
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{
    Abs, Add, Atan, Clip, Cos, Div, Elu, Erf, Exp, Gelu, HardSigmoid, HardSwish, Input, LeakyRelu, Log, Max,
    Min, Mish, Mul, Neg, Op, OpVariant, Pow, Reciprocal, Relu, Sigmoid, Sin, Softmax, Softplus, Softsign,
    Sqrt, Sub, Swish, Tanh, Weight, Where,
};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;

use super::grower::{Grower, Grown, Range};

/// A function of one operand: where it is defined and not steep, and what it makes of a range in there.
struct Function {
    op: Op,
    domain: Range,
    image: fn(Range) -> Range,
}

const ANYWHERE: Range = Range { low: f64::NEG_INFINITY, high: f64::INFINITY };
const POSITIVE: Range = Range { low: 0.125, high: 64.0 };

fn functions() -> Vec<Function> {
    fn function(op: impl Into<Op>, domain: Range, image: fn(Range) -> Range) -> Function {
        Function { op: op.into(), domain, image }
    }
    // Smooth gates stay above the lowest point of the deepest of them, and below their operand.
    let gate: fn(Range) -> Range = |x| Range { low: -0.375_f64.max(x.magnitude()), high: x.high.max(0.0) };
    let unit: fn(Range) -> Range = |_| Range::around_zero(1.0);
    let share: fn(Range) -> Range = |_| Range { low: 0.0, high: 1.0 };
    vec![
        function(Neg, ANYWHERE, |x| x.map(|end| -end)),
        function(Abs, ANYWHERE, |x| Range { low: 0.0, high: x.magnitude() }),
        function(Relu, ANYWHERE, |x| x.map(|end| end.max(0.0))),
        function(Sigmoid, ANYWHERE, share),
        function(HardSigmoid::default(), ANYWHERE, share),
        function(Tanh, ANYWHERE, unit),
        function(Erf, ANYWHERE, unit),
        function(Sin, ANYWHERE, unit),
        function(Cos, ANYWHERE, unit),
        function(Softsign, ANYWHERE, unit),
        function(Atan, ANYWHERE, |_| Range::around_zero(1.6)),
        function(Softplus, ANYWHERE, |x| Range { low: 0.0, high: x.high.max(0.0) + 0.7 }),
        function(LeakyRelu::default(), ANYWHERE, |x| Range { low: x.low.min(0.0), high: x.high.max(0.0) }),
        function(Elu::default(), ANYWHERE, |x| Range { low: -1.0, high: x.high.max(0.0) }),
        function(Gelu::default(), ANYWHERE, gate),
        function(Gelu { approximate: Approximation::Tanh }, ANYWHERE, gate),
        function(Swish::default(), ANYWHERE, gate),
        function(HardSwish, ANYWHERE, gate),
        function(Mish, ANYWHERE, gate),
        function(Exp, Range { low: -16.0, high: 3.0 }, |x| x.map(f64::exp)),
        function(Sqrt, POSITIVE, |x| x.map(f64::sqrt)),
        function(Log, POSITIVE, |x| x.map(f64::ln)),
        function(Reciprocal, POSITIVE, |x| x.map(f64::recip)),
    ]
}

/// One function, sometimes twice.
pub(super) fn unary(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let functions = functions();
    let index = grower.below(functions.len() as u64) as usize;
    let mut y = apply(grower, x, &functions[index])?;
    if grower.once_in(6) {
        y = apply(grower, y, &functions[index])?;
    }
    grower.keep(y.id, y.range)
}

/// `function` of `x`, brought to where it is defined by a clip, or for positive domains by magnitudes.
fn apply(grower: &mut Grower, x: Grown, function: &Function) -> Result<Grown, AddError> {
    let mut x = x;
    if function.domain == POSITIVE && x.range.low < POSITIVE.low && grower.once_in(2) {
        let (magnitude, some) = (grower.op(Abs, &[x.id])?, grower.scalar(0.5)?);
        let range = Range { low: 0.5, high: x.range.magnitude() + 0.5 };
        x = Grown { id: grower.op(Add, &[magnitude, some])?, range };
    }
    let x = grower.clipped(x, function.domain)?;
    Ok(Grown { id: grower.op(function.op.clone(), &[x.id])?, range: (function.image)(x.range) })
}

/// Arithmetic with a constant: a number, one for each channel, or one for each element; on either side.
pub(super) fn with_constant(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let sizes = constant_sizes(grower, x.id);
    let swapped = grower.once_in(3);
    let (op, c, range): (Op, Grown, Range) = match grower.below(6) {
        0 => {
            let c = grower.constant(&sizes, 2.0)?;
            (Add.into(), c, x.range.plus(c.range))
        }
        1 => {
            let c = grower.constant(&sizes, 2.0)?;
            (Sub.into(), c, Range::around_zero(x.range.magnitude() + 2.0))
        }
        2 => {
            let c = grower.constant(&sizes, 1.5)?;
            (Mul.into(), c, x.range.times(c.range))
        }
        3 => {
            // A constant on the left would divide by what may be zero.
            let c = grower.positive(&sizes, 2.0)?;
            let id = grower.op(Div, &[x.id, c.id])?;
            return grower.keep(id, x.range.times(c.range.map(f64::recip)));
        }
        4 => {
            let c = grower.constant(&sizes, 1.0)?;
            (Max.into(), c, Range { low: x.range.low.max(-1.0), high: x.range.high.max(1.0) })
        }
        _ => {
            let exponent = grower.pick(&[2.0, 3.0]);
            let exponent_id = grower.scalar(exponent)?;
            let x = grower.clipped(x, Range::around_zero(8.0))?;
            let id = grower.op(Pow, &[x.id, exponent_id])?;
            return grower.keep(id, Range::around_zero(x.range.magnitude().powf(exponent)));
        }
    };
    let operands = if swapped { [c.id, x.id] } else { [x.id, c.id] };
    let id = grower.op(op, &operands)?;
    grower.keep(id, range)
}

/// Sizes of a constant that stretches over `x`.
fn constant_sizes(grower: &mut Grower, x: ValueId) -> Vec<u64> {
    let tail = grower.tail(x);
    let last = tail.last().copied().unwrap_or(1);
    match (grower.below(5), tail.as_slice()) {
        (0, [channels, _, _]) => vec![*channels, 1, 1],
        (1, [channels, _, _]) => vec![1, *channels, 1, 1],
        (2, _) => tail,
        (3, _) => vec![],
        _ => vec![last],
    }
}

/// Arithmetic of two values of the same sizes; the second is made to fit when none is there.
pub(super) fn of_two(grower: &mut Grower) -> Result<(), AddError> {
    let a = grower.value()?;
    let b = like(grower, a)?;
    let (id, range) = match grower.below(6) {
        0 | 1 => (grower.op(Add, &[a.id, b.id])?, a.range.plus(b.range)),
        2 => (grower.op(Sub, &[a.id, b.id])?, a.range.plus(b.range.map(|end| -end))),
        3 => (grower.op(Mul, &[a.id, b.id])?, a.range.times(b.range)),
        4 => {
            let op: Op = if grower.once_in(2) { Min.into() } else { Max.into() };
            (grower.op(op, &[a.id, b.id])?, a.range.or(b.range))
        }
        _ => {
            let (square, some) = (grower.op(Mul, &[b.id, b.id])?, grower.scalar(1.0)?);
            let below = grower.op(Add, &[square, some])?;
            (grower.op(Div, &[a.id, below])?, Range::around_zero(a.range.magnitude()))
        }
    };
    grower.keep(id, range)
}

/// A value of the type of `x`: another one, a function of `x`, or `x` with an axis of size 1 that stretches.
pub(super) fn like(grower: &mut Grower, x: Grown) -> Result<Grown, AddError> {
    let ty = grower.graph.value(x.id).ty().clone();
    let others: Vec<Grown> =
        grower.values.iter().copied().filter(|other| grower.graph.value(other.id).ty() == &ty).collect();
    if others.len() > 1 || grower.once_in(4) {
        return Ok(if others.is_empty() { x } else { grower.pick(&others) });
    }
    let gate = grower.op(Sigmoid, &[x.id])?;
    Ok(Grown { id: gate, range: Range { low: 0.0, high: 1.0 } })
}

/// An activation as exporters write it.
pub(super) fn activation(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let (y, low) = match grower.below(6) {
        0 | 1 => (gelu(grower, x.id)?, -0.2),
        2 => (gelu_by_tanh(grower, x.id)?, -0.2),
        3 => {
            let gate = grower.op(Sigmoid, &[x.id])?;
            let operands = if grower.once_in(2) { [x.id, gate] } else { [gate, x.id] };
            (grower.op(Mul, &operands)?, -0.3)
        }
        4 => {
            let gate = sigmoid(grower, x)?;
            (grower.op(Mul, &[x.id, gate])?, -0.3)
        }
        _ => {
            let soft = grower.op(Softplus, &[x.id])?;
            let gate = grower.op(Tanh, &[soft])?;
            (grower.op(Mul, &[x.id, gate])?, -0.4)
        }
    };
    grower.keep(y, Range { low, high: x.range.high.max(0.0) })
}

/// `1 / (1 + exp(-x))`.
fn sigmoid(grower: &mut Grower, x: Grown) -> Result<ValueId, AddError> {
    // Behind a bound that no activation minds, so that powers stay small.
    let x = grower.clipped(x, Range::around_zero(16.0))?;
    let negative = grower.op(Neg, &[x.id])?;
    let (power, one) = (grower.op(Exp, &[negative])?, grower.scalar(1.0)?);
    let sum = grower.op(Add, &[power, one])?;
    if grower.once_in(2) { grower.op(Reciprocal, &[sum]) } else { grower.op(Div, &[one, sum]) }
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, in one of the orders in which exporters multiply.
pub(super) fn gelu(grower: &mut Grower, x: ValueId) -> Result<ValueId, AddError> {
    let scaled = if grower.once_in(3) {
        let scale = grower.scalar(std::f64::consts::FRAC_1_SQRT_2)?;
        grower.op(Mul, &[x, scale])?
    } else {
        let root = grower.scalar(std::f64::consts::SQRT_2)?;
        grower.op(Div, &[x, root])?
    };
    let (erf, one, half) = (grower.op(Erf, &[scaled])?, grower.scalar(1.0)?, grower.scalar(0.5)?);
    let sum = if grower.once_in(4) { grower.op(Add, &[one, erf])? } else { grower.op(Add, &[erf, one])? };
    match grower.below(3) {
        0 => {
            let product = grower.op(Mul, &[x, sum])?;
            grower.op(Mul, &[product, half])
        }
        1 => {
            let halved = grower.op(Mul, &[half, x])?;
            grower.op(Mul, &[halved, sum])
        }
        _ => {
            let share = grower.op(Mul, &[sum, half])?;
            grower.op(Mul, &[x, share])
        }
    }
}

/// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
fn gelu_by_tanh(grower: &mut Grower, x: ValueId) -> Result<ValueId, AddError> {
    let cube = if grower.once_in(2) {
        let three = grower.scalar(3.0)?;
        grower.op(Pow, &[x, three])?
    } else {
        let square = grower.op(Mul, &[x, x])?;
        grower.op(Mul, &[square, x])?
    };
    let (bend, scale) = (grower.scalar(0.044_715)?, grower.scalar((2.0 / std::f64::consts::PI).sqrt())?);
    let bent = grower.op(Mul, &[cube, bend])?;
    let sum = grower.op(Add, &[x, bent])?;
    let scaled = grower.op(Mul, &[sum, scale])?;
    let (tanh, one, half) = (grower.op(Tanh, &[scaled])?, grower.scalar(1.0)?, grower.scalar(0.5)?);
    let above = grower.op(Add, &[tanh, one])?;
    let product = grower.op(Mul, &[x, above])?;
    grower.op(Mul, &[product, half])
}

/// A clip, and sometimes one right behind it.
pub(super) fn limits(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let outer = grower.pick(&[1.0, 2.0, 6.0]);
    let mut y = if grower.once_in(3) {
        let zero = grower.scalar(0.0)?;
        let above = grower.results(Clip, &[Some(x.id), Some(zero)])?;
        Grown { id: above[0], range: x.range.map(|end| end.max(0.0)) }
    } else {
        grower.clipped(x, Range::around_zero(outer))?
    };
    if grower.once_in(2) {
        y = grower.clipped(y, Range { low: -0.5, high: outer / 2.0 })?;
    }
    grower.keep(y.id, y.range)
}

/// Elements of one value or another, by a constant mask.
pub(super) fn selection(grower: &mut Grower) -> Result<(), AddError> {
    let a = grower.value()?;
    let b = like(grower, a)?;
    let tail = grower.tail(a.id);
    let count: u64 = tail.iter().product();
    let mask: Vec<bool> = (0..count).map(|_| grower.once_in(2)).collect();
    let sizes: Vec<usize> = tail.iter().map(|size| *size as usize).collect();
    let mask = Tensor::from_bools(&sizes, mask).map_err(WeightError::from)?;
    let mask = grower.graph.add_constant(&mask, Loc::Built)?;
    let id = grower.op(Where, &[mask, a.id, b.id])?;
    grower.keep(id, a.range.or(b.range))
}

/// A sum with what is computed from constants only, which can be computed beforehand.
pub(super) fn of_constants(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let last = grower.tail(x.id).last().copied().unwrap_or(1);
    let (a, b) = (grower.constant(&[last], 1.0)?, grower.constant(&[last], 1.0)?);
    let product = grower.op(Mul, &[a.id, b.id])?;
    let bent = grower.op(Tanh, &[product])?;
    let sum = if grower.once_in(2) { grower.op(Add, &[bent, a.id])? } else { bent };
    let id = grower.op(Add, &[x.id, sum])?;
    grower.keep(id, x.range.plus(Range::around_zero(2.0)))
}

/// A sum of two products with the same constant.
pub(super) fn common_factor(grower: &mut Grower) -> Result<(), AddError> {
    let a = grower.value()?;
    let b = like(grower, a)?;
    let sizes = constant_sizes(grower, a.id);
    let c = grower.constant(&sizes, 1.0)?;
    let (left, right) = (grower.op(Mul, &[a.id, c.id])?, grower.op(Mul, &[c.id, b.id])?);
    let id =
        if grower.once_in(3) { grower.op(Sub, &[left, right])? } else { grower.op(Add, &[left, right])? };
    grower.keep(id, Range::around_zero(a.range.magnitude() + b.range.magnitude()))
}

/// A node that is there already, once more: one of the two is enough.
pub(super) fn twin(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let node = grower.graph.value(x.id).producer();
    let (op, port) = (node.op().clone(), grower.graph.value(x.id).port());
    if Input::of(&op).is_some() || Weight::of(&op).is_some() {
        return Ok(());
    }
    let operands: Vec<Option<ValueId>> =
        node.operands().map(|operand| operand.map(quad_ir::graph::ValueRef::id)).collect();
    let again = grower.results(op, &operands)?[port];
    let sum = grower.op(Add, &[x.id, again])?;
    grower.keep(sum, x.range.plus(x.range))
}

/// Two nodes that differ in an attribute only, which nothing may take for the same.
pub(super) fn cousins(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.value()?;
    let rank = grower.rank(x.id) as i64;
    let (a, b): (Op, Op) = match grower.below(3) {
        0 if rank > 2 => (Softmax { axis: -1 }.into(), Softmax { axis: rank - 2 }.into()),
        1 => (LeakyRelu { alpha: 0.25.into() }.into(), LeakyRelu { alpha: 0.5.into() }.into()),
        _ => (Elu { alpha: 0.5.into() }.into(), Elu { alpha: 1.0.into() }.into()),
    };
    let (a, b) = (grower.op(a, &[x.id])?, grower.op(b, &[x.id])?);
    let half = grower.scalar(0.5)?;
    let b = grower.op(Mul, &[b, half])?;
    let id = grower.op(Sub, &[a, b])?;
    grower.keep(id, Range::around_zero(x.range.magnitude() + 1.0))
}
