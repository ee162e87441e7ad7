//! Outputs as probability distributions, and divergences between them.
//!
//! The score of equation (8) of the paper is a divergence between full-precision and quantized outputs, and the paper
//! does not say how a tensor becomes a distribution. We have both usual readings:
//!
//! * [`Reading::Softmax`] (the default): the elements of one output are logits, `p_i = exp(x_i) / sum_j exp(x_j)`, as where
//!   divergences are used to distil one network into another. An element is compared with the element at the same place, so
//!   that a picture with its pixels moved about is not taken for the picture. For small differences d the Jensen-Shannon
//!   divergence of softmaxes is an eighth of the variance of d, weighted with p: insensitive to a constant that is added
//!   everywhere, and otherwise like the squared error.
//! * [`Reading::Histogram`]: how often values occur, counted in equal bins that span the values of both outputs, as where
//!   calibration by entropy chooses ranges. Places are forgotten.
//!
//! Divergences are in bits, so that Jensen-Shannon is between 0 and 1.

use std::f64::consts::LN_2;

use super::{MetricError, check};

/// How numbers become a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Elements are logits of places.
    #[default]
    Softmax,
    /// Values are counted in this many equal bins, which span both outputs.
    Histogram(usize),
}

/// Bins of [`Reading::Histogram`] unless someone says otherwise.
pub const BINS: usize = 256;

/// What every bin of a histogram has beside its count, as a share of one count: an empty bin of the quantized side would
/// make the Kullback-Leibler divergence infinite.
const PSEUDO_COUNT: f64 = 0.5;

impl Reading {
    /// The distributions of two outputs, over the same outcomes.
    pub fn distributions(self, expected: &[f32], found: &[f32]) -> Result<(Vec<f64>, Vec<f64>), MetricError> {
        check(expected, found)?;
        Ok(match self {
            Self::Softmax => (softmax(expected), softmax(found)),
            Self::Histogram(bins) => histograms(expected, found, bins.max(1)),
        })
    }

    /// Kullback-Leibler divergence in bits of `found` from `expected`. It is finite: shares of a softmax may be too small for
    /// any float, and their logarithms are not.
    pub fn kullback_leibler(self, expected: &[f32], found: &[f32]) -> Result<f64, MetricError> {
        let (p, q) = self.distributions(expected, found)?;
        if self != Self::Softmax {
            return Ok(kullback_leibler(&p, &q));
        }
        let logarithms = log_softmax(expected).into_iter().zip(log_softmax(found));
        let sum: f64 = p.iter().zip(logarithms).map(|(p, (of_p, of_q))| p * (of_p - of_q)).sum();
        Ok((sum / LN_2).max(0.0))
    }
}

/// Kullback-Leibler divergence of `q` from `p` in bits: what describing `p` costs more with a code made for `q`. Infinite
/// where `q` rules out what `p` has.
pub fn kullback_leibler(p: &[f64], q: &[f64]) -> f64 {
    let term = |(p, q): (&f64, &f64)| if *p > 0.0 { p * (p / q).log2() } else { 0.0 };
    // Rounding may leave a little less than nothing.
    p.iter().zip(q).map(term).sum::<f64>().max(0.0)
}

/// Jensen-Shannon divergence in bits: the mean Kullback-Leibler divergence of `p` and `q` from their mean; symmetric, 0 for
/// equal distributions and 1 for those that have nothing in common.
pub fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let middle: Vec<f64> = p.iter().zip(q).map(|(p, q)| f64::midpoint(*p, *q)).collect();
    f64::midpoint(kullback_leibler(p, &middle), kullback_leibler(q, &middle))
}

/// `exp(x_i)` over their sum.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<f64> = logits.iter().map(|x| (f64::from(*x) - f64::from(largest)).exp()).collect();
    let sum: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// The natural logarithm of `exp(x_i)` over their sum.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    logits.iter().map(|x| f64::from(*x) - largest - sum.ln()).collect()
}

