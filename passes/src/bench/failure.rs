//! How a pipeline fails, in a form in which two failures can be told to be the same.

use std::any::Any;
use std::fmt;

use crate::check::CheckError;
use crate::pass::PassError;
use crate::runner::{RunError, RunErrorKind};

/// A pipeline failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The pass, with options.
    pub pass: String,
    /// The rule, when it is known.
    pub rule: Option<&'static str>,
    /// In what way.
    pub kind: FailureKind,
    /// What was found.
    pub message: String,
    /// Changes made by the passes before this one.
    pub(super) changes_before: u64,
    /// Changes made by this one too, when it came to its end.
    pub(super) changes: Option<u64>,
}

/// The ways in which a pipeline fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FailureKind {
    /// The pass panicked.
    Panic,
    /// The pass does not take the graph, which is no fault of the pass.
    Refused,
    /// A rule or a pass proposed something impossible.
    Error,
    /// Rules or passes undo each other's work.
    Endless,
    /// The graph is not valid afterwards.
    Invalid,
    /// The graph is not what the pass promises.
    Promise,
    /// The graph does not run any more.
    DoesNotRun,
    /// An output is gone, or has another type.
    Output,
    /// An output has other elements, by so much, relative to its largest magnitude.
    Differs(f64),
}

impl FailureKind {
    /// The kind as a word, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Refused => "refused",
            Self::Error => "error",
            Self::Endless => "endless",
            Self::Invalid => "invalid graph",
            Self::Promise => "broken promise",
            Self::DoesNotRun => "does not run",
            Self::Output => "lost output",
            Self::Differs(_) => "differs",
        }
    }

    /// Whether the interpreter found it.
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::DoesNotRun | Self::Output | Self::Differs(_))
    }
}

/// Deviations from which on a smaller model is wrong beyond doubt.
const PLAIN: f64 = 1e-2;

impl Failure {
    /// Whether `other`, of a smaller model, is this failure again: of the same kind, in the same pass and rule. A
    /// deviation must not dwindle to what rounding might do.
    pub fn is_again(&self, other: &Self) -> bool {
        let is_kind = match (self.kind, other.kind) {
            (FailureKind::Differs(first), FailureKind::Differs(second)) => {
                second >= (first / 10.0).min(PLAIN)
            }
            (first, second) => first == second,
        };
        let is_message = self.kind.is_numeric() || spelled(&self.message) == spelled(&other.message);
        is_kind && is_message && self.pass == other.pass && self.rule == other.rule
    }

    pub(super) fn of_panic(payload: &(dyn Any + Send), pass: &str, changes_before: u64) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            pass: pass.to_owned(),
            rule: None,
            kind: FailureKind::Panic,
            message: text.unwrap_or("a panic without a message").to_owned(),
            changes_before,
            changes: None,
        }
    }

    pub(super) fn of_run(error: &RunError, changes_before: u64, changes: Option<u64>) -> Self {
        let rule = match &error.kind {
            RunErrorKind::Pass(PassError::Rule { rule, .. } | PassError::Endless { rule, .. }) => Some(*rule),
            _ => None,
        };
        let message = error.kind.to_string();
        let pass = error.pass.clone();
        Self { pass, rule, kind: kind(&error.kind), message, changes_before, changes }
    }
}

fn kind(error: &RunErrorKind) -> FailureKind {
    match error {
        RunErrorKind::Pass(PassError::Endless { .. }) | RunErrorKind::Endless => FailureKind::Endless,
        RunErrorKind::Pass(PassError::Refused(_)) | RunErrorKind::Invariant { before: true, .. } => {
            FailureKind::Refused
        }
        RunErrorKind::Pass(_) => FailureKind::Error,
        RunErrorKind::Verify { .. } => FailureKind::Invalid,
        RunErrorKind::Invariant { .. } => FailureKind::Promise,
        RunErrorKind::Observer(error) => match error.downcast_ref::<CheckError>() {
            Some(CheckError::Differs { deviation, .. }) => FailureKind::Differs(deviation.relative()),
            Some(CheckError::Output { .. }) => FailureKind::Output,
            _ => FailureKind::DoesNotRun,
        },
    }
}

/// The beginning of a message without numbers and names, which differ from model to model.
fn spelled(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let words = first.split_whitespace().take(WORDS);
    let plain = words.filter(|word| word.chars().all(|c| c.is_alphabetic() || matches!(c, '`' | '-' | ',')));
    plain.collect::<Vec<&str>>().join(" ")
}

/// Words of a message that are compared.
const WORDS: usize = 12;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Panic => write!(f, "pass `{}` panics: {}", self.pass, self.message),
            _ => write!(f, "pass `{}`: {}", self.pass, self.message),
        }
    }
}
