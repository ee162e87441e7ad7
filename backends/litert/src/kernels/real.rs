//! Nodes that compute with real numbers between stored integers: what the runtime does between `DEQUANTIZE` and `QUANTIZE`.
//!
//! Floats have no rule that all processors share, but the reference kernels compute the operations of normalizations in the
//! plainest way: sums one element after the other, a quotient by a root as a product with its reciprocal. The rest is left to
//! the reference semantics.

use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::interpret::compute;
use quad_ir::ops::{EvalError, Op, Results};
use quad_ir::quantized::dequantize;
use quad_ir::tensor::Tensor;

use super::{Stored, encode, mean};
use crate::lower::{behind_root, is_in_floats};

/// The results of `node`, which has floats among its operands or results; `None` where the reference semantics are it.
pub(super) fn evaluate(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
    let is_mixed = is_in_floats(node);
    if !is_mixed && !is_plainly_computed(node) {
        return None;
    }
    let real = |(value, tensor): (Option<ValueRef<'_>>, &Option<Tensor>)| {
        let quant = value.and_then(|value| value.ty().quant.as_deref());
        match (quant, tensor) {
            (Some(quant), Some(tensor)) => dequantize(tensor, quant).map(Some),
            _ => Ok(tensor.clone()),
        }
    };
    let operands = node.operands().zip(operands).map(real).collect::<Result<Vec<_>, _>>();
    let results = operands.and_then(|operands| of_reals(node, &operands));
    Some(results.and_then(|results| results.into_iter().zip(node.results()).map(stored).collect()))
}

/// Whether the kernel of `node` computes in an order of its own.
fn is_plainly_computed(node: NodeRef<'_>) -> bool {
    let is_single = node.result().ty().dtype == quad_ir::dtype::DType::F32;
    is_single && (matches!(node.op(), Op::ReduceMean(_)) || is_by_root(node))
}

/// Whether `node` divides by a root, and nothing else does.
fn is_by_root(node: NodeRef<'_>) -> bool {
    matches!(node.op(), Op::Div(_)) && node.operand("b").and_then(behind_root).is_some()
}

fn of_reals(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Result<Results, EvalError> {
    if matches!(node.op(), Op::ReduceMean(_))
        && let Some(mean) = mean::of_reals(node, operands)
    {
        return Ok([mean?].into_iter().collect());
    }
    if is_by_root(node)
        && let [Some(a), Some(root)] = operands
    {
        let reciprocals = root.to_f32()?.iter().map(|root| 1.0 / root).collect::<Vec<f32>>();
        let factor = Tensor::from_vec(root.sizes(), reciprocals)?;
        return compute(&quad_ir::ops::Mul.into(), &[Some(a.clone()), Some(factor)]);
    }
    compute(node.op(), operands)
}

/// `real` as `value` is stored.
fn stored((real, value): (Tensor, ValueRef<'_>)) -> Result<Tensor, EvalError> {
    let Some(output) = Stored::of(value) else { return Ok(real) };
    Ok(Tensor::from_i64(output.dtype, real.sizes(), encode::stored(&real, output)?)?)
}
