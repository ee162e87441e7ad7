//! `arg_max` and `arg_min`: where along an axis the largest or smallest element is, as `i64`.
//!
//! NaN counts as larger and smaller than everything, as in NumPy.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single};
use super::sizes_of;
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::along_axis::map_along;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, TensorType};
use crate::with_number;

/// Declares the two; the last column says whether the first number is further out than the second.
macro_rules! extremes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $further:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Along which axis; negative ones count from the end.
            pub axis: i64,
            /// Whether the axis stays, with size 1.
            pub keepdims: bool,
            /// Whether the last of several equal elements is meant, not the first.
            pub select_last_index: bool,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { axis: 0, keepdims: true, select_last_index: false }
            }
        }

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x")];

            fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
                visitor.attr("axis", &mut self.axis)?;
                visitor.attr("keepdims", &mut self.keepdims)?;
                visitor.attr("select_last_index", &mut self.select_last_index)
            }

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                infer(operands, self.axis, self.keepdims)
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                let x = operands.tensor(0)?;
                let axis = rules::axis("axis", self.axis, x.rank())?;
                let positions = with_number!(x.dtype(), T => {
                    map_along(&x.to_compute::<T>()?, x.sizes(), axis, 1, &|line: &[T], position| {
                        position.fill(find(line, self.select_last_index, $further));
                    })
                });
                Ok(only(Tensor::from_vec(&sizes_of(&types[0])?, positions)?))
            }
        }
    )*};
}

extremes! {
    /// The position of the largest element.
    ArgMax = "arg_max", |a, b| a > b;
    /// The position of the smallest element.
    ArgMin = "arg_min", |a, b| a < b;
}

fn infer(operands: &Operands<'_>, axis: i64, keepdims: bool) -> Result<Types, InferError> {
    let x = rules::number(operands, 0)?;
    let axis = rules::axis("axis", axis, x.rank())?;
    let mut shape = x.shape.clone();
    if shape[axis] == Dim::Known(0) {
        return Err(operands.mismatch(0, format!("at least one element along axis {axis}")));
    }
    if keepdims {
        shape.0[axis] = Dim::Known(1);
    } else {
        shape.0.remove(axis);
    }
    Ok(single(DType::I64, shape))
}

/// The position of the first element that no other is further out than, or of the last one.
pub(crate) fn find<T: Number>(line: &[T], last: bool, further: impl Fn(T, T) -> bool) -> i64 {
    let mut found = 0;
    for (position, element) in line.iter().enumerate().skip(1) {
        let best = line[found];
        let moves = match (element.is_nan(), best.is_nan()) {
            (true, nan) => last || !nan,
            (false, true) => false,
            (false, false) => further(*element, best) || (last && *element == best),
        };
        if moves {
            found = position;
        }
    }
    found as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn positions(op: impl Into<Op>, x: &Tensor) -> Vec<i64> {
        evaluate(&op.into(), &[x])[0].to_i64().expect("integers")
    }

    #[test]
    fn ties_go_to_the_first_or_the_last() {
        let x = tensor(&[2, 4], &[2.0, 3.0, 3.0, 1.0, 5.0, 1.0, 1.0, 5.0]);
        let along = |select_last_index| ArgMax { axis: -1, keepdims: false, select_last_index };
        assert_eq!(positions(along(false), &x), [1, 0]);
        assert_eq!(positions(along(true), &x), [2, 3]);
        assert_eq!(positions(ArgMin { axis: 1, ..ArgMin::default() }, &x), [3, 1]);
        assert_eq!(positions(ArgMax::default(), &x), [1, 0, 0, 1]);
    }

    #[test]
    fn nan_wins() {
        let x = tensor(&[5], &[1.0, f32::NAN, 3.0, f32::NAN, 0.0]);
        assert_eq!(positions(ArgMax::default(), &x), [1]);
        assert_eq!(positions(ArgMin { select_last_index: true, ..ArgMin::default() }, &x), [3]);
    }

    #[test]
    fn nothing_has_no_largest_element() {
        let refused = refused(&ArgMax::default().into(), &[&tensor(&[0, 2], &[])]);
        assert_eq!(refused, "operand `x`: f32[0, 2] does not fit, expected at least one element along axis 0");
    }
}
