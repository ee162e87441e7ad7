//! What the outputs of other samples are expected to lose, from the losses of those at hand, and how sure that is.
//!
//! The loss of a sample is measured: the model runs on it, in full precision, with the profile, and with encodings of the
//! adapter's own. What is expected of other samples is the mean. Losses are seldom near it: a sample that stays within the
//! encodings loses next to nothing, another one, a little brighter, is clipped and lost, and with one adapter on one profile
//! there are both. So a mean alone would promise more than anybody can know, and two further figures stand beside it: the
//! interval in which the mean of all samples of the kind lies, by Student's t with 95 % confidence, and how many samples
//! there were of each verdict. The interval takes samples for independent draws of what the adapter will see. Where they are
//! not, because they are all darker than that, nothing says so but samples that are like it.

use serde::Serialize;

use super::{Limits, Verdict};

/// What the outputs of the quantized model are with an adapter, against those in full precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// With the profile, in decibels.
    pub psnr: f64,
    /// With encodings of the adapter's own, in decibels.
    pub own: f64,
}

impl Expected {
    /// What the profile costs, in decibels. Below 0 where it is better than encodings of the adapter's own.
    pub fn loss(&self) -> f64 {
        self.own - self.psnr
    }
}

/// How many samples there are of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Those that lose no more than a fit may.
    pub fit: usize,
    /// Those that lose more, and no more than may be lost without distillation.
    pub fit_with_loss: usize,
    /// Those that lose more than that.
    pub needs_distillation: usize,
}

/// What is expected of other samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// The means over samples.
    #[serde(flatten)]
    pub expected: Expected,
    /// The mean loss, in decibels.
    pub loss: f64,
    /// From and to what the mean loss of all samples of the kind is, with 95 % confidence; `None` for a single sample, of
    /// which nothing can be said.
    pub between: Option<[f64; 2]>,
    /// How many samples were measured.
    pub samples: usize,
    /// How many of them were of which verdict.
    pub tally: Tally,
    /// What was measured of each, in the order of the data.
    pub by_sample: Vec<Expected>,
}

impl Forecast {
    /// The forecast from the figures of samples in decibels, `psnr` with the profile and `own` with encodings of the
    /// adapter's own, in the same order. `None` without samples.
    pub fn new(psnr: &[f64], own: &[f64], limits: Limits) -> Option<Self> {
        let by_sample: Vec<Expected> =
            psnr.iter().zip(own).map(|(psnr, own)| Expected { psnr: *psnr, own: *own }).collect();
        let losses: Vec<f64> = by_sample.iter().map(Expected::loss).collect();
        let count = losses.len();
        if count == 0 {
            return None;
        }
        let mean = |of: fn(&Expected) -> f64| by_sample.iter().map(of).sum::<f64>() / count as f64;
        let expected = Expected { psnr: mean(|sample| sample.psnr), own: mean(|sample| sample.own) };
        let loss = expected.loss();
        let mut tally = Tally::default();
        for loss in &losses {
            *match limits.of_loss(*loss) {
                Verdict::Fit => &mut tally.fit,
                Verdict::FitWithLoss => &mut tally.fit_with_loss,
                Verdict::NeedsDistillation => &mut tally.needs_distillation,
            } += 1;
        }
        let between = half_width(&losses, loss).map(|half| [loss - half, loss + half]);
        Some(Self { expected, loss, between, samples: count, tally, by_sample })
    }

    /// Whether the verdict on the mean loss is the same all over the interval.
    pub fn is_sure(&self, limits: Limits) -> bool {
        self.between.is_some_and(|[low, high]| limits.of_loss(low) == limits.of_loss(high))
    }
}

/// Half of the interval of the mean: the quantile of t times the standard error.
fn half_width(losses: &[f64], mean: f64) -> Option<f64> {
    let freedom = losses.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let squares: f64 = losses.iter().map(|loss| (loss - mean).powi(2)).sum();
    let error = (squares / freedom as f64 / losses.len() as f64).sqrt();
    Some(quantile(freedom) * error)
}

/// The 97.5 % quantile of Student's t: of tables up to 10 degrees of freedom, and beyond by the first terms of its expansion
/// in their reciprocal (Abramowitz and Stegun, 26.7.5), which is right to three digits there.
fn quantile(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    /// The quantile of the normal distribution.
    const NORMAL: f64 = 1.959_964;
    if let Some(known) = TABLE.get(freedom - 1) {
        return *known;
    }
    let (x, n) = (NORMAL, freedom as f64);
    let first = (x.powi(3) + x) / 4.0;
    let second = (5.0 * x.powi(5) + 16.0 * x.powi(3) + 3.0 * x) / 96.0;
    let third = (3.0 * x.powi(7) + 19.0 * x.powi(5) + 17.0 * x.powi(3) - 15.0 * x) / 384.0;
    x + first / n + second / n.powi(2) + third / n.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 2e-3, "{found} and {expected}");
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (freedom, expected) in
            [(1, 12.706), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042), (63, 1.998)]
        {
            close(quantile(freedom), expected);
        }
    }

    #[test]
    fn the_interval_is_that_of_the_mean() {
        // Losses 1, 2, 3, 4, 15: mean 5, standard deviation 5.701, standard error 2.550.
        let psnr = [49.0, 48.0, 47.0, 46.0, 35.0];
        let forecast = Forecast::new(&psnr, &[50.0; 5], Limits::default()).expect("samples");
        assert_eq!((forecast.samples, forecast.expected), (5, Expected { psnr: 45.0, own: 50.0 }));
        let [low, high] = forecast.between.expect("several samples");
        close(forecast.loss, 5.0);
        close(high - low, 2.0 * 2.776 * 2.5495);
        assert_eq!(forecast.tally, Tally { fit: 3, fit_with_loss: 1, needs_distillation: 1 });
        assert_eq!(forecast.by_sample[4], Expected { psnr: 35.0, own: 50.0 });
        assert!(!forecast.is_sure(Limits::default()), "from -2.1 to 12.1 there are all verdicts");
    }

    #[test]
    fn equal_losses_are_sure_and_one_sample_is_not() {
        let forecast =
            |count: usize| Forecast::new(&vec![40.0; count], &vec![45.0; count], Limits::default());
        let sure = forecast(8).expect("samples");
        assert_eq!(sure.between, Some([5.0, 5.0]));
        assert!(sure.is_sure(Limits::default()));
        let single = forecast(1).expect("a sample");
        assert_eq!((single.loss, single.between), (5.0, None));
        assert!(!single.is_sure(Limits::default()));
        assert_eq!(forecast(0), None);
    }
}
