//! Pipelines: lists of passes as text.
//!
//! ```text
//! canonicalize,decompose{gelu=true},(cse,dce)*
//! ```
//!
//! A pass is its name, with options in braces. `( .. )*` repeats a list until it changes nothing. The name of a pipeline
//! stands for its passes.

mod read;

use std::fmt;

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use quad_ir::text::spell_attr;

use crate::pass::Pass;
use crate::registry::Registry;

/// Passes in the order in which they run.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The steps.
    pub steps: Vec<Step>,
}

/// A step of a pipeline.
#[derive(Debug)]
pub enum Step {
    /// One pass.
    Pass(Configured),
    /// A list that is run until it changes nothing.
    Repeat(Pipeline),
}

/// A pass with its options.
#[derive(Debug)]
pub struct Configured {
    /// How it is written.
    pub spelling: String,
    /// The pass.
    pub pass: Box<dyn Pass>,
}

/// A text is not a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pipeline, column {column}: {kind}")]
pub struct PipelineError {
    /// Where, counted from 1.
    pub column: usize,
    /// What was wrong.
    pub kind: PipelineErrorKind,
}

/// What can be wrong with a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineErrorKind {
    /// There is no such pass.
    #[error("there is no pass or pipeline `{name}`; {hint}")]
    Unknown {
        /// The word.
        name: String,
        /// The nearest name, or where to find all.
        hint: String,
    },
    /// An option was refused.
    #[error("pass `{pass}`: {error}")]
    Option {
        /// The pass.
        pass: String,
        /// Why.
        error: AttrError,
    },
    /// Something else was expected.
    #[error("found {found}, expected {expected}")]
    Syntax {
        /// What is there.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Parentheses within parentheses, beyond any use.
    #[error("more than {} parentheses within each other", read::MAX_DEPTH)]
    Depth,
}

impl Pipeline {
    /// Reads `text`, with the passes of `registry`. Spaces and line breaks are allowed between words.
    pub fn parse(text: &str, registry: &Registry) -> Result<Self, PipelineError> {
        read::pipeline(text, registry)
    }

    /// How many passes there are; those of a repeated list once.
    pub fn len(&self) -> usize {
        let length = |step: &Step| match step {
            Step::Pass(_) => 1,
            Step::Repeat(list) => list.len(),
        };
        self.steps.iter().map(length).sum()
    }

    /// Whether there is no pass.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Configured {
    /// `pass`, and how it is written: its name, and the options that differ from those of `default`.
    pub fn new(mut pass: Box<dyn Pass>, mut default: Box<dyn Pass>) -> Self {
        let usual = options_of(&mut *default);
        let differing = options_of(&mut *pass).into_iter().filter(|option| !usual.contains(option));
        let options: Vec<String> =
            differing.map(|(name, value)| format!("{name}={}", spell_attr(&value))).collect();
        let name = pass.info().name;
        let spelling =
            if options.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", options.join(",")) };
        Self { spelling, pass }
    }
}

/// The options of `pass` that have a value, in order.
pub fn options_of(pass: &mut dyn Pass) -> Vec<(&'static str, Attr)> {
    let mut collect = Collect::default();
    // Collecting refuses nothing.
    let _ = pass.options(&mut collect);
    collect.0
}

#[derive(Default)]
struct Collect(Vec<(&'static str, Attr)>);

impl AttrVisitor for Collect {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if !value.is_absent() {
            self.0.push((name, value.to_attr()));
        }
        Ok(())
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            match step {
                Step::Pass(pass) => f.write_str(&pass.spelling)?,
                Step::Repeat(list) => write!(f, "({list})*")?,
            }
        }
        Ok(())
    }
}
