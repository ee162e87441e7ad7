//! Loops over elements, on plain slices: elementwise functions, broadcasting, reductions, matrix
//! product, convolution, transposed convolution.
//!
//! The kernels know nothing of graphs, tensors or dtypes. A caller describes the sizes, a constructor checks them once
//! with checked arithmetic, and a run then only compares the lengths of the slices. Two rules hold throughout:
//!
//! - results do not depend on the number of threads: every sum is formed in one order, whoever forms it;
//! - the inner loops are either a call into the `gemm` crate or a walk over whole slices, so they stay fast in builds
//!   with little optimization.

pub(crate) mod along_axis;
pub(crate) mod broadcast;
pub(crate) mod conv;
pub(crate) mod conv_transpose;
pub(crate) mod copy;
pub(crate) mod indexed;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod matrix;
pub(crate) mod normalize;
pub(crate) mod order;
pub(crate) mod pool;
pub(crate) mod real;
pub(crate) mod reduce;
#[cfg(test)]
mod reference;
pub(crate) mod resample;
pub(crate) mod sample;
pub(crate) mod walk;
pub(crate) mod window;

/// Sizes handed to a kernel that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KernelError {
    /// A shape or attribute list has the wrong number of entries.
    #[error("{what} has {found} entries, expected {expected}")]
    Rank {
        /// The list in question, as in `strides`.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
    /// Two sizes that must agree do not.
    #[error("{what} is {found}, expected {expected}")]
    Mismatch {
        /// The size in question, as in `input length`.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The value it must have.
        expected: usize,
    },
    /// A size that must be at least one is zero.
    #[error("{what} is zero, expected at least one")]
    Zero {
        /// The size in question, as in `groups`.
        what: &'static str,
    },
    /// A channel count that the groups do not divide.
    #[error("{what} is {found}, which {groups} groups do not divide evenly")]
    Groups {
        /// The channel count in question.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The number of groups.
        groups: usize,
    },
    /// A kernel that reaches beyond the padded input, so that no output position exists.
    #[error(
        "the kernel spans {kernel} elements on spatial axis {axis}, more than the {input} of the padded input"
    )]
    KernelTooLarge {
        /// The spatial axis, counted from zero.
        axis: usize,
        /// The dilated length of the kernel.
        kernel: usize,
        /// The length of the input with its padding.
        input: usize,
    },
    /// A matrix whose last element lies beyond its slice.
    #[error(
        "a matrix of {rows} by {columns} with strides {row_stride} and {column_stride} needs more than the {length} values given"
    )]
    MatrixBounds {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
        /// Elements between rows.
        row_stride: usize,
        /// Elements between columns.
        column_stride: usize,
        /// Elements in the slice.
        length: usize,
    },
    /// A product of sizes that no slice can have.
    #[error("{what} is too large to address")]
    TooLarge {
        /// The size in question.
        what: &'static str,
    },
}

/// Checks that `found` equals `expected`, naming the size in the error.
pub(crate) fn expect_equal(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found == expected { Ok(()) } else { Err(KernelError::Mismatch { what, found, expected }) }
}

/// Checks that each named list has `expected` entries.
pub(crate) fn expect_rank(lists: &[(&'static str, &[usize])], expected: usize) -> Result<(), KernelError> {
    match lists.iter().find(|(_, list)| list.len() != expected) {
        None => Ok(()),
        Some(&(what, list)) => Err(KernelError::Rank { what, found: list.len(), expected }),
    }
}

/// The product of `sizes`, or an error naming it when no slice can be that long.
///
/// A zero does not excuse the other sizes: they must multiply to a length of their own, so that the product of any of
/// them can be formed without a check.
pub(crate) fn checked_product(what: &'static str, sizes: &[usize]) -> Result<usize, KernelError> {
    let nonzero = sizes.iter().filter(|&&size| size != 0);
    nonzero
        .copied()
        .try_fold(1_usize, usize::checked_mul)
        .filter(|&product| isize::try_from(product).is_ok())
        .ok_or(KernelError::TooLarge { what })?;
    Ok(sizes.iter().product())
}
