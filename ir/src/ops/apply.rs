//! Applying functions of numbers to the elements of operands: what elementwise operations have in common.

use super::{EvalError, Inputs, OpTraits, Results, only, sizes_of};
use crate::dtype::DType;
use crate::kernels::real::Real;
use crate::kernels::{broadcast, map};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;

/// The traits of elementwise operations.
pub(crate) const ELEMENTWISE: OpTraits = OpTraits::PURE.union(OpTraits::ELEMENTWISE);

/// The traits of elementwise operations whose two operands may be exchanged.
pub(crate) const SYMMETRIC: OpTraits = ELEMENTWISE.union(OpTraits::COMMUTATIVE);

/// `function` of each element of the first operand, in its compute type.
pub(crate) fn map_numbers<T: Number>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    function: impl Fn(T) -> T + Sync,
) -> Result<Results, EvalError> {
    let x = operands.tensor(0)?;
    let values = map::map(&x.to_compute::<T>()?, function);
    Ok(only(Tensor::from_compute(ty.dtype, x.sizes(), values)?))
}

/// `function` of each element of the first operand, evaluated in `f64` and rounded to the compute type.
pub(crate) fn map_real<T: Real>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    function: impl Fn(f64) -> f64 + Sync,
) -> Result<Results, EvalError> {
    map_numbers::<T>(operands, ty, |x| T::from_f64(function(x.to_f64())))
}

/// Whether `condition` holds for each element of the first operand.
pub(crate) fn test_numbers<T: Number>(
    operands: &Inputs<'_>,
    condition: impl Fn(T) -> bool + Sync,
) -> Result<Results, EvalError> {
    let x = operands.tensor(0)?;
    let values = map::map(&x.to_compute::<T>()?, |value| u8::from(condition(value)));
    Ok(only(Tensor::from_elements(DType::Bool, x.sizes(), values)?))
}

/// Elements of both operands in their compute type, combined and rounded to the result type.
pub(crate) fn zip_numbers<T: Number>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    combine: impl Fn(T, T) -> T + Sync,
) -> Result<Results, EvalError> {
    let values = zip(operands, ty, combine)?;
    Ok(only(Tensor::from_compute(ty.dtype, &sizes_of(ty)?, values)?))
}

/// Whether `condition` holds for each pair of elements of both operands.
pub(crate) fn test_pairs<T: Number>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    condition: impl Fn(T, T) -> bool + Sync,
) -> Result<Results, EvalError> {
    let values = zip(operands, ty, |x: T, y| u8::from(condition(x, y)))?;
    Ok(only(Tensor::from_elements(DType::Bool, &sizes_of(ty)?, values)?))
}

fn zip<T: Number, R: Clone + Default + Send>(
    operands: &Inputs<'_>,
    ty: &TensorType,
    combine: impl Fn(T, T) -> R + Sync,
) -> Result<Vec<R>, EvalError> {
    let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
    let (x, y) = (a.to_compute::<T>()?, b.to_compute::<T>()?);
    Ok(broadcast::zip((&x, a.sizes()), (&y, b.sizes()), &sizes_of(ty)?, combine))
}

/// Declares the type of a function that [`real_functions`] declares.
macro_rules! real_function {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
    };
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $default:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name { $($(#[$field_doc])* pub $field: $crate::attr::F32Bits,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::attr::F32Bits::from($default),)+ }
            }
        }
    };
}
pub(crate) use real_function;

/// Declares functions of one floating-point operand, with or without numbers as attributes.
///
/// The function takes and returns `f64`; in it `T` names the [`Real`] that offers exponential functions of the right
/// precision, and each attribute's name is its value.
macro_rules! real_functions {
    ($(
        $(#[$doc:meta])* $name:ident = $word:literal
        $({ $($(#[$field_doc:meta])* $field:ident: $default:expr,)+ })?,
        |$x:ident| $function:expr;
    )*) => {$(
        $crate::ops::apply::real_function! {
            $(#[$doc])* $name $({ $($(#[$field_doc])* $field: $default,)+ })?
        }

        impl $crate::ops::OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [$crate::ops::Operand] = &[$crate::ops::one("x")];
            const TRAITS: $crate::ops::OpTraits = $crate::ops::apply::ELEMENTWISE;

            fn attrs(
                &mut self,
                _visitor: &mut dyn $crate::attr::AttrVisitor,
            ) -> Result<(), $crate::attr::AttrError> {
                $($(_visitor.attr(stringify!($field), &mut self.$field)?;)+)?
                Ok(())
            }

            fn infer(
                &self,
                operands: &$crate::ops::Operands<'_>,
            ) -> Result<$crate::ops::Types, $crate::ops::InferError> {
                let x = operands.float(0)?;
                Ok($crate::ops::single(x.dtype, x.shape.clone()))
            }

            fn eval(
                &self,
                operands: &$crate::ops::Inputs<'_>,
                types: &[$crate::types::TensorType],
            ) -> Result<$crate::ops::Results, $crate::ops::EvalError> {
                $($(let $field = f64::from(self.$field.get());)+)?
                $crate::with_float!(types[0].dtype, T => {
                    $crate::ops::apply::map_real::<T>(operands, &types[0], |$x| $function)
                })
            }
        }
    )*};
}
pub(crate) use real_functions;
