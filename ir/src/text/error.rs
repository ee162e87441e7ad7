//! What can be wrong with a text, and where.

use std::fmt;

use crate::attr::AttrError;
use crate::graph::AddError;
use crate::types::QuantError;
use crate::weights::{Digest, WeightError};

/// A text is not a module.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: u32,
    /// The character in the line, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub kind: Box<ParseErrorKind>,
    /// The line itself, or the part of a long one around the place.
    pub(super) excerpt: Box<str>,
    /// How many characters of the excerpt come before the place.
    pub(super) indent: usize,
}

/// What is wrong at a place of a text.
#[derive(Debug, thiserror::Error)]
pub enum ParseErrorKind {
    /// Something else was expected.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A character that nothing starts with.
    #[error("{0:?} starts nothing; names with such characters are written in quotes")]
    Character(char),
    /// A quoted text without an end, or with an escape that does not exist.
    #[error("{0}")]
    Quoted(&'static str),
    /// A number that is not one, or does not fit.
    #[error("`{text}` is not {expected}")]
    Number {
        /// What is there.
        text: String,
        /// What should be.
        expected: String,
    },
    /// The text is of a later version, or of none.
    #[error("version {0} of the text form is not known; this program reads version 1")]
    Version(String),
    /// Too much of something.
    #[error("{what}: more than {limit} are refused")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A value is read that was not defined above.
    #[error("{0} is not defined above")]
    UnknownValue(String),
    /// A name is given twice.
    #[error("{0} is there already")]
    Duplicate(String),
    /// There is no such operation.
    #[error("there is no operation `{name}`{}", hint(*near))]
    UnknownOp {
        /// What is there.
        name: String,
        /// The operation with the most similar name.
        near: Option<&'static str>,
    },
    /// An attribute was refused.
    #[error("`{op}`: {error}")]
    Attr {
        /// The operation.
        op: &'static str,
        /// Why.
        error: AttrError,
    },
    /// The operation did not accept its operands or attributes.
    #[error("{}", without_place(.0))]
    Add(AddError),
    /// A node has another number of results.
    #[error("`{op}` has {expected} results, found {found} names and types")]
    Results {
        /// The operation.
        op: &'static str,
        /// How many are there.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The type that is written cannot be that of the result.
    #[error("the result is {inferred}, but {stated} is written")]
    Type {
        /// What the type rule says.
        inferred: String,
        /// What is written.
        stated: String,
    },
    /// The parameters of a quantization do not fit together.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// No source has the bytes of a weight.
    #[error("the bytes of weight {digest} ({ty}) are not there; {hint}")]
    MissingWeight {
        /// The digest.
        digest: Digest,
        /// The type that is written.
        ty: String,
        /// Where they were looked for.
        hint: String,
    },
    /// The bytes of a weight do not fit its type.
    #[error(transparent)]
    Weight(#[from] WeightError),
}

impl ParseError {
    /// Shows the line with a caret under the place:
    ///
    /// ```text
    ///   |   %y = relu(%z) : f32[4]
    /// 7 |             ^ %z is not defined above
    /// ```
    pub fn show(&self) -> impl fmt::Display + '_ {
        struct Show<'e>(&'e ParseError);
        impl fmt::Display for Show<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let ParseError { line, kind, excerpt, indent, .. } = self.0;
                let number = line.to_string();
                writeln!(f, "{:>width$} | {excerpt}", "", width = number.len())?;
                write!(f, "{number} | {:indent$}^ {kind}", "", indent = indent)
            }
        }
        Show(self)
    }
}

/// Characters of a long line that an error shows before and after the place.
const EXCERPT: usize = 80;

/// The error at byte `at` of `text`.
pub(super) fn error_at(text: &str, at: usize, kind: ParseErrorKind) -> ParseError {
    let at = text.floor_char_boundary(at.min(text.len()));
    let (before, after) = text.split_at(at);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let head = &before[start..];
    let column = head.chars().count() + 1;
    let shown: String = head.chars().skip((column - 1).saturating_sub(EXCERPT)).map(printable).collect();
    let rest = after.lines().next().unwrap_or("").chars().take(EXCERPT).map(printable);
    let indent = shown.chars().count();
    let excerpt: String = shown.chars().chain(rest).collect();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    ParseError {
        line: number(line),
        column: number(column),
        kind: Box::new(kind),
        excerpt: excerpt.into(),
        indent,
    }
}

/// Keeps control characters of a text from reaching a terminal.
fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

fn hint(near: Option<&'static str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// The message without the place, which the parse error gives already.
fn without_place(error: &AddError) -> String {
    match error {
        AddError::Infer { op, error, .. } => format!("`{op}`: {error}"),
        other => other.to_string(),
    }
}
