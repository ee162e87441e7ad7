//! `gemm` as a plain product.

use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Add, Gemm, MatMul, Mul, OpKind, Transpose};
use quad_ir::weights::WeightError;

use super::replace;
use crate::emit::{Emit, scalar, weight_of};
use crate::pattern::is_constant;
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
    let left = prepared(a, gemm.transA, 1.0, patch)?;
    let right = prepared(b, gemm.transB, alpha, patch)?;
    let mut new = patch.add_value(MatMul, &[left, right])?;
    if let Some(c) = node.operand("c").filter(|_| beta != 0.0) {
        let c = prepared(c, false, beta, patch)?;
        new = patch.add_value(Add, &[new, c])?;
    }
    replace(node, new, patch)
}

/// `value`, or its transpose where it is `swapped`, times `factor`: a constant where it is one.
fn prepared(value: ValueRef<'_>, swapped: bool, factor: f64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
    let is_scaled = factor.to_bits() != 1f64.to_bits();
    if !swapped && !is_scaled {
        return Ok(value.id());
    }
    let factor = scalar(value.ty().dtype, factor).map_err(WeightError::from)?;
    if is_constant(value) {
        let mut weight = weight_of(value, patch)?.ok_or(Skip::NoMatch)?;
        let weights = patch.weights_mut();
        if swapped {
            weight = weights.derive(Transpose { perm: Some(vec![1, 0]) }, &[Some(weight)])?;
        }
        if is_scaled {
            let factor = weights.add_tensor(&factor)?;
            weight = weights.derive(Mul, &[Some(weight), Some(factor)])?;
        }
        return Ok(patch.add_weight(weight)?);
    }
    let x = if swapped { patch.transpose(value.id(), &[1, 0])? } else { value.id() };
    if !is_scaled {
        return Ok(x);
    }
    let factor = patch.add_constant(&factor)?;
    Ok(patch.add_value(Mul, &[x, factor])?)
}
