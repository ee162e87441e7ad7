//! What passes share while they run: fuel, counts, and the log of what was rewritten and what was left.

use std::fmt;

use quad_ir::graph::{Edit, Graph, NodeRef};
use quad_ir::loc::{Loc, Name};

use crate::pass::PassError;
use crate::witness::{Watch, Witness};

/// The surroundings of a running pass. One context serves one run of one pass.
#[derive(Debug, Default)]
pub struct Context {
    /// How many more changes may be made; `None` is any number.
    fuel: Option<u64>,
    /// Whether near misses are logged.
    explain: bool,
    events: Vec<Event>,
    changes: usize,
    added: usize,
    erased: usize,
    /// The change that took the last of the fuel.
    witness: Option<Witness>,
}

/// Something that a pass did, or did not do and says why.
#[derive(Clone, Debug)]
pub enum Event {
    /// A change was made.
    Rewrote {
        /// The rule, or the pass itself.
        rule: &'static str,
        /// The node at which it was made.
        place: Place,
        /// Nodes that came.
        added: usize,
        /// Nodes that went.
        erased: usize,
    },
    /// A rule nearly matched.
    Left {
        /// The rule.
        rule: &'static str,
        /// The node that was in the way.
        place: Place,
        /// Why the rule did not fire.
        why: String,
    },
    /// Something was counted or decided that concerns no node in particular.
    Noted {
        /// The rule, or the pass itself.
        rule: &'static str,
        /// What.
        what: String,
    },
}

/// A node, described so that it can be found again when it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The id as it was: `n14`.
    pub node: String,
    /// What it computes.
    pub op: &'static str,
    /// The name of its first result.
    pub name: Option<Name>,
    /// Where it came from.
    pub loc: Loc,
}

impl Place {
    /// Describes `node`.
    pub fn of(node: NodeRef<'_>) -> Self {
        let name = node.results().next().and_then(|result| result.name().cloned());
        Self { node: node.id().to_string(), op: node.op().def().name(), name, loc: node.loc().clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "%{name} ({})", self.op),
            None => write!(f, "{} ({})", self.node, self.op),
        }
    }
}

impl Context {
    /// A context with so many changes to spend.
    pub fn with_fuel(fuel: Option<u64>) -> Self {
        Self { fuel, ..Self::default() }
    }

    /// Logs near misses too.
    #[must_use]
    pub fn explaining(mut self, explain: bool) -> Self {
        self.explain = explain;
        self
    }

    /// Whether another change may be made. Passes that build a large change ask before.
    pub fn has_fuel(&self) -> bool {
        self.fuel != Some(0)
    }

    /// Makes a change, unless it is empty or there is no fuel: the one door through which passes change a graph.
    /// `place` describes the node for whose sake it is made. Returns whether it was made.
    pub fn apply(
        &mut self,
        graph: &mut Graph,
        edit: Edit,
        rule: &'static str,
        place: Place,
    ) -> Result<bool, PassError> {
        if edit.is_empty() || !self.has_fuel() {
            return Ok(false);
        }
        let (added, erased) = (edit.n_added(), edit.erased().len());
        // Only whoever limits the fuel is about to ask what its last change was.
        let watch = (self.fuel == Some(1)).then(|| Watch::before(graph, &edit));
        graph.apply(edit)?;
        self.witness = watch.map(|watch| watch.after(graph)).or(self.witness.take());
        self.fuel = self.fuel.map(|fuel| fuel - 1);
        self.changes += 1;
        self.added += added;
        self.erased += erased;
        self.events.push(Event::Rewrote { rule, place, added, erased });
        Ok(true)
    }

    /// Whether near misses are worth telling.
    pub fn explains(&self) -> bool {
        self.explain
    }

    /// Tells of a near miss.
    pub fn left(&mut self, rule: &'static str, place: Place, why: impl Into<String>) {
        if self.explain {
            self.events.push(Event::Left { rule, place, why: why.into() });
        }
    }

    /// Tells what concerns no node in particular, such as how far a search went.
    pub fn noted(&mut self, rule: &'static str, what: impl Into<String>) {
        self.events.push(Event::Noted { rule, what: what.into() });
    }

    /// Changes made so far.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Nodes added so far.
    pub fn added(&self) -> usize {
        self.added
    }

    /// Nodes erased so far.
    pub fn erased(&self) -> usize {
        self.erased
    }

    /// What is left of the fuel.
    pub fn fuel(&self) -> Option<u64> {
        self.fuel
    }

    /// The surroundings of the change that took the last of the fuel, if one did.
    pub fn witness(&self) -> Option<&Witness> {
        self.witness.as_ref()
    }

    /// What happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What happened, in order, to keep.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}
