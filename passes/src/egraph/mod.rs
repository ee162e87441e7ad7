//! Algebra that no order of rules gets right: transposes, reshapes and scales that cancel only after a detour.
//!
//! A rule that moves a transpose past an addition makes a graph worse, until the transpose meets its inverse. Rules that
//! replace must know that beforehand. Here rules only *say what is equal*: an e-graph, of the crate [`egg`], holds all forms
//! of a part of the graph at once, and the cheapest one is taken when nothing new is said or a limit is met.
//!
//! ```text
//! Region ──► EGraph ──► saturate(rules, limits) ──► Choice(costs) ──► write_back ──► Patch ──► Context::apply
//! ```
//!
//! * [`region`] takes bounded parts out of the graph, so that the time for a node does not grow with the graph;
//! * [`rules`] are functions over nodes, by topic; [`rule`] says what makes a good one;
//! * [`saturate`] runs them, within [`Limits`], of which none is a time: the result is the same on any machine;
//! * [`extract`] chooses by a [`CostModel`], which a target may give, and counts shared values once;
//! * what is not cheaper as a whole than the graph as it is changes nothing.
//!
//! Floats are treated as numbers: sums and products may be grouped otherwise, so results differ in the last bits, and
//! what overflows or is not a number in one form need not be in the other.

pub mod analysis;
pub mod axes;
pub mod cost;
pub mod extract;
pub mod language;
pub mod move_layouts;
pub mod move_scales;
pub mod perm;
pub mod region;
pub mod rule;
pub mod rules;
pub mod saturate;
pub mod simplify;
pub mod term;
#[cfg(test)]
mod tests;
mod write_back;

use std::collections::BTreeMap;
use std::fmt;

use egg::Id;
use quad_ir::graph::{Edit, Graph, NodeId, Patch, PatchError, ValueId};
use rustc_hash::FxHashMap;

pub use cost::{CostModel, ElementCosts};
pub use rule::{Roots, Rule, Site};
pub use saturate::{Limits, StopReason};
pub use term::Term;

use crate::context::{Context, Place};
use crate::pass::{Fault, PassError};
use extract::{Choice, own_cost};
use language::ENode;
use region::{REGION, Region, partition};

/// A search for cheaper equal graphs.
#[derive(Clone, Copy)]
pub struct Search<'s> {
    /// The name of the pass.
    pub name: &'static str,
    /// What is equal, by topic.
    pub rules: &'s [&'s [Rule]],
    /// What is cheap.
    pub costs: &'s dyn CostModel,
    /// How far to look.
    pub limits: Limits,
}

/// Sweeps over a graph. Each begins its regions elsewhere, so what is far apart moves closer with each.
const MAX_SWEEPS: usize = 4;

/// Makes `graph` as cheap as `search` finds it to be. What was searched is noted in `cx`.
pub fn optimize(graph: &mut Graph, search: &Search<'_>, cx: &mut Context) -> Result<(), PassError> {
    let mut seen = Seen::default();
    // Sweeps in a row that found nothing.
    let mut idle = 0;
    for sweep in 0..MAX_SWEEPS {
        let first = if sweep % 2 == 0 { 0 } else { REGION / 2 };
        let before = cx.changes();
        let regions = partition(graph, first);
        let n_regions = regions.len();
        for nodes in regions {
            if cx.has_fuel() {
                optimize_region(graph, nodes, search, cx, &mut seen)?;
            }
        }
        idle = if cx.changes() == before { idle + 1 } else { 0 };
        // One region is searched in full at once, and several when no other beginning finds anything.
        let all = n_regions <= 1 && seen.stops.keys().all(|stop| *stop == StopReason::Saturated);
        if all || idle >= n_regions.min(2) {
            break;
        }
    }
    if seen.regions > 0 {
        cx.noted(search.name, seen.to_string());
    }
    Ok(())
}

