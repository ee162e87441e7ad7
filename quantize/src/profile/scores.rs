//! Scores: what the measurement of adapters says, and what an anchor is chosen by.
//!
//! A measurement quantizes the model with the encodings of each adapter in turn. Its file is what `--anchor qss` and
//! `--anchor auto` read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Equation (8): the sensitivity of each adapter, by its name. More is more sensitive.
    pub qss: BTreeMap<String, f64>,
    /// By candidate for the anchor, [`UNIFIED`] among them: what each adapter's outputs are then, against those in full
    /// precision, as peak signal-to-noise ratio in decibels.
    pub psnr: BTreeMap<String, BTreeMap<String, f64>>,
}

/// The candidate that is no adapter but all of them together.
pub const UNIFIED: &str = "unified";

impl Scores {
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
}
