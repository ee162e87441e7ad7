//! Operations on truth values and on the bits of integers; operands are broadcast together.

use std::ops::{BitAnd, BitOr, BitXor, Not as Complement};

use super::apply::{ELEMENTWISE, SYMMETRIC, map_numbers, zip_numbers};
use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, rules, single};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::dtype::DType;
use crate::tensor::Number;
use crate::types::TensorType;

/// Evaluates `$body` with `$T` naming the integer in which elements of `$dtype`, an integer type or truth values, are
/// computed.
macro_rules! with_integer {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $crate::tensor::compute_dtype($dtype) {
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I16 => {
                type $T = i16;
                $body
            }
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::U64 => {
                type $T = u64;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
            DType::U16 => {
                type $T = u16;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            // What is left is computed in i64: the type rules let no float through.
            _ => {
                type $T = i64;
                $body
            }
        }
    };
}

/// Declares operations on bits; `$class` checks the element type of an operand.
macro_rules! bit_operations {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $class:expr, $compute:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
            const TRAITS: OpTraits = SYMMETRIC;

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                infer_bits(operands, $class)
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                with_integer!(types[0].dtype, T => zip_numbers::<T>(operands, &types[0], $compute))
            }
        }
    )*};
}

bit_operations! {
    /// Whether both `a` and `b` hold.
    And = "and", rules::truth, BitAnd::bitand;
    /// Whether `a` or `b` holds, or both.
    Or = "or", rules::truth, BitOr::bitor;
    /// Whether exactly one of `a` and `b` holds.
    Xor = "xor", rules::truth, BitXor::bitxor;
    /// The bits that are set in both `a` and `b`.
    BitwiseAnd = "bitwise_and", rules::integer, BitAnd::bitand;
    /// The bits that are set in `a` or `b`, or both.
    BitwiseOr = "bitwise_or", rules::integer, BitOr::bitor;
    /// The bits that are set in exactly one of `a` and `b`.
    BitwiseXor = "bitwise_xor", rules::integer, BitXor::bitxor;
}

/// Whether `x` does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Not;

impl OpDef for Not {
    const NAME: &'static str = "not";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = rules::truth(operands, 0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        map_numbers::<u8>(operands, &types[0], |x| u8::from(x == 0))
    }
}

/// The bits that are not set in `x`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitwiseNot;

impl OpDef for BitwiseNot {
    const NAME: &'static str = "bitwise_not";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = rules::integer(operands, 0)?;
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_integer!(types[0].dtype, T => map_numbers::<T>(operands, &types[0], Complement::not))
    }
}

attr_enum! {
    /// Where bits move.
    pub enum Direction {
        /// To higher places: the number grows.
        #[default]
        Left = "LEFT",
        /// To lower places; copies of the sign bit of signed numbers follow.
        Right = "RIGHT",
    }
}

/// The bits of `a` moved by `b` places. Moved by a negative number of places, or by as many as there are bits or more,
/// only the sign of a number moved to the right is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitShift {
    /// Where bits move.
    pub direction: Direction,
}

impl OpDef for BitShift {
    const NAME: &'static str = "bit_shift";
    const OPERANDS: &'static [Operand] = &[one("a"), one("b")];
    const TRAITS: OpTraits = ELEMENTWISE;

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("direction", &mut self.direction)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        infer_bits(operands, rules::integer)
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let ty = &types[0];
        let places = |by: i64| u32::try_from(by).ok().filter(|by| *by < ty.dtype.bits());
        with_integer!(ty.dtype, T => match self.direction {
            Direction::Left => zip_numbers::<T>(operands, ty, |a, b| places(b.to_i64()).map_or(0, |by| a << by)),
            Direction::Right => zip_numbers::<T>(operands, ty, |a, b| match places(b.to_i64()) {
                Some(by) => a >> by,
                None if a < T::default() => a | !0,
                None => 0,
            }),
        })
    }
}

fn infer_bits(
    operands: &Operands<'_>,
    class: for<'a> fn(&Operands<'a>, usize) -> Result<&'a TensorType, InferError>,
) -> Result<Types, InferError> {
    let dtype = class(operands, 0)?.dtype;
    operands.same_dtype(1, 0)?;
    Ok(single(dtype, rules::broadcast(operands, &[0, 1])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused};
    use crate::tensor::{Element, Tensor};

    fn combined<T: Element>(op: impl Into<Op>, a: &[T], b: &[T]) -> Vec<T> {
        let vector = |elements: &[T]| Tensor::from_vec(&[elements.len()], elements.to_vec()).expect("a vector");
        evaluate(&op.into(), &[&vector(a), &vector(b)])[0].elements().expect("the same type").into_owned()
    }

    #[test]
    fn truth_tables() {
        let tensor = |elements: [bool; 4]| Tensor::from_bools(&[4], elements.to_vec()).expect("four");
        let (a, b) = (tensor([false, false, true, true]), tensor([false, true, false, true]));
        let table = |op: Op| evaluate(&op, &[&a, &b])[0].to_bools().expect("truth values");
        assert_eq!(table(And.into()), [false, false, false, true]);
        assert_eq!(table(Or.into()), [false, true, true, true]);
        assert_eq!(table(Xor.into()), [false, true, true, false]);
        assert_eq!(evaluate(&Not.into(), &[&a])[0].to_bools().expect("truth values"), [true, true, false, false]);
    }

    #[test]
    fn bits_of_integers() {
        assert_eq!(combined(BitwiseAnd, &[12i16, -1], &[10, 5]), [8, 5]);
        assert_eq!(combined(BitwiseOr, &[12u64], &[10]), [14]);
        assert_eq!(combined(BitwiseXor, &[12i8], &[-1]), [-13]);
        let nibbles = Tensor::from_i64(DType::U4, &[3], vec![0, 5, 15]).expect("three");
        assert_eq!(evaluate(&BitwiseNot.into(), &[&nibbles])[0].to_i64().expect("integers"), [15, 10, 0]);
    }

    #[test]
    fn far_shifts_leave_the_sign() {
        let (left, right) = (BitShift { direction: Direction::Left }, BitShift { direction: Direction::Right });
        assert_eq!(combined(left.clone(), &[1u8, 3, 1, 1], &[7, 7, 8, 255]), [128, 128, 0, 0]);
        assert_eq!(combined(left, &[-1i8, 1], &[7, -1]), [-128, 0]);
        assert_eq!(combined(right.clone(), &[128u8, 255], &[7, 8]), [1, 0]);
        assert_eq!(combined(right, &[-8i32, -8, 8, -1], &[1, 32, 99, -1]), [-4, -1, 0, -1]);
    }

    #[test]
    fn classes_are_kept_apart() {
        let (truth, integer) = (Tensor::zeros(DType::Bool, &[1]).expect("small"), Tensor::scalar(1i64));
        assert_eq!(refused(&And.into(), &[&integer, &integer]), "operand `a`: i64[] does not fit, expected truth values");
        assert_eq!(refused(&BitwiseOr.into(), &[&truth, &truth]), "operand `a`: bool[1] does not fit, expected integers");
        let real = Tensor::scalar(1.0f32);
        assert_eq!(refused(&BitwiseNot.into(), &[&real]), "operand `x`: f32[] does not fit, expected integers");
    }
}
