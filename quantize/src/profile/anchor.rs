//! The anchor: of which adapter the encodings are.
//!
//! | asked for | chosen |
//! |---|---|
//! | the name of an adapter | that adapter |
//! | `unified` | the statistics of all adapters together |
//! | several names, `a+b` | the statistics of these together, for a profile that they alone share |
//! | `qss`, `auto` | by measured scores, see [`choice`](crate::sensitivity::choice) |

use std::collections::BTreeSet;

use super::Anchor;
use super::scores::{Scores, UNIFIED};
use crate::sensitivity::choice::{ChoiceError, Rule};
use crate::statistics::Statistics;

/// Words that choose an anchor, which no adapter can be called: an anchor of that name could not be asked for.
pub const RESERVED: [&str; 3] = ["qss", "auto", UNIFIED];

/// How the anchor is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum AnchorRule {
    /// By a rule over scores, called by this word.
    Scored(&'static str, Rule),
    /// All adapters together.
    Unified,
    /// The adapter of this name, or those of several, `a+b`, together.
    Adapter(String),
}

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
    /// An adapter was not measured.
    #[error(
        "the scores are of other adapters: {missing} was not measured; give `quad qss` every adapter that there are statistics of"
    )]
    NotMeasured {
        /// The adapters without scores.
        missing: String,
    },
    /// The scores lack what the rule goes by.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
}

impl AnchorRule {
    /// The rule that `text` names: `qss`, `auto`, `unified`, or else an adapter. `qss` takes all adapters together where the
    /// two highest scores differ by less than `margin` of the highest.
    pub fn named(text: &str, margin: f64) -> Self {
        match text {
            "qss" => Self::Scored("qss", Rule::Qss { margin }),
            "auto" => Self::Scored("auto", Rule::Auto),
            UNIFIED => Self::Unified,
            name => Self::Adapter(name.to_owned()),
        }
    }
}

/// The anchor by `rule`.
pub fn choose(
    rule: &AnchorRule,
    statistics: &Statistics,
    scores: Option<&Scores>,
) -> Result<Anchor, AnchorError> {
    let asked = |choice: &str| (choice.to_owned(), "asked for".to_owned());
    let (choice, reason) = match rule {
        AnchorRule::Unified => asked(UNIFIED),
        AnchorRule::Adapter(name) => asked(name),
        AnchorRule::Scored(word, rule) => {
            let scores = of_graph(scores.ok_or(AnchorError::NoScores(word))?, statistics)?;
            let chosen = rule.choose(scores)?;
            (chosen.choice, format!("{word}: {}", chosen.reason))
        }
    };
    let adapters: Vec<String> = statistics.adapters.keys().cloned().collect();
    if let Some(group) = group(&choice, statistics) {
        return Ok(Anchor { choice: UNIFIED.to_owned(), reason, adapters: group });
    }
    if choice != UNIFIED && !statistics.adapters.contains_key(&choice) {
        return Err(AnchorError::Unknown { name: choice, known: adapters.join(", ") });
    }
    Ok(Anchor { choice, reason, adapters })
}

/// The adapters that `choice` lists, `a+b`, when it is no adapter's own name and there are statistics of each.
fn group(choice: &str, statistics: &Statistics) -> Option<Vec<String>> {
    let names: BTreeSet<&str> = choice.split('+').collect();
    let is_list = choice.contains('+') && !statistics.adapters.contains_key(choice);
    let is_known = names.iter().all(|name| statistics.adapters.contains_key(*name));
    (is_list && is_known).then(|| names.into_iter().map(str::to_owned).collect())
}

/// The scores, when they are of the graph and of all adapters of the statistics.
fn of_graph<'s>(scores: &'s Scores, statistics: &Statistics) -> Result<&'s Scores, AnchorError> {
    let expected = &statistics.model.digest;
    if scores.graph != *expected {
        return Err(AnchorError::OtherGraph { found: scores.graph.clone(), expected: expected.clone() });
    }
    let missing = statistics.adapters.keys().filter(|name| !scores.qss.contains_key(*name));
    let missing: Vec<String> = missing.map(|name| format!("`{name}`")).collect();
    if missing.is_empty() {
        Ok(scores)
    } else {
        Err(AnchorError::NotMeasured { missing: missing.join(", ") })
    }
}
