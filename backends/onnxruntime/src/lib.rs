//! The arithmetic of ONNX Runtime on processors, to the bit.
//!
//! A quantized model in ONNX computes with floats between `QuantizeLinear` and `DequantizeLinear`. Floats depend on the order
//! in which sums are formed, so two runtimes store a number a step apart now and then, and whole runs drift apart from there.
//! [`CpuKernels`] makes the interpreter form each sum in the order in which ONNX Runtime forms it, and each function by the same
//! polynomial. A whole run is then the same bits, and any difference is a fault.
//!
//! That is so for version 1.31 on x86-64 processors with AVX-512, without graph optimizations
//! (`ORT_DISABLE_ALL`), with one thread (`intra_op_num_threads = 1`): more threads cut some sums elsewhere. The rules are from the
//! runtime's sources (`onnxruntime/core/mlas/lib` and `core/providers/cpu`) and from measurements.
//!
//! | operation | how |
//! |---|---|
//! | `conv` without groups, `matmul`, `gemm` | fused sums in runs of the inner axis that the sizes determine |
//! | `group_norm`, `instance_norm`, `layer_norm` | sums in lanes |
//! | `softmax`, `sigmoid`, `swish`, `gelu` | polynomials |
//! | sums, products, quotients, roots, storing and reading of integers, what moves elements | as the reference semantics: one rounding each |
//!
//! All else is left to the reference semantics, which may be a unit in the last place off: sines and cosines, convolutions with
//! groups, linear resizing, other functions and sums.

mod convolution;
mod function;
mod layout;
mod normalize;
mod product;
mod softmax;
mod sum;

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::interpret::{Kernels, compute};
use quad_ir::ops::activation::Approximation;
use quad_ir::ops::{EvalError, Op, Results};
use quad_ir::tensor::Tensor;

/// Computes nodes as ONNX Runtime does on a processor: for `Interpreter::with_kernels`, on a graph without quantized types, such
/// as the pass `unfold-quant` makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuKernels;

impl Kernels for CpuKernels {
    fn evaluate(&self, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
        let is_single = |tensor: &Tensor| tensor.dtype() == DType::F32 && !tensor.is_empty();
        if node.touches_quantized() || !operands.iter().flatten().all(is_single) {
            return None;
        }
        let result = evaluate(node, operands)?;
        Some(result.and_then(|tensor| with_rest(tensor, node, operands)))
    }
}

/// Whether this processor is one for which ONNX Runtime takes the kernels that are computed like.
pub fn is_this_processor() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// `first`, and what else `node` computes, of which nothing but the reference semantics is known: means of normalizations.
fn with_rest(first: Tensor, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Result<Results, EvalError> {
    if node.results().count() == 1 {
        return Ok([first].into_iter().collect());
    }
    let mut results = compute(node.op(), operands)?;
    results[0] = first;
    Ok(results)
}

/// A tensor, or why there is none; `None` where the rule is not known.
type Computed = Option<Result<Tensor, EvalError>>;

fn evaluate(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let operand = |index: usize| operands.get(index)?.as_ref();
    let x = operand(0)?;
    match node.op() {
        Op::Conv(_) | Op::GroupNorm(_) | Op::InstanceNorm(_) => {
            layout::channels_first(node.op(), operands, |op, operands| {
                let operand = |index: usize| operands.get(index)?.as_ref();
                match op {
                    Op::Conv(conv) => convolution::convolution(conv, operand(0)?, operand(1)?, operand(2)),
                    Op::GroupNorm(norm) => {
                        let groups = norm.num_groups as usize;
                        normalize::group_norm(
                            operand(0)?,
                            [operand(1)?, operand(2)?],
                            groups,
                            norm.epsilon.get(),
                        )
                    }
                    Op::InstanceNorm(norm) => {
                        normalize::instance_norm(operand(0)?, [operand(1)?, operand(2)?], norm.epsilon.get())
                    }
                    _ => None,
                }
            })
        }
        Op::MatMul(_) => product::matmul(x, operand(1)?, is_constant(node, "b")),
        Op::Gemm(gemm) => product::gemm(gemm, [x, operand(1)?], operand(2), is_constant(node, "b")),
        Op::LayerNorm(norm) => normalize::layer_norm(norm, x, operand(1)?, operand(2)),
        Op::Softmax(softmax) => softmax::softmax(softmax.axis, x),
        Op::Sigmoid(_) => Some(map(x, function::sigmoid)),
        Op::Swish(swish) => {
            let alpha = swish.alpha.get();
            Some(map(x, |x| x * function::sigmoid(alpha * x)))
        }
        Op::Gelu(gelu) if gelu.approximate == Approximation::None => Some(map(x, function::gelu)),
        _ => None,
    }
}

/// Whether the operand called `name` is stored with the model, which lays it out anew when it is loaded.
fn is_constant(node: NodeRef<'_>, name: &str) -> bool {
    node.operand(name).is_some_and(|value| value.weight().is_some())
}

/// `function` of each element.
fn map(x: &Tensor, function: impl Fn(f32) -> f32) -> Result<Tensor, EvalError> {
    let elements: Vec<f32> = x.to_f32()?.iter().map(|x| function(*x)).collect();
    Ok(Tensor::from_vec(x.sizes(), elements)?)
}
