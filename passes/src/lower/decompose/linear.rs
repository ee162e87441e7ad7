//! `gemm` as a plain product.

use quad_ir::graph::{AddError, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Gemm, MatMul, Mul, OpKind, Transpose};

use super::replace;
use crate::emit::Emit;
use crate::rule::{FnRule, Skip, because};

pub(super) const GEMM: FnRule =
    FnRule { name: "gemm-to-matmul", roots: &[OpKind::Gemm], rewrite: gemm_to_matmul };

/// `alpha * a' . b' + beta * c`; what is constant takes transposes and factors in.
fn gemm_to_matmul(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let gemm = node.is::<Gemm>().ok_or(Skip::NoMatch)?;
    let (a, b) = node.operand("a").zip(node.operand("b")).ok_or(Skip::NoMatch)?;
    let (alpha, beta) = (f64::from(gemm.alpha.get()), f64::from(gemm.beta.get()));
    if !a.ty().dtype.is_float() && (alpha, beta) != (1.0, 1.0) {
        return Err(because(node, "integers are scaled in floats"));
    }
    let left = matrix(a, gemm.transA, patch)?;
    let right = matrix(b, gemm.transB, patch)?;
    let right = scaled(right, alpha, patch)?;
    let mut new = patch.add_value(MatMul, &[left, right])?;
    if let Some(c) = node.operand("c").filter(|_| beta != 0.0) {
        let c = scaled(c.id(), beta, patch)?;
        new = patch.add_value(Add, &[new, c])?;
    }
    replace(node, new, patch)
}

/// `matrix`, or its transpose.
fn matrix(matrix: ValueRef<'_>, swapped: bool, patch: &mut Patch<'_>) -> Result<ValueId, AddError> {
    if swapped {
        patch.derived(Transpose { perm: Some(vec![1, 0]) }, &[matrix.id()])
    } else {
        Ok(matrix.id())
    }
}

/// `value` times `factor`.
fn scaled(value: ValueId, factor: f64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
    if factor.to_bits() == 1f64.to_bits() {
        return Ok(value);
    }
    let dtype = patch.ty(value).ok_or(Skip::NoMatch)?.dtype;
    let factor = patch.scalar(dtype, factor)?;
    Ok(patch.derived(Mul, &[value, factor])?)
}
