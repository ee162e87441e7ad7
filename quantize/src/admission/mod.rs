//! Admission: whether a new adapter fits a profile that is frozen already.
//!
//! The encodings of a profile were made for the adapters that there were. Another adapter is rounded to them, and what is
//! beyond them is clipped. [`fit`] looks at the slots, which takes nothing but the adapter: it says how much of each is
//! clipped and how well the rest is resolved. That does not see activations, which an adapter can drive out of their
//! encodings although its own numbers fit. So whoever has the model and a few samples runs it, and [`judge`] then goes by
//! the loss that was found: what the outputs have less, in decibels, than with encodings of the adapter's own. How sure
//! that is for other samples, a [`Forecast`] says.

pub mod forecast;
pub mod own;

use std::fmt;

use quad_ir::interpret::NamedTensors;
use serde::Serialize;

use crate::encoding::Encoding;
use crate::metrics::{MetricError, errors};
use crate::profile::Profile;
use crate::simulate::{self, StoreError};

pub use forecast::{Expected, Forecast};

/// How the numbers of one slot fit its encoding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotFit {
    /// The slot.
    pub slot: String,
    /// Its elements.
    pub elements: usize,
    /// How many are beyond the encoding.
    pub clipped: usize,
    /// The largest magnitude in it.
    pub magnitude: f32,
    /// The largest magnitude that the encoding reaches.
    pub reach: f32,
    /// Power of the numbers over that of what storing changes, in decibels; infinite where nothing changes.
    pub sqnr: f64,
}

impl SlotFit {
    /// The part of the elements that is clipped.
    pub fn share(&self) -> f64 {
        self.clipped as f64 / self.elements.max(1) as f64
    }
}

/// An adapter and a profile do not come together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdmissionError {
    /// A slot cannot be stored.
    #[error("slot `{slot}`: {error}")]
    Store {
        /// The slot.
        slot: String,
        /// Why.
        error: StoreError,
    },
    /// A slot has no numbers that can be compared.
    #[error("slot `{slot}`: {error}")]
    Metric {
        /// The slot.
        slot: String,
        /// Why.
        error: MetricError,
    },
}

/// How each of `slots`, floats by name, fits the encoding that `profile`, which must be of the graph that has these slots,
/// has for it. One without an encoding stays a float, of which nothing is clipped: it is left out.
pub fn fit(slots: &NamedTensors, profile: &Profile) -> Result<Vec<SlotFit>, AdmissionError> {
    let mut fits = Vec::new();
    for (slot, tensor) in slots {
        let Some(entry) = profile.entries.get(slot) else { continue };
        let stored = simulate::store(tensor, &entry.into())
            .map_err(|error| AdmissionError::Store { slot: slot.clone(), error })?;
        let metric = |error| AdmissionError::Metric { slot: slot.clone(), error };
        let numbers = tensor.to_f32().map_err(|error| metric(error.into()))?;
        let real = stored.real.to_f32().map_err(|error| metric(error.into()))?;
        fits.push(SlotFit {
            slot: slot.clone(),
            elements: numbers.len(),
            clipped: stored.clipped,
            magnitude: numbers.iter().fold(0.0, |most, number| number.abs().max(most)),
            reach: reach(&entry.encoding),
            sqnr: errors::sqnr(&numbers, &real).map_err(metric)?,
        });
    }
    Ok(fits)
}

/// The largest magnitude that an encoding reaches; the one negative code that symmetric ones leave out does not count.
fn reach(encoding: &Encoding) -> f32 {
    let reach = encoding.reach();
    if encoding.is_symmetric() { reach.max } else { reach.magnitude() }
}

/// Where the verdicts begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// The most that may be lost for a fit, in decibels. 3 dB are twice the noise.
    pub loss: f64,
    /// The most that may be lost without distillation, in decibels. 10 dB are ten times the noise.
    pub most: f64,
    /// The largest part of all elements that may be clipped for a fit, where the loss is not known. A slot of which more is
    /// clipped is named.
    pub clipped: f64,
    /// The largest part of all elements that may be clipped without distillation, where the loss is not known.
    pub most_clipped: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { loss: 3.0, most: 10.0, clipped: 0.001, most_clipped: 0.01 }
    }
}

impl Limits {
    /// The verdict on a loss, in decibels.
    pub fn of_loss(self, loss: f64) -> Verdict {
        verdict(loss, self.loss, self.most)
    }
}

/// Whether an adapter may be used with a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it is.
    Fit,
    /// As it is, and something is lost.
    FitWithLoss,
    /// Not before it was distilled for the profile.
    NeedsDistillation,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fit => "fit",
            Self::FitWithLoss => "fit with loss",
            Self::NeedsDistillation => "needs distillation",
        })
    }
}

/// The verdict: by the loss where it is known, and else by what is clipped of the slots alone.
pub fn judge(slots: &[SlotFit], expected: Option<Expected>, limits: Limits) -> Verdict {
    match expected {
        Some(expected) => limits.of_loss(expected.loss()),
        None => verdict(clipped_share(slots), limits.clipped, limits.most_clipped),
    }
}

