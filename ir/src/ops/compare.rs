//! Comparisons: `y[i]` says whether `a[i]` and `b[i]` are in a relation; operands are broadcast together.
//!
//! NaN is in no relation to anything. Of truth values, only `equal` is defined.

use super::apply::{ELEMENTWISE, SYMMETRIC, test_pairs};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::dtype::DType;
use crate::kernels::broadcast;
use crate::tensor::Sizes;
use crate::types::{DimExpr, SymTensor, TensorType};
use crate::with_number;

/// Whether `a` and `b` are the same; zeros of either sign are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Equal;

impl OpDef for Equal {
    const NAME: &'static str = "equal";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
    const TRAITS: OpTraits = SYMMETRIC;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        operands.same_dtype(1, 0)?;
        Ok(single(DType::Bool, rules::broadcast(operands, &[0, 1])?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let dtype = operands.tensor(0)?.dtype();
        with_number!(dtype, T => test_pairs(operands, &types[0], |a: T, b| a == b))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        // Exporters ask whether a size is -1, which no size is.
        let (a, b) = (operands.symbolic(0)?, operands.symbolic(1)?);
        let shape = rules::broadcast(operands, &[0, 1]).ok()?.as_known()?;
        let sizes: Sizes = shape.iter().map(|size| *size as usize).collect();
        let (left, right): (Vec<_>, Vec<_>) = (a.elements.iter().collect(), b.elements.iter().collect());
        let equal = broadcast::zip((&left, &a.sizes), (&right, &b.sizes), &sizes, |a, b| {
            always_equal(a, b).map(|equal| DimExpr::constant(i64::from(equal)))
        });
        Some(SymTensor { dtype: DType::Bool, sizes, elements: equal.into_iter().collect::<Option<_>>()? })
    }
}

/// Declares comparisons of numbers.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $condition:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
            const TRAITS: OpTraits = ELEMENTWISE;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                rules::number(operands, 0)?;
                operands.same_dtype(1, 0)?;
                Ok(single(DType::Bool, rules::broadcast(operands, &[0, 1])?))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                let dtype = operands.tensor(0)?.dtype();
                with_number!(dtype, T => test_pairs::<T>(operands, &types[0], $condition))
            }
        }
    )*};
}

comparisons! {
    /// Whether `a < b`.
    Less = "less", |a, b| a < b;
    /// Whether `a <= b`.
    LessOrEqual = "less_or_equal", |a, b| a <= b;
    /// Whether `a > b`.
    Greater = "greater", |a, b| a > b;
    /// Whether `a >= b`.
    GreaterOrEqual = "greater_or_equal", |a, b| a >= b;
}

/// Whether two polynomials of sizes are the same for all sizes, or different for all; `None` when that depends.
fn always_equal(a: &DimExpr, b: &DimExpr) -> Option<bool> {
    let difference = a.sub(b)?;
    if let Some(constant) = difference.as_constant() {
        return Some(constant == 0);
    }
    // Sizes are not negative, so terms of one sign and a constant of that sign never add up to zero.
    let constant = difference.terms().find(|(symbols, _)| symbols.is_empty()).map(|(_, constant)| constant)?;
    let one_sign = difference.terms().all(|(_, coefficient)| (coefficient < 0) == (constant < 0));
    one_sign.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, tensor};
    use crate::tensor::Tensor;
    use crate::types::SymId;

    #[test]
    fn nan_compares_with_nothing() {
        let (a, b) = (tensor(&[4], &[1.0, f32::NAN, -0.0, 3.0]), tensor(&[4], &[2.0, f32::NAN, 0.0, 3.0]));
        let answers = |op: Op| evaluate(&op, &[&a, &b])[0].to_bools().expect("truth values");
        assert_eq!(answers(Equal.into()), [false, false, true, true]);
        assert_eq!(answers(Less.into()), [true, false, false, false]);
        assert_eq!(answers(LessOrEqual.into()), [true, false, true, true]);
        assert_eq!(answers(Greater.into()), [false, false, false, false]);
        assert_eq!(answers(GreaterOrEqual.into()), [false, false, true, true]);
    }

    #[test]
    fn large_integers_are_compared_exactly() {
        let vector = |element: i64| Tensor::from_vec(&[1], vec![element]).expect("one");
        let (a, b) = (vector(i64::MAX), vector(i64::MAX - 1));
        assert_eq!(evaluate(&Equal.into(), &[&a, &b])[0].to_bools().expect("truth values"), [false]);
        assert_eq!(evaluate(&Greater.into(), &[&a, &b])[0].to_bools().expect("truth values"), [true]);
    }

    #[test]
    fn no_size_is_negative() {
        let (batch, one) = (DimExpr::symbol(SymId::from_index(0)), DimExpr::constant(1));
        assert_eq!(always_equal(&batch, &DimExpr::constant(-1)), Some(false));
        assert_eq!(always_equal(&batch, &one), None);
        assert_eq!(always_equal(&batch, &DimExpr::default()), None);
        assert_eq!(always_equal(&batch, &batch), Some(true));
        assert_eq!(always_equal(&batch, &batch.add(&one).expect("small")), Some(false));
        let other = DimExpr::symbol(SymId::from_index(1));
        assert_eq!(always_equal(&batch, &other), None);
    }
}
