//! Figures for outputs that are images.
//!
//! SSIM is that of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
//! similarity" (2004): a gaussian window of 11 x 11 with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, over the
//! places where the window lies inside the image, averaged over places and channels.

use std::borrow::Cow;

use quad_ir::tensor::Tensor;

use super::{MetricError, check, check_peak, errors};

/// Rows and columns of SSIM's window.
const WINDOW: usize = 11;
/// Standard deviation of its weights.
const SIGMA: f64 = 1.5;

/// Planes of numbers: images by channel, rows one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes<'t> {
    numbers: Cow<'t, [f32]>,
    height: usize,
    width: usize,
}

impl<'t> Planes<'t> {
    /// The planes of `output`, `[batch, channels * block², height, width]`.
    ///
    /// With a `block` above 1, each image is put together as PyTorch's `pixel_shuffle` does: `block²` neighbouring
    /// channels are the places of a block of pixels, row by row. This is for models that work on space-to-depth images.
    pub fn of(output: &'t Tensor, block: usize) -> Result<Self, MetricError> {
        let refused = || MetricError::NoImages { sizes: output.sizes().to_vec(), multiple: block * block };
        let &[batch, channels, height, width] = output.sizes() else { return Err(refused()) };
        if block == 0 || channels == 0 || channels % (block * block) != 0 {
            return Err(refused());
        }
        let numbers = output.to_f32()?;
        if block == 1 {
            return Ok(Self { numbers, height, width });
        }
        let planes = batch * channels / (block * block);
        let mut shuffled = Vec::with_capacity(numbers.len());
        for plane in 0..planes {
            for row in 0..height * block {
                for column in 0..width * block {
                    let part = (row % block) * block + column % block;
                    let from = (plane * block * block + part) * height * width;
                    shuffled.push(numbers[from + (row / block) * width + column / block]);
                }
            }
        }
        Ok(Self { numbers: Cow::Owned(shuffled), height: height * block, width: width * block })
    }

    /// Rows and columns of a plane.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// All numbers, plane by plane.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }
}

/// How like two stacks of images are to the eye: PSNR in dB and SSIM.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Likeness {
    /// Peak signal-to-noise ratio, in dB.
    pub psnr: f64,
    /// Structural similarity: 1 for equal images. `None` where images are smaller than its window.
    pub ssim: Option<f64>,
}

impl Likeness {
    /// Compares two outputs as images; `block` as in [`Planes::of`]. Outputs that are no images have a PSNR only.
    pub fn between(expected: &Tensor, found: &Tensor, block: usize, peak: f64) -> Result<Self, MetricError> {
        if expected.sizes() != found.sizes() {
            let (expected, found) = (expected.sizes().to_vec(), found.sizes().to_vec());
            return Err(MetricError::Sizes { expected, found });
        }
        let psnr = errors::psnr(&expected.to_f32()?, &found.to_f32()?, peak)?;
        if expected.rank() != 4 {
            return Ok(Self { psnr, ssim: None });
        }
        let ssim = match ssim(&Planes::of(expected, block)?, &Planes::of(found, block)?, peak) {
            Ok(ssim) => Some(ssim),
            Err(MetricError::SmallImages { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { psnr, ssim })
    }
}

/// Structural similarity of two stacks of images, whose numbers have a spread of `peak`: 2 for images in [-1, 1].
pub fn ssim(expected: &Planes<'_>, found: &Planes<'_>, peak: f64) -> Result<f64, MetricError> {
    check_peak(peak)?;
    check(&expected.numbers, &found.numbers)?;
    if expected.size() != found.size() {
        let sizes = |planes: &Planes<'_>| vec![planes.height, planes.width];
        return Err(MetricError::Sizes { expected: sizes(expected), found: sizes(found) });
    }
    let (height, width) = expected.size();
    if height < WINDOW || width < WINDOW {
        return Err(MetricError::SmallImages { height, width, window: WINDOW });
    }
    let area = height * width;
    let planes = expected.numbers.chunks_exact(area).zip(found.numbers.chunks_exact(area));
    let count = expected.numbers.len() / area;
    Ok(planes.map(|(a, b)| plane_ssim(a, b, width, peak)).sum::<f64>() / count as f64)
}

/// SSIM of one plane with rows of `width` numbers.
fn plane_ssim(a: &[f32], b: &[f32], width: usize, peak: f64) -> f64 {
    let stabilizer = |k: f64| (k * peak).powi(2);
    let (c1, c2) = (stabilizer(0.01), stabilizer(0.03));
    let smooth = |term: fn(f64, f64) -> f64| {
        let terms: Vec<f64> = a.iter().zip(b).map(|(a, b)| term(f64::from(*a), f64::from(*b))).collect();
        smoothed(&terms, width)
    };
    let (mean_a, mean_b) = (smooth(|a, _| a), smooth(|_, b| b));
    let (square_a, square_b, product) = (smooth(|a, _| a * a), smooth(|_, b| b * b), smooth(|a, b| a * b));
    let places = mean_a.len();
    let at = |i: usize| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, covariance) = (square_a[i] - ma * ma, square_b[i] - mb * mb, product[i] - ma * mb);
        let luminance = (2.0 * ma * mb + c1) / (ma * ma + mb * mb + c1);
        luminance * (2.0 * covariance + c2) / (va + vb + c2)
    };
    (0..places).map(at).sum::<f64>() / places as f64
}

