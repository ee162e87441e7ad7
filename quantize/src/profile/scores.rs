//! Scores: what the measurement of adapters says, and what an anchor is chosen by.
//!
//! A measurement quantizes the model with the encodings of each adapter in turn. Its file is what `--anchor qss` and
//! `--anchor auto` read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::precision::Precision;

/// What was measured of the adapters of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Digest of the text of the graph that was measured, as in [`Profile::graph`](super::Profile::graph).
    pub graph: String,
    /// The divergence that `qss` is, such as `jensen-shannon`.
    pub divergence: String,
    /// The precision that was measured, such as `w8a16`.
    pub precision: String,
    /// Where the two highest scores differ by less than this part of the highest, the choice was all adapters together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Equation (8): the sensitivity of each adapter, by its name. More is more sensitive.
    pub qss: BTreeMap<String, f64>,
    /// By candidate for the anchor, [`UNIFIED`] among them: what each adapter's outputs are then, against those in full
    /// precision, as peak signal-to-noise ratio in decibels.
    pub psnr: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A score is no number that a file can hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the {what} of adapter `{adapter}` is {found}, which no file of scores holds and no anchor can be chosen by: look at its \
     outputs, or choose another --divergence"
)]
pub struct NotFinite {
    /// The adapter.
    pub adapter: String,
    /// Which of its figures.
    pub what: String,
    /// What it is.
    pub found: f64,
}

/// The candidate that is no adapter but all of them together.
pub const UNIFIED: &str = "unified";

impl Scores {
    /// Whether all figures are numbers that a file can hold: JSON has no others.
    pub fn check(&self) -> Result<(), NotFinite> {
        let scores = self.qss.iter().map(|figure| (format!("QSS ({})", self.divergence), figure));
        let quality = self.psnr.iter().flat_map(|(candidate, figures)| {
            figures.iter().map(move |figure| (format!("PSNR with the encodings of `{candidate}`"), figure))
        });
        match scores.chain(quality).find(|(_, (_, found))| !found.is_finite()) {
            Some((what, (adapter, found))) => {
                Err(NotFinite { adapter: adapter.clone(), what, found: *found })
            }
            None => Ok(()),
        }
    }

    /// What is to be said where an anchor is chosen by these scores for a profile of `precision`, and they were measured in
    /// another.
    pub fn other_precision(&self, precision: Precision) -> Option<String> {
        (self.precision != precision.to_string()).then(|| {
            format!(
                "the scores were measured in {}, and the profile has {precision}: another anchor may be better there, which \
                 scores of `quad qss --precision {precision}` say",
                self.precision
            )
        })
    }

    /// The adapter with the highest QSS; of equal ones the first by name.
    pub fn most_sensitive(&self) -> Option<(&str, f64)> {
        let best = self.qss.iter().max_by(|a, b| a.1.total_cmp(b.1).then_with(|| b.0.cmp(a.0)))?;
        Some((best.0, *best.1))
    }

    /// How far apart the scores are: the difference between the largest and the smallest, as a part of the largest.
    pub fn spread(&self) -> f64 {
        let most = self.qss.values().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = self.qss.values().copied().fold(f64::INFINITY, f64::min);
        if most > 0.0 { (most - least) / most } else { 0.0 }
    }

    /// The quality of the adapter that a candidate serves worst, in decibels.
    pub fn worst(&self, candidate: &str) -> Option<f64> {
        self.psnr.get(candidate)?.values().copied().reduce(f64::min)
    }

    /// The candidate whose worst adapter is best, and that quality; of equal ones the first by name.
    pub fn best_candidate(&self) -> Option<(&str, f64)> {
        let worst = self.psnr.keys().filter_map(|name| Some((name.as_str(), self.worst(name)?)));
        worst.max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn the_extremes_decide() {
        let scores = Scores {
            qss: of(&[("edge", 0.5), ("relight", 2.0), ("inpaint", 2.0)]),
            psnr: BTreeMap::from([
                ("edge".to_owned(), of(&[("edge", 50.0), ("relight", 20.0)])),
                ("unified".to_owned(), of(&[("edge", 45.0), ("relight", 44.0)])),
            ]),
            ..Scores::default()
        };
        assert_eq!(scores.most_sensitive(), Some(("inpaint", 2.0)));
        assert_eq!(scores.spread(), 0.75);
        assert_eq!(scores.worst("edge"), Some(20.0));
        assert_eq!(scores.best_candidate(), Some(("unified", 44.0)));
        assert_eq!(Scores::default().most_sensitive(), None);
        assert_eq!(Scores::default().spread(), 0.0);
    }
    #[test]
    fn what_no_file_holds_is_refused() {
        let mut scores =
            Scores { divergence: "kl".to_owned(), qss: of(&[("edge", 0.5)]), ..Scores::default() };
        assert_eq!(scores.check(), Ok(()));
        scores.psnr.insert("unified".to_owned(), of(&[("edge", f64::NAN)]));
        let error = scores.check().expect_err("no number").to_string();
        assert!(error.contains("PSNR with the encodings of `unified` of adapter `edge` is NaN"), "{error}");
        scores.qss.insert("relight".to_owned(), f64::INFINITY);
        let error = scores.check().expect_err("infinite").to_string();
        assert!(error.contains("QSS (kl) of adapter `relight` is inf"), "{error}");
    }

    #[test]
    fn scores_of_another_precision_are_noted() {
        let scores = Scores { precision: "w8a8".to_owned(), ..Scores::default() };
        assert_eq!(scores.other_precision(Precision::W8A8), None);
        let said = scores.other_precision(Precision::W8A16).expect("another");
        assert!(said.contains("measured in w8a8, and the profile has w8a16"), "{said}");
    }
}