/// Makes the nodes `nodes`, which are in topological order, cheaper.
fn optimize_region(
    graph: &mut Graph,
    nodes: Vec<NodeId>,
    search: &Search<'_>,
    cx: &mut Context,
    seen: &mut Seen,
) -> Result<(), PassError> {
    // A sweep changes what the next regions read, but never erases their nodes, except when nothing reads them any more.
    let nodes: Vec<NodeId> = nodes.into_iter().filter(|node| graph.contains(*node)).collect();
    let Some(first) = nodes.first().copied() else { return Ok(()) };
    let mut region = Region::new(graph, nodes);
    let size = |region: &Region<'_>| (region.egraph.total_size(), region.egraph.number_of_classes());
    let before = size(&region);
    let stop =
        saturate::saturate(&mut region.egraph, search.rules, search.limits).map_err(|(rule, fault)| {
            let place = Box::new(Place::of(graph.node(first)));
            PassError::Rule { rule, place, error: Box::new(fault.into()) }
        })?;
    seen.add(&region, stop);
    if let Some(option) = stop.option() {
        let place = Place::of(region.graph.node(first));
        cx.left(search.name, place, format!("{stop} around it: option `{option}` sets that"));
    }
    if size(&region) == before {
        // No rule has anything to say.
        return Ok(());
    }
    match cheaper(&region, search)? {
        Found::Nothing => {}
        Found::Edit(edit, place) => {
            cx.apply(graph, *edit, search.name, place)?;
        }
        Found::Left(place, why) => cx.left(search.name, place, why),
    }
    Ok(())
}

/// What a region could be replaced by.
enum Found {
    /// Nothing cheaper.
    Nothing,
    /// Something cheaper, for the sake of a node.
    Edit(Box<Edit>, Place),
    /// Something cheaper that cannot be had.
    Left(Place, &'static str),
}

fn cheaper(region: &Region<'_>, search: &Search<'_>) -> Result<Found, Box<Fault>> {
    let there = nodes_there(region);
    let roots = region.roots();
    let mut choice = Choice::new(&region.egraph, search.costs, |node| there.contains_key(node));
    let now = cost_now(region, search.costs);
    let classes: Vec<Id> = roots.iter().map(|root| region.class(*root)).collect();
    let found = choice.share(&classes);
    if found.is_none_or(|found| found >= now) {
        return Ok(Found::Nothing);
    }
    let mut patch = Patch::new(region.graph, search.name);
    let replaced = write_back::write_back(region, &choice, &there, &roots, &mut patch)?;
    let Some(first) = replaced.first() else { return Ok(Found::Nothing) };
    let place = Place::of(region.graph.value(*first).producer());
    patch.erase_unread();
    match patch.finish() {
        Ok(edit) => Ok(Found::Edit(Box::new(edit), place)),
        // A border may lie between two nodes of the region, and a value behind it equal one before it.
        Err(PatchError::Cycle { .. }) => {
            Ok(Found::Left(place, "what is cheapest would depend on its own result"))
        }
        Err(error) => Err(Box::new(error.into())),
    }
}

/// The nodes of the graph, as they are in the e-graph now, with their results. Of equal ones the first.
fn nodes_there(region: &Region<'_>) -> FxHashMap<ENode, ValueId> {
    let mut there = FxHashMap::default();
    for node in &region.nodes {
        let node = region.graph.node(*node);
        if let Some(enode) = region.enode(node) {
            there.entry(enode).or_insert(node.result().id());
        }
    }
    there
}

/// What the nodes of `region` cost as they are.
fn cost_now(region: &Region<'_>, model: &dyn CostModel) -> u64 {
    let costs = region.nodes.iter().filter_map(|node| {
        let node = region.graph.node(*node);
        Some(own_cost(&region.egraph, model, region.class(node.result().id()), &region.enode(node)?))
    });
    costs.fold(0, u64::saturating_add)
}

/// How far the searches of a pass went.
#[derive(Clone, Debug, Default)]
struct Seen {
    regions: usize,
    nodes: usize,
    forms: usize,
    stops: BTreeMap<StopReason, usize>,
}

impl Seen {
    fn add(&mut self, region: &Region<'_>, stop: StopReason) {
        self.regions += 1;
        self.nodes += region.nodes.len();
        self.forms += saturate::size(&region.egraph);
        *self.stops.entry(stop).or_default() += 1;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.regions == 1 { "" } else { "s" };
        write!(f, "searched {} region{plural}: {} nodes, {} forms", self.regions, self.nodes, self.forms)?;
        self.stops.iter().try_for_each(|(stop, count)| write!(f, "; {count} {stop}"))
    }
}
