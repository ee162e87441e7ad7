//! Adding to an e-graph what rules say, until they have nothing new to say or a limit is met.
//!
//! In each round the rules look at the nodes around the classes that the last round made or joined, and nowhere else. What
//! they say is added after all of them have looked, so that their order does not matter more than it must. There is no
//! limit on time: the same graph gives the same result on any machine.

use std::collections::BTreeSet;
use std::fmt;

use egg::{Id, Language};
use quad_ir::attr::{AttrError, AttrVisitor};

use super::analysis::{EGraph, RuleFault, may_agree};
use super::language::ENode;
use super::rule::{Rule, Site};
use super::term::Term;

/// How far the search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds: a transpose moves past one operation in a round.
    pub iterations: u64,
    /// Nodes of the e-graph of one region.
    pub nodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { iterations: 64, nodes: 4096 }
    }
}

impl Limits {
    /// Hands the limits to `visitor`, as options of a pass.
    pub fn visit(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("iterations", &mut self.iterations)?;
        visitor.attr("nodes", &mut self.nodes)
    }
}

/// Why the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// The rules have nothing new to say: everything they could reach was weighed.
    Saturated,
    /// The limit on rounds.
    Iterations,
    /// The limit on nodes.
    Nodes,
}

impl StopReason {
    /// The option that would have let the search go on, if it could have.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Saturated => None,
            Self::Iterations => Some("iterations"),
            Self::Nodes => Some("nodes"),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Saturated => "saturated",
            Self::Iterations => "stopped by the limit on iterations",
            Self::Nodes => "stopped by the limit on nodes",
        })
    }
}

/// Lets `rules` work on `egraph`.
///
/// # Errors
/// The name of a rule that said something impossible, and what.
pub fn saturate(
    egraph: &mut EGraph<'_>,
    rules: &[&[Rule]],
    limits: Limits,
) -> Result<StopReason, (&'static str, RuleFault)> {
    for _ in 0..limits.iterations {
        egraph.rebuild();
        let touched: BTreeSet<Id> =
            egraph.analysis.take_touched().into_iter().map(|class| egraph.find(class)).collect();
        let said = look(egraph, rules, &touched);
        if said.is_empty() {
            return Ok(StopReason::Saturated);
        }
        for (rule, class, term) in said {
            if egraph.total_size() as u64 >= limits.nodes {
                egraph.rebuild();
                return Ok(StopReason::Nodes);
            }
            believe(egraph, class, term).map_err(|fault| (rule, fault))?;
        }
    }
    egraph.rebuild();
    Ok(StopReason::Iterations)
}

/// What the rules say of nodes that are in `touched` or read one of those. Constants are as they are: they cost nothing.
fn look(egraph: &EGraph<'_>, rules: &[&[Rule]], touched: &BTreeSet<Id>) -> Vec<(&'static str, Id, Term)> {
    let readers = touched.iter().flat_map(|class| egraph[*class].parents());
    let mut classes: BTreeSet<Id> = readers.map(|reader| egraph.find(reader)).collect();
    classes.extend(touched);
    let mut said = Vec::new();
    for class in classes {
        for node in egraph[class].iter() {
            if !touched.contains(&class) && !node.children().iter().any(|child| touched.contains(child)) {
                continue;
            }
            let Some(site) = Site::new(egraph, class, node).filter(|_| !egraph[class].data.constant) else {
                continue;
            };
            for rule in rules.iter().copied().flatten().filter(|rule| rule.roots.contain(site.op())) {
                said.extend((rule.equal)(&site).into_iter().map(|term| (rule.name, class, term)));
            }
        }
    }
    said
}

/// Adds `term` to `class`.
fn believe(egraph: &mut EGraph<'_>, class: Id, term: Term) -> Result<(), RuleFault> {
    let added = term.add_to(egraph);
    if let Some(fault) = egraph.analysis.take_fault() {
        return Err(fault);
    }
    let Some(added) = added.filter(|added| egraph.find(*added) != egraph.find(class)) else { return Ok(()) };
    let (old, new) = (egraph[class].data.ty(), egraph[added].data.ty());
    // Two symbolic sizes may be the same, but nobody has said so.
    if old == new || !may_agree(old, new) {
        egraph.union(class, added);
    }
    egraph.analysis.take_fault().map_or(Ok(()), Err)
}

/// How many nodes the classes of `egraph` have.
pub fn size(egraph: &EGraph<'_>) -> usize {
    egraph.classes().map(|class| class.iter().filter(|node| **node != ENode::Absent).count()).sum()
}
