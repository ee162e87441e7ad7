//! The anchor: of which adapter the encodings are.
//!
//! | asked for | chosen |
//! |---|---|
//! | the name of an adapter | that adapter |
//! | `unified` | the statistics of all adapters together |
//! | `qss` | the adapter with the highest QSS, or `unified` where the scores are within a margin: the paper's rule |
//! | `auto` | the candidate, `unified` among them, whose worst adapter was measured best |

use std::fmt::Write as _;
use std::str::FromStr;

use super::Anchor;
use super::scores::{Scores, UNIFIED};
use crate::statistics::Statistics;

/// How the anchor is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorRule {
    /// The adapter with the highest QSS.
    Qss,
    /// What was measured best.
    Auto,
    /// All adapters together.
    Unified,
    /// The adapter of this name.
    Adapter(String),
}

/// How much of the largest score the scores may differ and still count as equal, unless it is given.
pub const MARGIN: f64 = 0.05;

/// No anchor can be chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnchorError {
    /// The adapter is not among those that there are statistics of.
    #[error("there are no statistics of adapter `{name}`, only of {known}")]
    Unknown {
        /// The adapter.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The rule goes by scores, and there are none.
    #[error(
        "--anchor {0} goes by measured scores: make them with `quad qss .. -o SCORES` and give them with --scores SCORES"
    )]
    NoScores(&'static str),
    /// The scores are of another graph.
    #[error("the scores are of another model: its digest is {found}, that of the statistics {expected}")]
    OtherGraph {
        /// In the scores.
        found: String,
        /// In the statistics.
        expected: String,
    },
    /// The scores lack what the rule goes by.
    #[error("the scores have no {0}: make them anew with `quad qss`")]
    Empty(&'static str),
}

impl FromStr for AnchorRule {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "qss" => Self::Qss,
            "auto" => Self::Auto,
            UNIFIED => Self::Unified,
            name => Self::Adapter(name.to_owned()),
        })
    }
}

/// The anchor by `rule`. Scores that differ by less than `margin` of the largest count as equal.
pub fn choose(
    rule: &AnchorRule,
    statistics: &Statistics,
    scores: Option<&Scores>,
    margin: f64,
) -> Result<Anchor, AnchorError> {
    let (choice, reason) = match rule {
        AnchorRule::Unified => (UNIFIED.to_owned(), "asked for".to_owned()),
        AnchorRule::Adapter(name) => (name.clone(), "asked for".to_owned()),
        AnchorRule::Qss => {
            by_qss(of_graph(scores.ok_or(AnchorError::NoScores("qss"))?, statistics)?, margin)?
        }
        AnchorRule::Auto => by_quality(of_graph(scores.ok_or(AnchorError::NoScores("auto"))?, statistics)?)?,
    };
    let adapters: Vec<String> = statistics.adapters.keys().cloned().collect();
    if choice != UNIFIED && !statistics.adapters.contains_key(&choice) {
        return Err(AnchorError::Unknown { name: choice, known: adapters.join(", ") });
    }
    Ok(Anchor { choice, reason, adapters })
}

/// The scores, when they are of the graph of the statistics.
fn of_graph<'s>(scores: &'s Scores, statistics: &Statistics) -> Result<&'s Scores, AnchorError> {
    let expected = &statistics.model.digest;
    if scores.graph == *expected {
        return Ok(scores);
    }
    Err(AnchorError::OtherGraph { found: scores.graph.clone(), expected: expected.clone() })
}

fn by_qss(scores: &Scores, margin: f64) -> Result<(String, String), AnchorError> {
    let (name, _) = scores.most_sensitive().ok_or(AnchorError::Empty("QSS of any adapter"))?;
    let mut all = String::new();
    for (name, score) in &scores.qss {
        let separator = if all.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(all, "{separator}{name} {score:.4e}");
    }
    let (spread, divergence) = (scores.spread(), &scores.divergence);
    if scores.qss.len() > 1 && spread < margin {
        let reason = format!(
            "scores differ by {:.1} %, less than {:.1} %: {all} ({divergence})",
            spread * 100.0,
            margin * 100.0
        );
        return Ok((UNIFIED.to_owned(), reason));
    }
    Ok((name.to_owned(), format!("highest QSS: {all} ({divergence})")))
}

fn by_quality(scores: &Scores) -> Result<(String, String), AnchorError> {
    let (name, worst) = scores.best_candidate().ok_or(AnchorError::Empty("quality of any anchor"))?;
    let mut all = String::new();
    for candidate in scores.psnr.keys() {
        if let Some(worst) = scores.worst(candidate) {
            let separator = if all.is_empty() { "" } else { ", " };
            let _ = write!(all, "{separator}{candidate} {worst:.2}");
        }
    }
    Ok((name.to_owned(), format!("best worst adapter, {worst:.2} dB, of: {all} ({})", scores.precision)))
}
