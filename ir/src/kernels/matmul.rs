//! Matrix product over the element types of the interpreter.
//!
//! Floats go to the `gemm` crate. 8-bit integers go there too, in f32, over slices of the inner axis so short that
//! every partial sum is an integer below 2^24 and hence exact. Wider integers take a plain loop and wrap on overflow.

use std::ops::Range;

use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut};
use super::{KernelError, expect_equal};

/// Products of two centered bytes are at most 255 * 255; this many of them stay below 2^24, where f32 is exact.
const EXACT_DEPTH: usize = 256;

/// Multiply-adds below which a second thread costs more than it saves.
const PARALLEL_WORK: usize = 1 << 16;

/// Whether a kernel may spread over the threads of the current rayon pool. The result is the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Stay on the calling thread.
    One,
    /// Use the current pool.
    All,
}

/// What happens to the values that the result already holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// They are replaced by the product.
    Replace,
    /// The product is added to them.
    Add,
}

/// An element type that the kernels multiply and sum.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// The type in which products are summed.
    type Sum: Copy + Default + Send + Sync;

    /// `sum + lhs * rhs`, wrapping for integers.
    fn multiply_add(sum: Self::Sum, lhs: Self, rhs: Self) -> Self::Sum;

    /// `lhs + rhs` of two sums, wrapping for integers.
    fn add(lhs: Self::Sum, rhs: Self::Sum) -> Self::Sum;

    /// Writes or adds the product of `lhs` and `rhs`, whose sizes [`multiply`] has checked.
    fn multiply_unchecked_sizes(
        lhs: Matrix<'_, Self>,
        rhs: Matrix<'_, Self>,
        result: &mut MatrixMut<'_, Self::Sum>,
        store: Store,
        threads: Threads,
    );
}

/// A byte less its zero point: an integer from -255 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CenteredByte(i16);

impl CenteredByte {
    /// `value - zero_point` of two unsigned bytes.
    pub(crate) fn from_u8(value: u8, zero_point: u8) -> Self {
        Self(i16::from(value) - i16::from(zero_point))
    }

    /// `value - zero_point` of two signed bytes.
    pub(crate) fn from_i8(value: i8, zero_point: i8) -> Self {
        Self(i16::from(value) - i16::from(zero_point))
    }

    /// The difference.
    pub(crate) fn get(self) -> i16 {
        self.0
    }
}

/// Writes (or adds) the product of `lhs` (m by k) and `rhs` (k by n) to `result` (m by n).
///
/// A k of zero gives zeros. The order of each sum depends on the sizes and the machine, never on `threads`.
pub(crate) fn multiply<T: Element>(
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    result: &mut MatrixMut<'_, T::Sum>,
    store: Store,
    threads: Threads,
) -> Result<(), KernelError> {
    expect_equal("rows of the right operand", rhs.rows(), lhs.columns())?;
    expect_equal("rows of the result", result.rows(), lhs.rows())?;
    expect_equal("columns of the result", result.columns(), rhs.columns())?;
    if !result.is_empty() {
        T::multiply_unchecked_sizes(lhs, rhs, result, store, threads);
    }
    Ok(())
}

/// The product of `lhs` and `rhs` in the element's own sum type, written row-major to `result`.
pub(crate) fn matmul<T: Element>(
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    result: &mut [T::Sum],
) -> Result<(), KernelError> {
    let mut result = MatrixMut::row_major(result, lhs.rows(), rhs.columns())?;
    multiply(lhs, rhs, &mut result, Store::Replace, Threads::All)
}

/// Implements [`Element`] for a float type over the `gemm` crate.
macro_rules! float_element {
    ($($float:ty),*) => {$(
        impl Element for $float {
            type Sum = Self;

            fn multiply_add(sum: Self, lhs: Self, rhs: Self) -> Self {
                sum + lhs * rhs
            }

            fn add(lhs: Self, rhs: Self) -> Self {
                lhs + rhs
            }

            fn multiply_unchecked_sizes(
                lhs: Matrix<'_, Self>,
                rhs: Matrix<'_, Self>,
                result: &mut MatrixMut<'_, Self>,
                store: Store,
                threads: Threads,
            ) {
                multiply_floats(lhs, rhs, result, store, threads, 1.0);
            }
        }
    )*};
}

float_element!(f32, f64);

/// Implements [`Element`] for an integer type, wrapping on overflow.
macro_rules! integer_element {
    ($($integer:ty),*) => {$(
        impl Element for $integer {
            type Sum = Self;

            fn multiply_add(sum: Self, lhs: Self, rhs: Self) -> Self {
                sum.wrapping_add(lhs.wrapping_mul(rhs))
            }

            fn add(lhs: Self, rhs: Self) -> Self {
                lhs.wrapping_add(rhs)
            }

            fn multiply_unchecked_sizes(
                lhs: Matrix<'_, Self>,
                rhs: Matrix<'_, Self>,
                result: &mut MatrixMut<'_, Self>,
                store: Store,
                threads: Threads,
            ) {
                multiply_by_rows(lhs, rhs, result, store, threads);
            }
        }
    )*};
}