/// `plane` seen through the window wherever that lies inside it: once along columns, once along rows.
fn smoothed(plane: &[f64], width: usize) -> Vec<f64> {
    let weights = window();
    let rows = plane.len() / width - WINDOW + 1;
    let columns = width - WINDOW + 1;
    let mut down = vec![0.0; rows * width];
    for (row, out) in down.chunks_exact_mut(width).enumerate() {
        for (k, weight) in weights.iter().enumerate() {
            let line = &plane[(row + k) * width..][..width];
            out.iter_mut().zip(line).for_each(|(out, x)| *out += weight * x);
        }
    }
    let line = |line: &[f64], column: usize| -> f64 {
        weights.iter().zip(&line[column..]).map(|(weight, x)| weight * x).sum()
    };
    down.chunks_exact(width).flat_map(|row| (0..columns).map(move |column| line(row, column))).collect()
}

/// The weights of the window along one axis; they sum to 1.
fn window() -> [f64; WINDOW] {
    let middle = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] =
        std::array::from_fn(|i| (-(i as f64 - middle).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(sizes: [usize; 4], pixel: impl Fn(usize) -> f32) -> Tensor {
        let count = sizes.iter().product();
        Tensor::from_vec(&sizes, (0..count).map(pixel).collect()).expect("as many as the sizes say")
    }

    fn between(a: &Tensor, b: &Tensor) -> Likeness {
        Likeness::between(a, b, 1, 2.0).expect("images")
    }

    #[test]
    fn blocks_of_channels_are_blocks_of_pixels() {
        // One image of 2 x 4 pixels: four channels of 1 x 2.
        let channels = images([1, 4, 1, 2], |i| i as f32);
        let planes = Planes::of(&channels, 2).expect("an image");
        assert_eq!(planes.size(), (2, 4));
        assert_eq!(planes.numbers(), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert!(matches!(Planes::of(&channels, 3), Err(MetricError::NoImages { multiple: 9, .. })));
    }

    #[test]
    fn equal_images_are_alike() {
        let image = images([2, 3, 12, 13], |i| (i as f32).sin());
        assert_eq!(between(&image, &image).psnr, f64::INFINITY);
        let ssim = between(&image, &image).ssim.expect("large enough");
        assert!((ssim - 1.0).abs() < 1e-12, "{ssim}");
    }

    #[test]
    fn flat_images_differ_in_luminance_alone() {
        // Without variance what is left is (2ab + C1) / (a² + b² + C1), with C1 = (0.01 * 2)².
        let flat = |level: f32| images([1, 1, 11, 11], |_| level);
        let ssim = between(&flat(0.5), &flat(0.25)).ssim.expect("large enough");
        let expected = (2.0 * 0.125 + 4e-4) / (0.25 + 0.0625 + 4e-4);
        assert!((ssim - expected).abs() < 1e-9, "{ssim} against {expected}");
    }

    #[test]
    fn one_window_is_the_weighted_moments() {
        // Opposite columns of +1 and -1 weighted by the window: the means cancel but for its odd part, and
        // the covariance is minus the variance.
        let stripes = |sign: f32| images([1, 1, 11, 11], |i| if i % 11 % 2 == 0 { sign } else { -sign });
        let ssim = between(&stripes(1.0), &stripes(-1.0)).ssim.expect("one place");
        let mean: f64 = window().iter().enumerate().map(|(i, w)| if i % 2 == 0 { *w } else { -w }).sum();
        let (c1, c2) = (4e-4, 36e-4);
        let variance = 1.0 - mean * mean;
        let luminance = (c1 - 2.0 * mean * mean) / (2.0 * mean * mean + c1);
        let expected = luminance * (c2 - 2.0 * variance) / (2.0 * variance + c2);
        assert!((ssim - expected).abs() < 1e-9, "{ssim} against {expected}");
    }

    #[test]
    fn small_images_and_other_outputs_have_a_psnr_alone() {
        let small = images([1, 1, 8, 8], |i| i as f32 / 64.0);
        assert_eq!(between(&small, &small).ssim, None);
        let vector = Tensor::from_vec(&[2], vec![1.0f32, 0.0]).expect("a vector");
        let other = Tensor::from_vec(&[2], vec![0.0f32, 0.0]).expect("a vector");
        let likeness = Likeness::between(&vector, &other, 1, 1.0).expect("numbers");
        assert!((likeness.psnr - 10.0 * 2.0f64.log10()).abs() < 1e-12, "{likeness:?}");
        assert_eq!(likeness.ssim, None);
    }

    #[test]
    fn the_window_sums_to_one_and_is_symmetric() {
        let weights = window();
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((0..WINDOW).all(|i| weights[i] == weights[WINDOW - 1 - i]));
        // exp(-1 / 4.5) is the ratio of the neighbour to the middle.
        assert!((weights[6] / weights[5] - (-1.0f64 / 4.5).exp()).abs() < 1e-12);
    }
}
