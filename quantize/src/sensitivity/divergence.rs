//! Divergences between the outputs of the full-precision model and of the quantized one.

use std::fmt;
use std::str::FromStr;

use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;

use crate::metrics::distributions::{BINS, Reading, jensen_shannon};
use crate::metrics::{MetricError, errors};

/// How far quantized outputs are from those in full precision: 0 when they are equal, and more the further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// Jensen-Shannon divergence in bits, between outputs [read](Reading) as distributions.
    JensenShannon(Reading),
    /// Kullback-Leibler divergence in bits of the quantized outputs from the others.
    KullbackLeibler(Reading),
    /// Mean squared error.
    MeanSquaredError,
    /// 1 less the cosine of the angle between outputs.
    Cosine,
}

impl Default for Divergence {
    fn default() -> Self {
        Self::JensenShannon(Reading::default())
    }
}

/// Every divergence with the word for it.
const WORDS: [(&str, Divergence); 6] = [
    ("js", Divergence::JensenShannon(Reading::Softmax)),
    ("kl", Divergence::KullbackLeibler(Reading::Softmax)),
    ("js-histogram", Divergence::JensenShannon(Reading::Histogram(BINS))),
    ("kl-histogram", Divergence::KullbackLeibler(Reading::Histogram(BINS))),
    ("mse", Divergence::MeanSquaredError),
    ("cosine", Divergence::Cosine),
];

impl Divergence {
    /// What it is measured in, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::JensenShannon(Reading::Softmax) => "Jensen-Shannon divergence (bits)",
            Self::KullbackLeibler(Reading::Softmax) => "Kullback-Leibler divergence (bits)",
            Self::JensenShannon(Reading::Histogram(_)) => "Jensen-Shannon divergence of histograms (bits)",
            Self::KullbackLeibler(Reading::Histogram(_)) => {
                "Kullback-Leibler divergence of histograms (bits)"
            }
            Self::MeanSquaredError => "mean squared error",
            Self::Cosine => "1 - cosine",
        }
    }

    /// Between two outputs of the same sizes.
    pub fn between(self, expected: &Tensor, found: &Tensor) -> Result<f64, MetricError> {
        if expected.sizes() != found.sizes() {
            let (expected, found) = (expected.sizes().to_vec(), found.sizes().to_vec());
            return Err(MetricError::Sizes { expected, found });
        }
        let (expected, found) = (expected.to_f32()?, found.to_f32()?);
        match self {
            Self::JensenShannon(reading) => {
                let (p, q) = reading.distributions(&expected, &found)?;
                Ok(jensen_shannon(&p, &q))
            }
            Self::KullbackLeibler(reading) => reading.kullback_leibler(&expected, &found),
            Self::MeanSquaredError => errors::mse(&expected, &found),
            Self::Cosine => Ok(1.0 - errors::cosine(&expected, &found)?),
        }
    }

    /// The mean over the outputs of one sample, which are the same on both sides; outputs that are no floats are left out.
    pub fn of_sample(self, expected: &NamedTensors, found: &NamedTensors) -> Result<f64, MetricError> {
        let pairs = expected.iter().filter_map(|(name, tensor)| Some((tensor, found.get(name)?)));
        let floats: Vec<_> = pairs.filter(|(tensor, _)| tensor.dtype().is_float()).collect();
        let mut sum = 0.0;
        for (expected, found) in &floats {
            sum += self.between(expected, found)?;
        }
        if floats.is_empty() { Err(MetricError::Empty) } else { Ok(sum / floats.len() as f64) }
    }

    /// Equation (8), the quantization sensitivity score: the mean over samples of the divergence between the outputs in
    /// full precision and those of the quantized model.
    pub fn score(self, expected: &[NamedTensors], found: &[NamedTensors]) -> Result<f64, MetricError> {
        if expected.len() != found.len() {
            return Err(MetricError::Sizes { expected: vec![expected.len()], found: vec![found.len()] });
        }
        let mut sum = 0.0;
        for (expected, found) in expected.iter().zip(found) {
            sum += self.of_sample(expected, found)?;
        }
        if expected.is_empty() { Err(MetricError::Empty) } else { Ok(sum / expected.len() as f64) }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, divergence)| divergence == self);
        match (word, self) {
            (Some((word, _)), _) => f.write_str(word),
            (None, Self::JensenShannon(Reading::Histogram(bins))) => write!(f, "js-histogram-{bins}"),
            (None, Self::KullbackLeibler(Reading::Histogram(bins))) => write!(f, "kl-histogram-{bins}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

/// A text is no divergence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no divergence: expected js, kl, js-histogram, kl-histogram, mse or cosine")]
pub struct UnknownDivergence(pub String);

impl FromStr for Divergence {
    type Err = UnknownDivergence;

    fn from_str(text: &str) -> Result<Self, UnknownDivergence> {
        let found = WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, divergence)| *divergence).ok_or_else(|| UnknownDivergence(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(values: &[f32]) -> NamedTensors {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector");
        let count = Tensor::from_vec(&[1], vec![values.len() as i64]).expect("one integer");
        NamedTensors::from([("y".to_owned(), tensor), ("count".to_owned(), count)])
    }

    #[test]
    fn words_are_read_and_written() {
        for (word, divergence) in WORDS {
            assert_eq!(word.parse(), Ok(divergence));
            assert_eq!(divergence.to_string(), word);
        }
        assert_eq!("js".parse(), Ok(Divergence::default()));
        assert_eq!("l2".parse::<Divergence>(), Err(UnknownDivergence("l2".to_owned())));
    }

    #[test]
    fn scores_are_means_over_samples_of_float_outputs() {
        let expected = [outputs(&[0.0, 1.0]), outputs(&[2.0, 0.0])];
        let found = [outputs(&[0.0, 0.0]), outputs(&[2.0, 0.0])];
        // Squared errors 1/2 and 0.
        assert_eq!(Divergence::MeanSquaredError.score(&expected, &found), Ok(0.25));
        for (_, divergence) in WORDS {
            assert_eq!(divergence.score(&expected, &expected), Ok(0.0), "{divergence}");
            assert!(divergence.score(&expected, &found).expect("finite") > 0.0, "{divergence}");
        }
    }

    #[test]
    fn cosine_does_not_see_strength_and_softmax_does_not_see_shift() {
        let of = |divergence: Divergence, found: &[f32]| {
            divergence.of_sample(&outputs(&[1.0, 2.0]), &outputs(found)).expect("finite")
        };
        assert!(of(Divergence::Cosine, &[2.0, 4.0]).abs() < 1e-12);
        assert!(of(Divergence::default(), &[2.0, 3.0]).abs() < 1e-12);
        assert!(of(Divergence::MeanSquaredError, &[2.0, 3.0]) > 0.9);
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        let one = [outputs(&[1.0])];
        let score = |found: &[NamedTensors]| Divergence::default().score(&one, found);
        assert!(matches!(score(&[]), Err(MetricError::Sizes { .. })));
        assert!(matches!(score(&[outputs(&[1.0, 2.0])]), Err(MetricError::Sizes { .. })));
        assert!(matches!(score(&[outputs(&[f32::NAN])]), Err(MetricError::NotFinite { .. })));
        assert_eq!(score(&[NamedTensors::new()]), Err(MetricError::Empty));
        assert_eq!(Divergence::default().score(&[], &[]), Err(MetricError::Empty));
    }
}
