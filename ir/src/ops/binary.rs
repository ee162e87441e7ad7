//! Elementwise operations of two operands: `y[i] = f(a[i], b[i])`, operands broadcast together.

use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only, rules};
use super::{single, sizes_of};
use crate::kernels::broadcast;
use crate::tensor::{Number, Tensor};
use crate::types::{DimExpr, SymTensor, TensorType};
use crate::with_number;

/// Declares arithmetic operations: two operands of one type, a result of that type.
///
/// The last column, where there is one, is the same arithmetic on polynomials of symbolic sizes.
macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $traits:expr, $compute:expr, $symbolic:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
            const TRAITS: OpTraits = $traits;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                let dtype = operands.same_dtype(1, 0)?.dtype;
                Ok(single(dtype, rules::broadcast(operands, &[0, 1])?))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                with_number!(types[0].dtype, T => zip_numbers::<T>(operands, &types[0], $compute))
            }

            fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
                zip_symbolic(operands, $symbolic)
            }
        }
    )*};
}

const ELEMENTWISE: OpTraits = OpTraits::PURE.union(OpTraits::ELEMENTWISE);
const SYMMETRIC: OpTraits = ELEMENTWISE.union(OpTraits::COMMUTATIVE);

arithmetic! {
    /// `a + b`; integers wrap.
    Add = "add", SYMMETRIC, Number::add, DimExpr::add;
    /// `a - b`; integers wrap.
    Sub = "sub", ELEMENTWISE, Number::sub, DimExpr::sub;
    /// `a * b`; integers wrap.
    Mul = "mul", SYMMETRIC, Number::mul, DimExpr::mul;
    /// `a / b`; integers round toward zero, and a division by zero gives 0.
    Div = "div", ELEMENTWISE, Number::div, DimExpr::div_exact;
}

/// Elements of both operands in their compute type, combined and rounded to the result type.
fn zip_numbers<T: Number>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    combine: impl Fn(T, T) -> T,
) -> Result<Results, EvalError> {
    let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
    let sizes = sizes_of(ty)?;
    let (x, y) = (a.to_compute::<T>()?, b.to_compute::<T>()?);
    let values = broadcast::zip((&x, a.sizes()), (&y, b.sizes()), &sizes, combine);
    Ok(only(Tensor::from_compute(ty.dtype, &sizes, values)?))
}

/// The same on symbolic elements; `None` where an element does not stay a polynomial.
fn zip_symbolic(
    operands: &Operands<'_>,
    combine: impl Fn(&DimExpr, &DimExpr) -> Option<DimExpr>,
) -> Option<SymTensor> {
    let (a, b) = (operands.symbolic(0)?, operands.symbolic(1)?);
    let shape = rules::broadcast(operands, &[0, 1]).ok()?.as_known()?;
    let sizes: smallvec::SmallVec<[usize; 6]> = shape.iter().map(|size| *size as usize).collect();
    let (left, right): (Vec<_>, Vec<_>) = (a.elements.iter().collect(), b.elements.iter().collect());
    let elements = broadcast::zip((&left, &a.sizes), (&right, &b.sizes), &sizes, combine);
    Some(SymTensor { dtype: a.dtype, sizes, elements: elements.into_iter().collect::<Option<_>>()? })
}
