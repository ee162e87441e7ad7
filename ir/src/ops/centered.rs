//! What the operations on 8-bit integers with zero points share: checks, loading, and rounding to a quantized result.
//!
//! A stored integer `q` stands for `scale * (q - zero_point)`. Products are formed of differences `q - zero_point`, so
//! that zeros of padding are zeros, and summed exactly in 32 bits.

use super::{EvalError, InferError, Operands, rules};
use crate::dtype::DType;
use crate::kernels::broadcast::stretch;
use crate::kernels::matmul::CenteredByte;
use crate::tensor::{Sizes, Tensor};
use crate::types::{Dim, Shape};

/// The element types of quantized operands.
pub(crate) const BYTES: &[DType] = &[DType::I8, DType::U8];

/// What the elements of a vector of scales or zero points belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    /// The rows of a matrix: the last axis but one.
    Rows,
    /// The columns of a matrix: the last axis.
    Columns,
    /// The first axis of a tensor with this many axes.
    First(usize),
}

impl Along {
    /// The sizes of `given` with a vector of several elements turned to its axis.
    fn turned<T: Clone>(self, given: &[T], one: &T) -> Vec<T> {
        let after = match self {
            Self::Rows => 1,
            Self::Columns => 0,
            Self::First(rank) => rank.saturating_sub(1),
        };
        let ones = if given.len() == 1 { after } else { 0 };
        given.iter().cloned().chain(std::iter::repeat_n(one.clone(), ones)).collect()
    }
}

/// Checks that the operand at `index` has one element.
pub(crate) fn one_element(operands: &Operands<'_>, index: usize) -> Result<(), InferError> {
    let shape = &operands.ty(index)?.shape;
    if shape.iter().all(|dim| dim.known().is_none_or(|size| size == 1)) {
        return Ok(());
    }
    Err(operands.mismatch(index, "a single element"))
}

/// Checks that the operand at `index` has one element, or stretches to `shape` with a vector lying along `along`.
pub(crate) fn stretches_along(
    operands: &Operands<'_>,
    index: usize,
    shape: &Shape,
    along: Along,
) -> Result<(), InferError> {
    if one_element(operands, index).is_ok() {
        return Ok(());
    }
    let own: Shape = along.turned(&operands.ty(index)?.shape, &Dim::Known(1)).into_iter().collect();
    if rules::stretches(&own, shape) {
        return Ok(());
    }
    Err(operands.mismatch(index, format!("a single element, or sizes that stretch to {shape}")))
}

/// Checks as [`stretches_along`] does for a matrix operand, and that parameters do not differ along the axis that is
/// summed over, as products of the matrix could not be scaled then.
pub(crate) fn outside_sums(
    operands: &Operands<'_>,
    index: usize,
    shape: &Shape,
    along: Along,
) -> Result<(), InferError> {
    stretches_along(operands, index, shape, along)?;
    let own = along.turned(&operands.ty(index)?.shape, &Dim::Known(1));
    let from_end = if along == Along::Rows { 1 } else { 2 };
    let summed = own.len().checked_sub(from_end).and_then(|axis| own[axis].known());
    if summed.is_none_or(|size| size == 1) {
        return Ok(());
    }
    Err(operands.mismatch(index, "one parameter for each row of `a` or column of `b`"))
}

/// The elements of `tensor` stretched to `sizes` with a vector lying along `along`; `None` where there is only one.
pub(crate) fn stretched<T: Copy>(
    tensor: &Tensor,
    values: &[T],
    sizes: &[usize],
    along: Along,
) -> Result<Spread<T>, EvalError> {
    if let [one] = values {
        return Ok(Spread::One(*one));
    }
    let own: Sizes = along.turned(tensor.sizes(), &1).into_iter().collect();
    if own.len() > sizes.len() {
        return Err(EvalError::Unsupported(format!("stretching {own:?} to {sizes:?}")));
    }
    Ok(Spread::Each(stretch(values, &own, sizes)))
}

/// A parameter of each element.
#[derive(Clone, Debug)]
pub(crate) enum Spread<T> {
    /// The same for all.
    One(T),
    /// One for each, in order.
    Each(Vec<T>),
}

impl<T: Copy> Spread<T> {
    /// The parameter of the element at `index`.
    pub(crate) fn at(&self, index: usize) -> T {
        match self {
            Self::One(value) => *value,
            Self::Each(values) => values[index],
        }
    }
}

/// The elements of `tensor` less their zero points, which are 0 where there are none.
pub(crate) fn centered(
    tensor: &Tensor,
    zero_point: Option<&Tensor>,
    along: Along,
) -> Result<Vec<CenteredByte>, EvalError> {
    let signed = tensor.dtype() == DType::I8;
    let center = |code: u8, zero: u8| {
        if signed {
            CenteredByte::from_i8(code.cast_signed(), zero.cast_signed())
        } else {
            CenteredByte::from_u8(code, zero)
        }
    };
    let codes = tensor.bytes();
    let zeros = match zero_point {
        Some(zero_point) => stretched(zero_point, zero_point.bytes(), tensor.sizes(), along)?,
        None => Spread::One(0),
    };
    Ok(codes.iter().enumerate().map(|(index, code)| center(*code, zeros.at(index))).collect())
}

/// `round(sum * multiplier) + zero_point` of each sum, kept within the range of `dtype`. Halves round to even.
pub(crate) fn requantize(
    sums: &[i32],
    multiplier: impl Fn(usize) -> f64,
    zero_point: i64,
    (dtype, sizes): (DType, &[usize]),
) -> Result<Tensor, EvalError> {
    let (lowest, highest) = dtype.integer_range().unwrap_or_default();
    let requantized = |(index, sum): (usize, &i32)| {
        let rounded = (f64::from(*sum) * multiplier(index)).round_ties_even();
        // A double far out of range saturates on its way to an integer.
        let shifted = (rounded as i64).saturating_add(zero_point);
        shifted.clamp(lowest as i64, highest as i64)
    };
    Ok(Tensor::from_i64(dtype, sizes, sums.iter().enumerate().map(requantized).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even_before_the_zero_point_is_added() {
        let tensor = requantize(&[5, 3, -5, 100_000, -100_000], |_| 0.5, 1, (DType::I8, &[5])).expect("fits");
        assert_eq!(tensor.to_i64().expect("integers"), [3, 3, -1, 127, -128]);
    }

    #[test]
    fn rows_have_their_own_zero_points() {
        let bytes = Tensor::from_vec(&[2, 2], vec![200u8, 0, 200, 0]).expect("four elements");
        let zeros = Tensor::from_vec(&[2], vec![0u8, 255]).expect("two elements");
        let get = |along| {
            centered(&bytes, Some(&zeros), along)
                .expect("fits")
                .iter()
                .map(|byte| byte.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(get(Along::Rows), [200, 0, -55, -255]);
        assert_eq!(get(Along::Columns), [200, -255, 200, -255]);
    }
}