/// Shares of the values of `a` and of `b` in the same equal bins.
fn histograms(a: &[f32], b: &[f32], bins: usize) -> (Vec<f64>, Vec<f64>) {
    let all = || a.iter().chain(b).map(|x| f64::from(*x));
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let width = (high - low) / bins as f64;
    let histogram = |numbers: &[f32]| {
        let mut counts = vec![PSEUDO_COUNT; bins];
        for number in numbers {
            // Values that are all the same are in the first bin.
            let bin = if width > 0.0 { ((f64::from(*number) - low) / width) as usize } else { 0 };
            counts[bin.min(bins - 1)] += 1.0;
        }
        let sum = numbers.len() as f64 + PSEUDO_COUNT * bins as f64;
        counts.iter().map(|count| count / sum).collect()
    };
    (histogram(a), histogram(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} against {expected}");
    }

    #[test]
    fn divergences_are_those_of_their_definitions() {
        let (p, q) = ([0.5, 0.5], [0.25, 0.75]);
        close(kullback_leibler(&p, &q), 0.5 * 2.0f64.log2() + 0.5 * (2.0f64 / 3.0).log2());
        // The middle is 3/8, 5/8.
        let towards = |p: [f64; 2]| p[0] * (p[0] / 0.375).log2() + p[1] * (p[1] / 0.625).log2();
        close(jensen_shannon(&p, &q), f64::midpoint(towards(p), towards(q)));
        close(jensen_shannon(&p, &q), jensen_shannon(&q, &p));
    }

    #[test]
    fn divergences_have_their_bounds() {
        let (p, q) = ([1.0, 0.0], [0.0, 1.0]);
        close(jensen_shannon(&p, &p), 0.0);
        close(jensen_shannon(&p, &q), 1.0);
        assert_eq!(kullback_leibler(&p, &q), f64::INFINITY);
        assert_eq!(kullback_leibler(&p, &[0.5, 0.5]), 1.0);
    }

    #[test]
    fn elements_are_logits() {
        let (p, q) = Reading::Softmax.distributions(&[0.0, 3.0f32.ln()], &[7.0, 7.0]).expect("finite");
        assert!((p[0] - 0.25).abs() < 1e-7 && (p[1] - 0.75).abs() < 1e-7, "{p:?}");
        assert_eq!(q, [0.5, 0.5]);
        // Large logits overflow only when they are not shifted first.
        let (p, _) = Reading::Softmax.distributions(&[1e4, 0.0], &[0.0, 0.0]).expect("finite");
        assert_eq!(p, [1.0, 0.0]);
    }

    #[test]
    fn logits_that_are_far_apart_have_a_finite_divergence() {
        let between = |a: &[f32], b: &[f32]| Reading::Softmax.kullback_leibler(a, b).expect("finite");
        // The share of the first element is e^-1000 of the quantized side, which no float holds.
        close(between(&[0.0, -800.0], &[-1000.0, 0.0]), 1000.0 / LN_2);
        assert!(between(&[f32::MAX, f32::MIN], &[f32::MIN, f32::MAX]).is_finite());
        let (a, b) = ([0.5, -1.0, 2.0], [0.25, 0.0, 1.5]);
        let (p, q) = Reading::Softmax.distributions(&a, &b).expect("finite");
        close(between(&a, &b), kullback_leibler(&p, &q));
        close(between(&a, &a), 0.0);
        let histogram = Reading::Histogram(2);
        let (p, q) = histogram.distributions(&a, &b).expect("finite");
        assert_eq!(histogram.kullback_leibler(&a, &b), Ok(kullback_leibler(&p, &q)));
    }

    #[test]
    fn small_differences_count_an_eighth_of_their_variance() {
        let float: Vec<f32> = (0..256).map(|i| (i as f32 * 0.37).sin()).collect();
        let found: Vec<f32> =
            float.iter().enumerate().map(|(i, x)| x + 1e-3 * (i as f32 * 1.7).cos()).collect();
        let (p, q) = Reading::Softmax.distributions(&float, &found).expect("finite");
        let d: Vec<f64> = float.iter().zip(&found).map(|(a, b)| f64::from(*b) - f64::from(*a)).collect();
        let mean: f64 = p.iter().zip(&d).map(|(p, d)| p * d).sum();
        let variance: f64 = p.iter().zip(&d).map(|(p, d)| p * (d - mean).powi(2)).sum();
        let expected = variance / 8.0 / LN_2;
        let found = jensen_shannon(&p, &q);
        assert!((found / expected - 1.0).abs() < 1e-2, "{found} against {expected}");
    }

    #[test]
    fn values_are_counted_in_common_bins() {
        let (p, q) = Reading::Histogram(2).distributions(&[0.0, 0.0, 1.0], &[2.0, 2.0, 0.5]).expect("finite");
        // Bins [0, 1) and [1, 2], each with half a count more: 2 + 1/2 and 1 + 1/2 of 4.
        assert_eq!(p, [2.5 / 4.0, 1.5 / 4.0]);
        assert_eq!(q, [1.5 / 4.0, 2.5 / 4.0]);
        let (p, q) = Reading::Histogram(4).distributions(&[3.0], &[3.0]).expect("finite");
        assert_eq!(p, q);
    }
}
