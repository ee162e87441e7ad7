//! Whether a target takes a node, and every reason why not.

use std::fmt;

/// Whether a target takes a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Legality {
    /// It does.
    Legal,
    /// It does not, for all of these reasons.
    Illegal(Vec<Reason>),
}

/// Why a target does not take a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What was found and what was expected: the end of the sentence "not legal, because ..".
    pub why: String,
    /// What can be done about it, where something can.
    pub help: Option<String>,
    /// Where the rule comes from: a page of a vendor, a source file, an observation.
    pub source: Option<&'static str>,
}

impl Reason {
    /// A reason without more to say.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: None, source: None }
    }

    /// As before, with what can be done about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As before, with where the rule comes from.
    #[must_use]
    pub fn source(mut self, source: &'static str) -> Self {
        self.source = Some(source);
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        if let Some(source) = self.source {
            write!(f, " ({source})")?;
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl Legality {
    /// Not legal, for one reason.
    pub fn because(why: impl Into<String>) -> Self {
        Self::Illegal(vec![Reason::new(why)])
    }

    /// Legal where there is no reason against it.
    pub fn of(reasons: Vec<Reason>) -> Self {
        if reasons.is_empty() { Self::Legal } else { Self::Illegal(reasons) }
    }

    /// Whether the target takes the node.
    pub fn is_legal(&self) -> bool {
        *self == Self::Legal
    }

    /// Why it does not; empty where it does.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Legal => &[],
            Self::Illegal(reasons) => reasons,
        }
    }

    /// Legal only where both are, with the reasons of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Legal, other) => other,
            (this, Self::Legal) => this,
            (Self::Illegal(mut reasons), Self::Illegal(more)) => {
                reasons.extend(more);
                Self::Illegal(reasons)
            }
        }
    }
}

/// Collects the reasons against a node, one question after the other.
#[derive(Debug, Default)]
pub struct Reasons(Vec<Reason>);

impl Reasons {
    /// Adds what `why` says, unless `holds`.
    pub fn require(&mut self, holds: bool, why: impl FnOnce() -> String) -> &mut Self {
        if !holds {
            self.0.push(Reason::new(why()));
        }
        self
    }

    /// Adds a reason.
    pub fn add(&mut self, reason: Reason) -> &mut Self {
        self.0.push(reason);
        self
    }

    /// What was collected.
    pub fn legality(&mut self) -> Legality {
        Legality::of(std::mem::take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_kept() {
        let mut reasons = Reasons::default();
        reasons
            .require(true, || "never asked".to_owned())
            .require(false, || "it has 5 axes, 4 are taken".to_owned());
        let reason = Reason::new("its elements are i64").help("cast them to i32").source("runtime 2.3.0");
        reasons.add(reason);
        let legality = reasons.legality().and(Legality::Legal).and(Legality::because("third"));
        let said: Vec<String> = legality.reasons().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["it has 5 axes, 4 are taken", "its elements are i64 (runtime 2.3.0); cast them to i32", "third"]
        );
        assert!(!legality.is_legal() && Reasons::default().legality().is_legal());
    }
}
