//! The choice of an anchor: whose encodings all adapters share.
//!
//! The paper's rule takes the adapter with the highest QSS, because it suffers most from quantization, and falls back to
//! the distributions of all adapters together where scores are equal. We count them as equal where the two highest are
//! within a margin: then no adapter stands out, and another handful of samples would make another one the anchor. The rule
//! looks at sensitivities alone; whether it picked the best is known only when every candidate was measured, which is what
//! [`Rule::Auto`] goes by.

use std::fmt;

use crate::profile::scores::{Scores, UNIFIED};

/// How an anchor is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The highest QSS; all together where the two highest are equal within `margin`, a part of the highest.
    Qss {
        /// The part of the highest score by which the next may be lower and still count as equal.
        margin: f64,
    },
    /// All adapters together.
    Unified,
    /// The candidate with which the adapter that is worst off is best.
    Auto,
}

/// Scores that differ by less than this part of the highest count as equal, unless someone says otherwise.
pub const MARGIN: f64 = 0.05;

impl Default for Rule {
    fn default() -> Self {
        Self::Qss { margin: MARGIN }
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Choice {
    /// An adapter, or [`UNIFIED`].
    pub choice: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// Whether the paper's rule picked what measuring says is best.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// What the rule picked.
    pub picked: String,
    /// Its quality for the adapter that is worst off, in decibels.
    pub picked_worst: f64,
    /// The best of the single adapters by measured quality, and its worst quality.
    pub best_anchor: (String, f64),
    /// The best of all candidates, with all together among them, and its worst quality.
    pub best: (String, f64),
}

/// There is nothing to choose by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No adapter has a score.
    #[error("no adapter has a score: an anchor is chosen among adapters, give at least one with its data")]
    NoScores,
    /// No candidate was measured.
    #[error(
        "no candidate was measured: `auto` needs the quality of each adapter with each candidate's encodings"
    )]
    NotMeasured,
}

impl Rule {
    /// The anchor by this rule.
    pub fn choose(self, scores: &Scores) -> Result<Choice, ChoiceError> {
        match self {
            Self::Qss { margin } => by_sensitivity(scores, margin),
            Self::Unified => Ok(Choice { choice: UNIFIED.to_owned(), reason: "asked for".to_owned() }),
            Self::Auto => {
                let (best, worst) = scores.best_candidate().ok_or(ChoiceError::NotMeasured)?;
                let reason =
                    format!("the adapter that is worst off has {worst:.2} dB, more than with any other");
                Ok(Choice { choice: best.to_owned(), reason })
            }
        }
    }
}

fn by_sensitivity(scores: &Scores, margin: f64) -> Result<Choice, ChoiceError> {
    let (most, score) = scores.most_sensitive().ok_or(ChoiceError::NoScores)?;
    let others = scores.qss.iter().filter(|(name, _)| *name != most);
    let next = others.max_by(|a, b| a.1.total_cmp(b.1).then_with(|| b.0.cmp(a.0)));
    if let Some((name, next)) = next {
        let apart = if score > 0.0 { (score - next) / score } else { 0.0 };
        if apart <= margin {
            let reason = format!(
                "`{most}` and `{name}` are the most sensitive, with scores {:.1} % apart: within {:.1} % they count as equal",
                100.0 * apart,
                100.0 * margin
            );
            return Ok(Choice { choice: UNIFIED.to_owned(), reason });
        }
    }
    let divergence = &scores.divergence;
    Ok(Choice { choice: most.to_owned(), reason: format!("highest QSS, {score:.3e} ({divergence})") })
}

impl Verdict {
    /// Compares what `choice` picked with what was measured.
    pub fn of(choice: &Choice, scores: &Scores) -> Result<Self, ChoiceError> {
        let worst = |name: &str| scores.worst(name).ok_or(ChoiceError::NotMeasured);
        let anchors = scores.psnr.keys().filter(|name| *name != UNIFIED);
        let anchors = anchors.filter_map(|name| Some((name.clone(), scores.worst(name)?)));
        let best_anchor = anchors.max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let (best, quality) = scores.best_candidate().ok_or(ChoiceError::NotMeasured)?;
        Ok(Self {
            picked: choice.choice.clone(),
            picked_worst: worst(&choice.choice)?,
            best_anchor: best_anchor.ok_or(ChoiceError::NotMeasured)?,
            best: (best.to_owned(), quality),
        })
    }

