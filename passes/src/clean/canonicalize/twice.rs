//! Operations that the one before undoes, or that it makes idle.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, Patch};
use quad_ir::ops::{Cast, OpKind};

use super::becomes;
use crate::pattern::made_by;
use crate::rule::{FnRule, Skip};

pub(super) const RULES: &[FnRule] = &[
    FnRule { name: "cast-to-own-type", roots: &[OpKind::Cast], rewrite: cast_to_own_type },
    FnRule { name: "cast-of-cast", roots: &[OpKind::Cast], rewrite: cast_of_cast },
    FnRule { name: "double-negation", roots: INVOLUTIONS, rewrite: double_negation },
    FnRule { name: "idempotent", roots: IDEMPOTENT, rewrite: idempotent },
];

/// Operations that undo themselves.
const INVOLUTIONS: &[OpKind] = &[OpKind::Neg, OpKind::Not, OpKind::BitwiseNot];

/// Operations that, done again, change nothing.
const IDEMPOTENT: &[OpKind] =
    &[OpKind::Relu, OpKind::Abs, OpKind::Sign, OpKind::Floor, OpKind::Ceil, OpKind::Round];

/// A cast to the type that the elements have.
fn cast_to_own_type(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|x| x.ty() == node.result().ty()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// A cast of what was cast to a type that has every element: the first cast changed no number, so the second one gives
/// the same without it.
fn cast_of_cast(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let cast = node.is::<Cast>().ok_or(Skip::NoMatch)?;
    let (inner, to) = node.operand("x").and_then(made_by::<Cast>).ok_or(Skip::NoMatch)?;
    let x = inner.operand("x").ok_or(Skip::NoMatch)?;
    if !has_all(to.to, x.ty().dtype) {
        return Err(Skip::NoMatch);
    }
    let new = patch.add_value(cast.clone(), &[x.id()])?;
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// Whether every number that a `narrow` element can be is an element of `wide`.
fn has_all(wide: DType, narrow: DType) -> bool {
    if wide == narrow {
        return true;
    }
    // Truth values are 0 and 1.
    let narrow_range = narrow.integer_range().or((narrow == DType::Bool).then_some((0, 1)));
    match (wide.integer_range(), narrow_range) {
        (Some(wide), Some(narrow)) => wide.0 <= narrow.0 && narrow.1 <= wide.1,
        (None, Some(narrow)) => mantissa_bits(wide).is_some_and(|bits| {
            let end = 1i128 << bits;
            -end <= narrow.0 && narrow.1 <= end
        }),
        (Some(_), None) => false,
        (None, None) => match wide {
            DType::F64 => true,
            DType::F32 => narrow != DType::F64,
            // Neither f8e8m0 nor the types with another bias: their smallest numbers are out of range.
            DType::F16 => matches!(narrow, DType::F8E4M3FN | DType::F8E5M2 | DType::F4E2M1),
            DType::BF16 => narrow.is_minifloat() && narrow != DType::F8E8M0,
            _ => false,
        },
    }
}

/// Bits of the mantissa, the hidden one included, of the wider floats.
fn mantissa_bits(dtype: DType) -> Option<u32> {
    match dtype {
        DType::F64 => Some(53),
        DType::F32 => Some(24),
        DType::F16 => Some(11),
        DType::BF16 => Some(8),
        _ => None,
    }
}

/// `-(-x)` and the like: exact, as a sign or a bit is turned over twice; the smallest integer wraps twice.
fn double_negation(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let inner = node.operand("x").ok_or(Skip::NoMatch)?.producer();
    let x = inner.operand("x").filter(|_| inner.op() == node.op()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// `relu(relu(x))` and the like: the second one finds only what it leaves as it is.
fn idempotent(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|x| x.producer().op() == node.op()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::ALL_DTYPES;
    use quad_ir::tensor::{Narrowing, Tensor};

    use super::*;

    /// Every code of every type of at most 8 bits, there and back through each type that is said to have all of them.
    #[test]
    fn wider_types_have_all_elements() {
        let narrow = ALL_DTYPES.iter().filter(|dtype| dtype.bits() <= 8);
        for (narrow, wide) in narrow.flat_map(|narrow| ALL_DTYPES.iter().map(move |wide| (*narrow, *wide))) {
            if !has_all(wide, narrow) {
                continue;
            }
            let count = if narrow == DType::Bool { 2 } else { 1usize << narrow.bits() };
            let codes: Vec<u8> = (0..count).map(|code| code as u8).collect();
            let all = Tensor::from_codes(narrow, &[count], &codes).expect("codes of that width");
            let cast =
                |tensor: &Tensor, to| tensor.cast(to, Narrowing::default()).expect("every pair of types");
            let values = |tensor: &Tensor| tensor.to_f64().expect("numbers");
            for (before, after) in values(&all).iter().zip(values(&cast(&all, wide))) {
                assert!(
                    *before == after || (before.is_nan() && after.is_nan()),
                    "{narrow} in {wide}: {before} {after}"
                );
            }
        }
    }

    #[test]
    fn types_that_round_do_not_have_all() {
        let pairs = [
            (DType::F16, DType::F32),
            (DType::BF16, DType::F16),
            (DType::F16, DType::BF16),
            (DType::F32, DType::I32),
            (DType::F64, DType::I64),
            (DType::I64, DType::F32),
            (DType::I32, DType::U32),
            (DType::Bool, DType::I8),
            (DType::F8E4M3FN, DType::Bool),
        ];
        for (wide, narrow) in pairs {
            assert!(!has_all(wide, narrow), "{narrow} in {wide}");
        }
        assert!(
            has_all(DType::I64, DType::U32)
                && has_all(DType::F64, DType::I32)
                && has_all(DType::F32, DType::F16)
        );
    }
}
