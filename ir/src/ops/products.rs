//! What operations that sum products share: the type they sum in, and products of stacks of matrices.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::kernels::KernelError;
use crate::kernels::broadcast::{broadcast_strides, for_each_row};
use crate::kernels::conv::for_each_chunk;
use crate::kernels::matmul::{Element as Factor, Store, Threads, multiply};
use crate::kernels::matrix::{Matrix, MatrixMut};
use crate::tensor::{Number, Sizes, Tensor, TensorError};

/// A type in which products of elements are formed and summed.
///
/// Every integer type is summed in 64 bits: sums that wrap there have the same low bits as sums that wrap in the
/// element type.
pub(crate) trait Term: Factor<Sum = Self> + Number {
    /// The elements of `tensor` as terms.
    fn load(tensor: &Tensor) -> Result<Cow<'_, [Self]>, TensorError>;

    /// Terms as elements of `dtype`: floats rounded to nearest even, integers cut to their low bits.
    fn store(dtype: DType, sizes: &[usize], terms: Vec<Self>) -> Result<Tensor, TensorError>;
}

macro_rules! float_terms {
    ($($float:ty),*) => {$(
        impl Term for $float {
            fn load(tensor: &Tensor) -> Result<Cow<'_, [Self]>, TensorError> {
                tensor.to_compute()
            }

            fn store(dtype: DType, sizes: &[usize], terms: Vec<Self>) -> Result<Tensor, TensorError> {
                Tensor::from_compute(dtype, sizes, terms)
            }
        }
    )*};
}
float_terms!(f32, f64);

impl Term for i64 {
    fn load(tensor: &Tensor) -> Result<Cow<'_, [Self]>, TensorError> {
        if tensor.dtype() == DType::I64 { tensor.to_compute() } else { tensor.to_i64().map(Cow::Owned) }
    }

    fn store(dtype: DType, sizes: &[usize], terms: Vec<Self>) -> Result<Tensor, TensorError> {
        Tensor::from_i64(dtype, sizes, terms)
    }
}

/// Evaluates `$body` with `$T` naming the [`Term`] in which elements of `$dtype` are summed.
macro_rules! with_term {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $crate::tensor::compute_dtype($dtype) {
            $crate::dtype::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::dtype::DType::F32 => {
                type $T = f32;
                $body
            }
            _ => {
                type $T = i64;
                $body
            }
        }
    };
}
pub(crate) use with_term;

/// The products of two stacks of matrices, row-major.
///
/// The last two sizes of each operand are rows and columns; the sizes before them number the matrices and are
/// broadcast together. The caller has checked that the sizes fit.
pub(crate) fn stacked<F: Factor>(
    (a, a_sizes): (&[F], &[usize]),
    (b, b_sizes): (&[F], &[usize]),
) -> Result<Vec<F::Sum>, KernelError> {
    let ((a_batch, [rows, depth]), (b_batch, [_, columns])) = (split(a_sizes)?, split(b_sizes)?);
    let batch = broadcast_sizes(a_batch, b_batch);
    let matrices: usize = batch.iter().product();
    let mut sums = vec![F::Sum::default(); matrices * rows * columns];
    if sums.is_empty() {
        return Ok(sums);
    }
    if b_batch.iter().all(|size| *size == 1) {
        // One right operand for all: the rows of all left operands lie one after the other.
        let left = Matrix::row_major(a, matrices * rows, depth)?;
        let right = Matrix::row_major(b, depth, columns)?;
        let mut target = MatrixMut::row_major(&mut sums, matrices * rows, columns)?;
        multiply(left, right, &mut target, Store::Replace, Threads::All)?;
        return Ok(sums);
    }
    let offsets = offsets(&batch, a_sizes, b_sizes);
    for_each_chunk(&mut sums, rows * columns, |index, sums, threads| {
        let [a_start, b_start] = offsets[index];
        let left = Matrix::row_major(&a[a_start..], rows, depth)?;
        let right = Matrix::row_major(&b[b_start..], depth, columns)?;
        let mut target = MatrixMut::row_major(sums, rows, columns)?;
        multiply(left, right, &mut target, Store::Replace, threads)
    })?;
    Ok(sums)
}

/// Sizes broadcast together, aligned at the last axis; the caller has checked that they fit.
pub(crate) fn broadcast_sizes(a: &[usize], b: &[usize]) -> Sizes {
    let rank = a.len().max(b.len());
    let at = |sizes: &[usize], axis: usize| {
        (axis + sizes.len()).checked_sub(rank).map_or(1, |own_axis| sizes[own_axis])
    };
    let size = |axis| match (at(a, axis), at(b, axis)) {
        (1, other) => other,
        (size, _) => size,
    };
    (0..rank).map(size).collect()
}

/// The sizes that number the matrices, and those of one matrix.
fn split(sizes: &[usize]) -> Result<(&[usize], [usize; 2]), KernelError> {
    match sizes {
        [batch @ .., rows, columns] => Ok((batch, [*rows, *columns])),
        _ => Err(KernelError::Rank { what: "matrix", found: sizes.len(), expected: 2 }),
    }
}

/// Where the operands of each product start.
fn offsets(batch: &[usize], a_sizes: &[usize], b_sizes: &[usize]) -> Vec<[usize; 2]> {
    let strides = |sizes: &[usize]| {
        let matrix = &sizes[sizes.len() - 2..];
        let whole: Sizes = batch.iter().chain(matrix).copied().collect();
        let mut strides = broadcast_strides(sizes, &whole);
        strides.truncate(batch.len() + 1);
        strides
    };
    // A row of one element: every product is visited.
    let places: SmallVec<[usize; 6]> = batch.iter().copied().chain([1]).collect();
    let mut offsets = Vec::with_capacity(batch.iter().product());
    for_each_row(&places, [&strides(a_sizes), &strides(b_sizes)], |starts| offsets.push(starts));
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_broadcast_together() {
        // Two rows of matrices by one column of them: [2, 1, 1, 2] . [1, 2, 2, 1].
        let a = [1i64, 2, 3, 4];
        let b = [10i64, 1, 20, 2];
        let products = stacked((&a, &[2, 1, 1, 2]), (&b, &[2, 2, 1])).expect("the sizes fit");
        assert_eq!(products, [12, 24, 34, 68]);
    }

    #[test]
    fn one_right_operand_serves_all() {
        let a = [1i64, 2, 3, 4];
        let products = stacked((&a, &[2, 1, 2]), (&[10, 1], &[1, 2, 1])).expect("the sizes fit");
        assert_eq!(products, [12, 34]);
    }

    #[test]
    fn no_depth_gives_zeros_and_no_matrix_gives_nothing() {
        let none: &[i64] = &[];
        assert_eq!(stacked((none, &[3, 1, 0]), (none, &[3, 0, 2])).expect("the sizes fit"), [0; 6]);
        assert_eq!(stacked((none, &[0, 2, 2]), (none, &[0, 2, 2])).expect("the sizes fit"), [0; 0]);
    }
}
