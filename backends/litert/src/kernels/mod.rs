//! The integer arithmetic of the runtime's reference kernels, to the bit.
//!
//! Kernels do not divide by scales: the ratio of scales becomes a multiplier of 31 bits (of 15 bits where sums have 64) and a
//! shift, and rounding is theirs. [`evaluate`] computes a node as they do, where their rule is known; everything else (what
//! looks values up in tables, what moves elements) is left to the reference semantics.
//!
//! | operation | known |
//! |---|---|
//! | `conv`, `matmul` | yes, but for factors of different widths |
//! | `add`, `sub`, `mul`, `relu` | yes |
//! | `quantize`, `dequantize` | yes |
//! | `softmax`, `sigmoid`, `tanh`, `gelu`, `swish`, `reduce_mean` | no: `tests/litert` says by how many steps they differ |

mod elementwise;
mod encode;
mod fixed_point;
mod linear;

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{EvalError, Op, Results};
use quad_ir::tensor::Tensor;

/// The results of `node` for `operands`, both as they are stored; `None` where its kernel's rule is not known or it computes
/// with real numbers.
pub fn evaluate(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
    if !node.touches_quantized() {
        return None;
    }
    let tensor = match node.op() {
        Op::Conv(conv) => linear::convolution(conv, node, operands),
        Op::MatMul(_) => linear::product(node, operands),
        Op::Add(_) => elementwise::sum(node, operands, 1),
        Op::Sub(_) => elementwise::sum(node, operands, -1),
        Op::Mul(_) => elementwise::product(node, operands),
        Op::Relu(_) => elementwise::relu(node, operands),
        Op::Quantize(_) => encode::quantize(node, operands),
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
        let quant = value.ty().quant.as_deref().filter(|quant| quant.axis.is_none())?;
        let (scale, zero_point) = (quant.scales.first()?.get(), *quant.zero_points.first()?);
        let dtype = value.ty().dtype;
        matches!(dtype, DType::I8 | DType::I16).then_some(Self { dtype, scale, zero_point })
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