integer_element!(i32, i64, u32, u64);

impl Element for CenteredByte {
    type Sum = i32;

    fn multiply_add(sum: i32, lhs: Self, rhs: Self) -> i32 {
        sum.wrapping_add(i32::from(lhs.0) * i32::from(rhs.0))
    }

    fn add(lhs: i32, rhs: i32) -> i32 {
        lhs.wrapping_add(rhs)
    }

    fn multiply_unchecked_sizes(
        lhs: Matrix<'_, Self>,
        rhs: Matrix<'_, Self>,
        result: &mut MatrixMut<'_, i32>,
        store: Store,
        threads: Threads,
    ) {
        let mut store = store;
        let depth = lhs.columns();
        for start in (0..depth.max(1)).step_by(EXACT_DEPTH) {
            let slice = start..depth.min(start + EXACT_DEPTH);
            multiply_exact_slice(lhs, rhs, slice, result, store, threads);
            store = Store::Add;
        }
    }
}

/// Adds the products over one slice of the inner axis, formed exactly in f32.
fn multiply_exact_slice(
    lhs: Matrix<'_, CenteredByte>,
    rhs: Matrix<'_, CenteredByte>,
    slice: Range<usize>,
    result: &mut MatrixMut<'_, i32>,
    store: Store,
    threads: Threads,
) {
    let (rows, columns, row_stride, depth) =
        (result.rows(), result.columns(), result.row_stride(), slice.len());
    let widen = |byte: CenteredByte| f32::from(byte.0);
    let left = lhs.gather(0..rows, slice.clone(), widen);
    let right = rhs.gather(slice, 0..columns, widen);
    let mut product = vec![0.0_f32; rows * columns];
    let operands = (Matrix::row_major(&left, rows, depth), Matrix::row_major(&right, depth, columns));
    let target = MatrixMut::row_major(&mut product, rows, columns);
    if let ((Ok(left), Ok(right)), Ok(mut target)) = (operands, target) {
        multiply_floats(left, right, &mut target, Store::Replace, threads, 1.0);
    }
    for (sums, products) in result.values().chunks_mut(row_stride).zip(product.chunks(columns)) {
        for (sum, &product) in sums.iter_mut().zip(products) {
            let kept = if store == Store::Add { *sum } else { 0 };
            *sum = kept.wrapping_add(product as i32);
        }
    }
}

/// The product by plain loops: each row of the result gathers multiples of the rows of `rhs`.
fn multiply_by_rows<T: Element>(
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    result: &mut MatrixMut<'_, T::Sum>,
    store: Store,
    threads: Threads,
) {
    let (rows, columns, depth, row_stride) = (lhs.rows(), rhs.columns(), lhs.columns(), result.row_stride());
    let right = rhs.gather(0..depth, 0..columns, |value| value);
    let fill_row = |row: usize, sums: &mut [T::Sum]| {
        let sums = &mut sums[..columns];
        if store == Store::Replace {
            sums.fill(T::Sum::default());
        }
        for (inner, right_row) in right.chunks_exact(columns).enumerate() {
            let left = lhs.get(row, inner);
            for (sum, &right) in sums.iter_mut().zip(right_row) {
                *sum = T::multiply_add(*sum, left, right);
            }
        }
    };
    let target = result.values();
    if threads == Threads::All && rows.saturating_mul(columns).saturating_mul(depth) > PARALLEL_WORK {
        let chunks = target.par_chunks_mut(row_stride).take(rows);
        chunks.enumerate().for_each(|(row, sums)| fill_row(row, sums));
    } else {
        let chunks = target.chunks_mut(row_stride).take(rows);
        chunks.enumerate().for_each(|(row, sums)| fill_row(row, sums));
    }
}

/// The product of two float matrices by the `gemm` crate, which splits rows and columns but never a sum over threads.
fn multiply_floats<T: Copy + 'static>(
    lhs: Matrix<'_, T>,
    rhs: Matrix<'_, T>,
    result: &mut MatrixMut<'_, T>,
    store: Store,
    threads: Threads,
    one: T,
) {
    let (rows, columns, depth) = (result.rows(), result.columns(), lhs.columns());
    assert!(
        lhs.rows() == rows && rhs.rows() == depth && rhs.columns() == columns,
        "sizes are checked by the caller"
    );
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        // Small products stay on the calling thread: `gemm` holds the threshold.
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    let row_stride = result.row_stride() as isize;
    #[expect(unsafe_code, reason = "the gemm crate takes raw pointers")]
    // SAFETY: the three views were checked on construction to lie within their slices for every row and column, the
    // assertion above ties the sizes passed here to those views, and strides bounded by a slice length fit isize.
    // `result` is borrowed mutably, so it overlaps neither operand, and its rows do not overlap one another.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            result.values().as_mut_ptr(),
            1,
            row_stride,
            store == Store::Add,
            lhs.values().as_ptr(),
            lhs.column_stride() as isize,
            lhs.row_stride() as isize,
            rhs.values().as_ptr(),
            rhs.column_stride() as isize,
            rhs.row_stride() as isize,
            one,
            one,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests;
