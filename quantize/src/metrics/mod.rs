//! How far quantized outputs are from full-precision ones.
//!
//! Three families, all pure functions of numbers in the same order: [`errors`] compares number by number, [`images`]
//! compares what an eye compares, [`distributions`] compares how values are distributed. The first argument is always the
//! full-precision side, the second the quantized one; sums are in `f64` and in order, so that a figure does not depend on
//! threads.

pub mod distributions;
pub mod errors;
pub mod images;

use quad_ir::tensor::TensorError;

/// Two outputs cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// One has more numbers than the other.
    #[error(
        "the full-precision output is {expected:?}, the quantized one {found:?}: they must have the same sizes"
    )]
    Sizes {
        /// Sizes of the full-precision output.
        expected: Vec<usize>,
        /// Sizes of the quantized output.
        found: Vec<usize>,
    },
    /// There is nothing to compare.
    #[error("an output without elements cannot be compared")]
    Empty,
    /// An output has NaN or infinite elements.
    #[error("the {side} output has {count} elements that are no finite numbers")]
    NotFinite {
        /// Which of the two.
        side: &'static str,
        /// How many.
        count: usize,
    },
    /// The peak of PSNR or SSIM is not a positive number.
    #[error(
        "the peak is {0}, expected a positive number: the spread that the outputs can have, 2 for images in [-1, 1]"
    )]
    Peak(f64),
    /// An output is no stack of images.
    #[error(
        "an output of sizes {sizes:?} is no stack of images: expected [batch, channels, height, width], \
         the channels a multiple of {multiple}"
    )]
    NoImages {
        /// Its sizes.
        sizes: Vec<usize>,
        /// What the number of channels must be divisible by.
        multiple: usize,
    },
    /// Images are smaller than the window that SSIM looks through.
    #[error("images of {height} x {width} are smaller than the window of SSIM, {window} x {window}")]
    SmallImages {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Rows and columns of the window.
        window: usize,
    },
    /// An output could not be read as numbers.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Refuses slices that cannot be compared number by number.
fn check(expected: &[f32], found: &[f32]) -> Result<(), MetricError> {
    if expected.len() != found.len() {
        return Err(MetricError::Sizes { expected: vec![expected.len()], found: vec![found.len()] });
    }
    if expected.is_empty() {
        return Err(MetricError::Empty);
    }
    for (side, numbers) in [("full-precision", expected), ("quantized", found)] {
        let count = numbers.iter().filter(|number| !number.is_finite()).count();
        if count > 0 {
            return Err(MetricError::NotFinite { side, count });
        }
    }
    Ok(())
}

/// Refuses a peak that is no positive number.
fn check_peak(peak: f64) -> Result<(), MetricError> {
    if peak.is_finite() && peak > 0.0 { Ok(()) } else { Err(MetricError::Peak(peak)) }
}
