//! The arithmetic of the runtime's reference kernels, to the bit.
//!
//! Kernels do not divide by scales: the ratio of scales becomes a multiplier of 31 bits (of 15 bits where sums have 64) and a
//! shift, and rounding is theirs. Functions are looked up. [`evaluate`] computes a node as they do, and
//! [`ReferenceKernels`] makes the interpreter compute whole graphs so, once the target's passes have run. The rules are from
//! descriptions and from measurements: of functions of one operand, version 2.3.0 was asked for every code of 8 and 16 bits.
//!
//! | operation | kernel |
//! |---|---|
//! | `conv`, `matmul`, `reduce_mean` | exact sums, scaled once |
//! | `add`, `sub`, `mul`, `relu`, `quantize` | scaled once or twice |
//! | `sigmoid`, `tanh`, `gelu` | of 8 bits a table of all results; of 16 one of 256 or 513 samples, with lines between |
//! | `swish` | a gate by `sigmoid`, and a product |
//! | `softmax` | exponentials and a reciprocal in fixed point (8 bits) or of tables (16) |
//! | what moves elements | moved as they are stored, as the reference semantics do |
//! | what has floats beside stored integers | in single precision, sums one element after the other |
//!
//! The runtime's other kernels are a step off here and there; `docs/generated/litert-kernels.md` lists by how much.

mod curve;
mod elementwise;
mod encode;
mod fixed_functions;
mod fixed_point;
mod linear;
mod logistic;
mod mean;
mod real;
mod softmax;

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::interpret::Kernels;
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{EvalError, Op, Results};
use quad_ir::tensor::Tensor;
use quad_ir::types::Quant;

use crate::lower::is_in_floats;

/// Computes nodes as the runtime's reference kernels do: for `Interpreter::with_kernels`, on a graph that the target's passes
/// have made legal.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceKernels;

impl Kernels for ReferenceKernels {
    fn evaluate(&self, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
        evaluate(node, operands)
    }
}

/// How the runtime computes a node with stored integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Exact sums and products, which are scaled and rounded.
    Integers,
    /// Functions of numbers, looked up or in fixed point.
    Functions,
    /// Elements are moved as they are stored.
    Moved,
    /// As floats, between reading and storing integers.
    Floats,
}

impl Way {
    /// How `node`, which reads or makes stored integers, is computed.
    pub fn of(node: NodeRef<'_>) -> Self {
        if is_in_floats(node) {
            return Self::Floats;
        }
        match node.op() {
            Op::Quantize(_) if node.operand("x").is_none_or(|x| x.ty().quant.is_none()) => Self::Floats,
            Op::Dequantize(_) => Self::Floats,
            Op::Conv(_)
            | Op::MatMul(_)
            | Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Relu(_)
            | Op::ReduceMean(_)
            | Op::Quantize(_) => Self::Integers,
            Op::Softmax(_) | Op::Sigmoid(_) | Op::Tanh(_) | Op::Gelu(_) | Op::Swish(_) => Self::Functions,
            _ => Self::Moved,
        }
    }
}

/// The results of `node` for `operands`, both as they are stored; `None` where the reference semantics are what its kernel
/// does, or its rule is not known.
pub fn evaluate(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
    if !node.touches_quantized() || is_in_floats(node) {
        return real::evaluate(node, operands);
    }
    let tensor = match node.op() {
        Op::Conv(conv) => linear::convolution(conv, node, operands),
        Op::MatMul(_) => linear::product(node, operands),
        Op::Add(_) => elementwise::sum(node, operands, 1),
        Op::Sub(_) => elementwise::sum(node, operands, -1),
        Op::Mul(_) => elementwise::product(node, operands),
        Op::Relu(_) => elementwise::relu(node, operands),
        Op::ReduceMean(_) => mean::of_integers(node, operands),
        Op::Quantize(_) => encode::quantize(node, operands),
        Op::Sigmoid(_) => logistic::logistic(node, operands),
        Op::Tanh(_) => logistic::tanh(node, operands),
        Op::Swish(swish) if swish.alpha.get() == 1.0 => logistic::swish(node, operands),
        Op::Gelu(gelu) if gelu.approximate == Approximation::Tanh => {
            curve::of_elements(node, operands, curve::gelu_near)
        }
        Op::Gelu(_) => curve::of_elements(node, operands, curve::gelu),
        Op::Softmax(_) => softmax::softmax(node, operands),
        _ => None,
    }?;
    Some(tensor.map(|tensor| [tensor].into_iter().collect()))
}

/// A tensor of stored integers, or why there is none; `None` where the rule is not known.
type Computed = Option<Result<Tensor, EvalError>>;

/// How an activation is stored.
#[derive(Clone, Copy, Debug)]
struct Stored {
    dtype: DType,
    scale: f32,
    zero_point: i32,
}

impl Stored {
    /// How `value` is stored, with one scale.
    fn of(value: ValueRef<'_>) -> Option<Self> {
        Self::new(value.ty().dtype, value.ty().quant.as_deref()?)
    }

    /// Integers of `dtype` with the one scale of `quant`.
    fn new(dtype: DType, quant: &Quant) -> Option<Self> {
        let (scale, zero_point) = (quant.scales.first()?.get(), *quant.zero_points.first()?);
        let is_activation = matches!(dtype, DType::I8 | DType::I16) && quant.axis.is_none();
        is_activation.then_some(Self { dtype, scale, zero_point })
    }

    /// `number` above the zero point, cut off where the type ends.
    fn saturated(self, number: i32) -> i64 {
        let (low, high) = self.dtype.integer_range().unwrap_or_default();
        (i64::from(number) + i64::from(self.zero_point)).clamp(low as i64, high as i64)
    }
}

/// The elements of the operand at `index`, without its zero point.
fn centered(operands: &[Option<Tensor>], index: usize, stored: Stored) -> Option<Vec<i64>> {
    let elements = operands.get(index)?.as_ref()?.to_i64().ok()?;
    Some(elements.into_iter().map(|element| element - i64::from(stored.zero_point)).collect())
}

/// A tensor of `stored` elements with the sizes of the result of `node`.
fn result(node: NodeRef<'_>, elements: Vec<i64>) -> Computed {
    let ty = node.result().ty();
    let sizes: Vec<usize> = ty.shape.as_known()?.iter().map(|size| *size as usize).collect();
    Some(Tensor::from_i64(ty.dtype, &sizes, elements).map_err(EvalError::from))
}
