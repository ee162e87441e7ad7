//! What a pass is.

use std::fmt;

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::{AddError, Graph, PatchError, StaleEdit};
use quad_ir::module::Module;
use quad_ir::weights::WeightError;

use crate::context::{Context, Place};
use crate::egraph::analysis::RuleFault;

/// A transformation of a whole graph. Its fields are its options.
pub trait Pass: fmt::Debug + Send + Sync {
    /// Name and manual.
    fn info(&self) -> &'static PassInfo;

    /// Hands every option to `visitor`, once, in the order in which options are printed.
    fn options(&mut self, _visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        Ok(())
    }

    /// What must hold of every graph before.
    fn requires(&self) -> Invariants {
        Invariants::empty()
    }

    /// What holds of every graph afterwards, beside being valid.
    fn ensures(&self) -> Invariants {
        Invariants::empty()
    }

    /// Transforms `graph`. Every change goes through [`Context::apply`].
    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError>;

    /// Transforms all graphs of `module`; each by itself, unless the pass moves something between them.
    fn run_module(&self, module: &mut Module, cx: &mut Context) -> Result<(), PassError> {
        module.graphs.iter_mut().try_for_each(|graph| self.run(graph, cx))
    }
}

/// Name and manual of a pass.
#[derive(Debug)]
pub struct PassInfo {
    /// The name in pipelines, in kebab-case: a verb and its object.
    pub name: &'static str,
    /// The source file of the pass. Its module comment is the manual.
    pub source: &'static str,
}

impl PassInfo {
    /// The module comment of the pass, without comment signs.
    pub fn manual(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        lines.join("\n")
    }

    /// The first sentence of the manual.
    pub fn summary(&self) -> String {
        let manual = self.manual();
        let paragraph: Vec<&str> = manual.lines().take_while(|line| !line.is_empty()).collect();
        let paragraph = paragraph.join(" ");
        let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
        paragraph[..end].to_owned()
    }
}

bitflags::bitflags! {
    /// What may be asked of a graph, beside being valid.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Invariants: u8 {
        /// All sizes are numbers.
        const STATIC_SHAPES = 1;
        /// Every node is read, or is an input, or gives an output.
        const NO_DEAD_NODES = 1 << 1;
        /// No value has more than four axes.
        const RANK4 = 1 << 2;
    }
}

/// A pass could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The graph is not of a kind that the pass takes.
    #[error("{0}")]
    Refused(String),
    /// A rule proposed a change that is not possible: a fault of the rule.
    #[error("rule `{rule}` at {place}: {error}. This is a fault of the rule, not of the model")]
    Rule {
        /// The rule.
        rule: &'static str,
        /// The node.
        place: Box<Place>,
        /// What was wrong.
        error: Box<Fault>,
    },
    /// A change is not possible: a fault of the pass.
    #[error("{0}. This is a fault of the pass, not of the model")]
    Fault(#[from] Box<Fault>),
    /// Rules undo each other's work.
    #[error(
        "{rewrites} rewrites and no end, the last by rule `{rule}`: rules undo each other's work, a fault of the pass"
    )]
    Endless {
        /// How many.
        rewrites: usize,
        /// The rule that fired last.
        rule: &'static str,
    },
}

/// Why a change was not possible.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A node could not be typed.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The change as a whole does not fit the graph.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The graph was changed in between.
    #[error(transparent)]
    Stale(#[from] StaleEdit),
    /// The elements of a constant could not be had.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// What the pass planned and what came of it differ.
    #[error("a value was planned with shape {expected} and has {found}")]
    Plan {
        /// The shape of the plan.
        expected: String,
        /// The shape that was found.
        found: String,
    },
    /// A rule of an e-graph says something that cannot be.
    #[error(transparent)]
    Equality(#[from] RuleFault),
}

/// So that passes can write `?` after whatever builds a change.
macro_rules! faults {
    ($($error:ty),*) => {$(
        impl From<$error> for PassError {
            fn from(error: $error) -> Self {
                Self::Fault(Box::new(error.into()))
            }
        }
    )*};
}
faults!(AddError, PatchError, StaleEdit, WeightError);
