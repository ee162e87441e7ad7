//! Figures that compare number by number.

use super::{MetricError, check, check_peak};

/// Mean squared error.
pub fn mse(expected: &[f32], found: &[f32]) -> Result<f64, MetricError> {
    check(expected, found)?;
    Ok(noise(expected, found) / expected.len() as f64)
}

/// Peak signal-to-noise ratio in dB: `10 log10(peak² / mse)`, infinite for equal numbers.
///
/// `peak` is the spread that the numbers can have, and is stated by the caller: 2 for images in [-1, 1]. Taking it from
/// the numbers at hand would make figures of different samples incomparable.
pub fn psnr(expected: &[f32], found: &[f32], peak: f64) -> Result<f64, MetricError> {
    check_peak(peak)?;
    Ok(decibels(peak * peak, mse(expected, found)?))
}

/// Signal-to-quantization-noise ratio in dB: the power of `expected` over the power of the difference; infinite for equal
/// numbers.
pub fn sqnr(expected: &[f32], found: &[f32]) -> Result<f64, MetricError> {
    check(expected, found)?;
    Ok(decibels(product(expected, expected), noise(expected, found)))
}

/// Cosine of the angle between the two as vectors; 1 when both are zero, 0 when one of them is.
pub fn cosine(expected: &[f32], found: &[f32]) -> Result<f64, MetricError> {
    check(expected, found)?;
    let (powers, common) = ((product(expected, expected), product(found, found)), product(expected, found));
    Ok(match powers {
        (0.0, 0.0) => 1.0,
        (0.0, _) | (_, 0.0) => 0.0,
        (a, b) => (common / (a.sqrt() * b.sqrt())).clamp(-1.0, 1.0),
    })
}

/// A ratio of powers in dB; infinite without noise.
pub fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// The mean of figures in dB as papers and our tables mean it: over images, of their decibels. `None` without figures.
///
/// One image that is equal to the last bit would make the mean infinite, so an infinite figure counts as `ceiling`.
pub fn mean_decibels(figures: &[f64], ceiling: f64) -> Option<f64> {
    (!figures.is_empty())
        .then(|| figures.iter().map(|figure| figure.min(ceiling)).sum::<f64>() / figures.len() as f64)
}

/// The power of the difference.
fn noise(expected: &[f32], found: &[f32]) -> f64 {
    expected.iter().zip(found).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// The sum of products.
fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 4] = [1.0, -1.0, 0.5, 0.0];
    const B: [f32; 4] = [1.0, -0.5, 0.5, 0.5];

    #[test]
    fn figures_are_those_of_their_definitions() {
        // Differences 0, -1/2, 0, -1/2: their squares sum to 1/2.
        assert_eq!(mse(&A, &B), Ok(0.125));
        let close = |found: Result<f64, MetricError>, expected: f64| {
            let found = found.expect("they can be compared");
            assert!((found - expected).abs() < 1e-12, "{found} against {expected}");
        };
        close(psnr(&A, &B, 2.0), 10.0 * (4.0f64 / 0.125).log10());
        close(sqnr(&A, &B), 10.0 * (2.25f64 / 0.5).log10());
        // 1 + 1/2 + 1/4 over the lengths 3/2 and sqrt(7/4).
        close(cosine(&A, &B), 1.75 / (1.5 * 1.75f64.sqrt()));
    }

    #[test]
    fn equal_numbers_have_no_noise() {
        assert_eq!(psnr(&A, &A, 2.0), Ok(f64::INFINITY));
        assert_eq!(sqnr(&A, &A), Ok(f64::INFINITY));
        assert_eq!(cosine(&[0.0], &[0.0]), Ok(1.0));
        assert_eq!(cosine(&[0.0], &[1.0]), Ok(0.0));
        let opposite = cosine(&A, &A.map(|a| -a)).expect("finite");
        assert!((opposite + 1.0).abs() < 1e-12, "{opposite}");
        assert_eq!(mean_decibels(&[20.0, f64::INFINITY], 120.0), Some(70.0));
        assert_eq!(mean_decibels(&[], 120.0), None);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert_eq!(mse(&A, &B[..3]), Err(MetricError::Sizes { expected: vec![4], found: vec![3] }));
        assert_eq!(mse(&[], &[]), Err(MetricError::Empty));
        let nan = MetricError::NotFinite { side: "quantized", count: 1 };
        assert_eq!(psnr(&A[..1], &[f32::NAN], 2.0), Err(nan));
        assert_eq!(psnr(&A, &B, 0.0), Err(MetricError::Peak(0.0)));
    }
}