    /// Whether nothing is better than what was picked.
    pub fn is_best(&self) -> bool {
        self.picked_worst >= self.best.1
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { picked, picked_worst, best_anchor, best } = self;
        if self.is_best() {
            return write!(
                f,
                "the rule picked the best: with `{picked}` the worst adapter has {picked_worst:.2} dB"
            );
        }
        write!(
            f,
            "the rule did not pick the best: with `{picked}` the worst adapter has {picked_worst:.2} dB, with `{}` it has \
             {:.2} dB",
            best.0, best.1
        )?;
        if best_anchor.0 == best.0 {
            return Ok(());
        }
        if best_anchor.0 == *picked {
            return write!(f, "; of the single adapters, `{picked}` is the best anchor");
        }
        write!(
            f,
            "; the best anchor of the single adapters is `{}` with {:.2} dB",
            best_anchor.0, best_anchor.1
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn scores() -> Scores {
        Scores {
            divergence: "js".to_owned(),
            qss: of(&[("edge", 4e-5), ("relight", 2e-5)]),
            psnr: BTreeMap::from([
                ("edge".to_owned(), of(&[("edge", 50.0), ("relight", 21.0)])),
                ("relight".to_owned(), of(&[("edge", 16.0), ("relight", 52.0)])),
                (UNIFIED.to_owned(), of(&[("edge", 49.0), ("relight", 51.0)])),
            ]),
            ..Scores::default()
        }
    }

    fn choice(rule: Rule, scores: &Scores) -> Choice {
        rule.choose(scores).expect("there are scores")
    }

    #[test]
    fn the_most_sensitive_is_the_anchor() {
        let chosen = choice(Rule::default(), &scores());
        assert_eq!(chosen.choice, "edge");
        assert_eq!(chosen.reason, "highest QSS, 4.000e-5 (js)");
        // The lower one has half the score: equal for whoever asks for no more.
        assert_eq!(choice(Rule::Qss { margin: 0.49 }, &scores()).choice, "edge");
        assert_eq!(choice(Rule::Qss { margin: 0.5 }, &scores()).choice, UNIFIED);
    }

    #[test]
    fn one_adapter_is_its_own_anchor() {
        let one = Scores { qss: of(&[("edge", 0.0)]), ..scores() };
        assert_eq!(choice(Rule::default(), &one).choice, "edge");
        assert_eq!(Rule::default().choose(&Scores::default()), Err(ChoiceError::NoScores));
    }

    #[test]
    fn auto_goes_by_the_worst_adapter() {
        let chosen = choice(Rule::Auto, &scores());
        assert_eq!(chosen.choice, UNIFIED);
        assert!(chosen.reason.contains("49.00 dB"), "{}", chosen.reason);
        assert_eq!(Rule::Auto.choose(&Scores::default()), Err(ChoiceError::NotMeasured));
        assert_eq!(choice(Rule::Unified, &scores()).choice, UNIFIED);
    }

    #[test]
    fn the_verdict_is_plain() {
        let verdict = |picked: &str| {
            let choice = Choice { choice: picked.to_owned(), reason: String::new() };
            Verdict::of(&choice, &scores()).expect("measured")
        };
        assert!(verdict(UNIFIED).is_best());
        assert!(!verdict("edge").is_best());
        assert_eq!(
            verdict("edge").to_string(),
            "the rule did not pick the best: with `edge` the worst adapter has 21.00 dB, with `unified` it has 49.00 dB; \
             of the single adapters, `edge` is the best anchor"
        );
        let relight = verdict("relight").to_string();
        assert!(
            relight.ends_with("the best anchor of the single adapters is `edge` with 21.00 dB"),
            "{relight}"
        );
    }
}