fn verdict(found: f64, fine: f64, bearable: f64) -> Verdict {
    if found <= fine {
        Verdict::Fit
    } else if found <= bearable {
        Verdict::FitWithLoss
    } else {
        Verdict::NeedsDistillation
    }
}

/// The slots of which more is clipped than `limits` allow for a fit, those of which most is clipped first.
pub fn clipped(slots: &[SlotFit], limits: Limits) -> Vec<&SlotFit> {
    let mut clipped: Vec<&SlotFit> = slots.iter().filter(|slot| slot.share() > limits.clipped).collect();
    clipped.sort_by(|a, b| b.share().total_cmp(&a.share()).then_with(|| a.slot.cmp(&b.slot)));
    clipped
}

/// The part of all elements that is clipped. Small slots lose a few percent without anybody noticing, so that the worst of
/// them says little.
fn clipped_share(slots: &[SlotFit]) -> f64 {
    let count = |of: fn(&SlotFit) -> usize| slots.iter().map(of).sum::<usize>() as f64;
    count(|slot| slot.clipped) / count(|slot| slot.elements).max(1.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quad_ir::dtype::DType;
    use quad_ir::tensor::Tensor;

    use super::*;
    use crate::encoding::{Codes, Range};
    use crate::precision::Precision;
    use crate::profile::{Anchor, Entry, Role};

    fn profile(slots: &[&str]) -> Profile {
        let range = Range::symmetric(1.0);
        let encoding = Codes::symmetric(DType::I8).per_tensor(range).expect("encodes");
        let entry = Entry { role: Role::Slot, encoding, range, limit: Some(127) };
        Profile {
            graph: String::new(),
            pipeline: String::new(),
            rules: "reference".to_owned(),
            precision: Precision::W8A8,
            mixed: Vec::new(),
            method: String::new(),
            weights: String::new(),
            slots: quad_passes::lora::expose::Form::default(),
            anchor: Anchor::default(),
            entries: slots.iter().map(|slot| ((*slot).to_owned(), entry.clone())).collect(),
            floats: BTreeMap::from([("float".to_owned(), "asked for".to_owned())]),
        }
    }

    fn slots(factor: f32) -> NamedTensors {
        let vector = |numbers: [f32; 4]| {
            Tensor::from_vec(&[4], numbers.map(|number| factor * number).to_vec()).expect("a vector")
        };
        NamedTensors::from([
            ("a".to_owned(), vector([1.0, -1.0, 0.5, 0.25])),
            ("b".to_owned(), vector([0.1, 0.0, 0.1, 0.1])),
            ("float".to_owned(), vector([100.0, 0.0, 0.0, 0.0])),
        ])
    }

    #[test]
    fn slots_that_the_profile_was_made_for_fit() {
        let fits = fit(&slots(1.0), &profile(&["a", "b"])).expect("known slots");
        let names: Vec<&str> = fits.iter().map(|fit| fit.slot.as_str()).collect();
        assert_eq!(names, ["a", "b"], "what stays a float fits");
        assert!(fits.iter().all(|fit| fit.clipped == 0 && fit.sqnr > 30.0), "{fits:?}");
        assert_eq!((fits[0].magnitude, fits[0].reach), (1.0, 1.0));
        assert_eq!(judge(&fits, None, Limits::default()), Verdict::Fit);
    }

    #[test]
    fn what_is_scaled_up_is_clipped_and_named() {
        let fits = fit(&slots(8.0), &profile(&["a", "b"])).expect("known slots");
        let clipped = clipped(&fits, Limits::default());
        assert_eq!(clipped.len(), 1);
        assert_eq!((clipped[0].slot.as_str(), clipped[0].clipped, clipped[0].share()), ("a", 4, 1.0));
        assert_eq!(judge(&fits, None, Limits::default()), Verdict::NeedsDistillation);
    }

    #[test]
    fn a_known_loss_decides() {
        let verdict = |psnr: f64| judge(&[], Some(Expected { psnr, own: 50.0 }), Limits::default());
        assert_eq!(verdict(51.0), Verdict::Fit);
        assert_eq!(verdict(47.0), Verdict::Fit);
        assert_eq!(verdict(46.0), Verdict::FitWithLoss);
        assert_eq!(verdict(39.0), Verdict::NeedsDistillation);
    }

    #[test]
    fn slots_without_an_encoding_are_floats_and_fit() {
        let fits = fit(&slots(8.0), &profile(&["b"])).expect("stored");
        assert_eq!(fits.iter().map(|fit| fit.slot.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(fit(&slots(8.0), &profile(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let mut broken = slots(1.0);
        broken.insert("a".to_owned(), Tensor::from_vec(&[1], vec![f32::NAN]).expect("a vector"));
        let error = fit(&broken, &profile(&["a", "b"])).expect_err("not a number");
        assert!(matches!(error, AdmissionError::Metric { .. }), "{error}");
    }
}
