//! Rules: local rewrites that start at one node, and the driver that applies them until none fires.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use quad_ir::graph::{AddError, Graph, NodeId, NodeRef, Patch, PatchError, ValueRef};
use quad_ir::ops::OpKind;
use quad_ir::weights::WeightError;
use rustc_hash::FxHashMap;

use crate::context::{Context, Place};
use crate::pass::{Fault, PassError};

/// A local rewrite.
pub trait Rule: fmt::Debug + Send + Sync {
    /// The name, in kebab-case.
    fn name(&self) -> &'static str;

    /// The operations that a rewrite may start at.
    fn roots(&self) -> &'static [OpKind];

    /// Looks at `root`, which is one of [`roots`](Self::roots), and writes the change into `patch`, or says why there is
    /// none. What nothing reads afterwards goes away by itself; a rule only replaces.
    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip>;
}

/// A rule without options: a name, and a function.
#[derive(Clone, Copy, Debug)]
pub struct FnRule {
    /// See [`Rule::name`].
    pub name: &'static str,
    /// See [`Rule::roots`].
    pub roots: &'static [OpKind],
    /// See [`Rule::rewrite`].
    pub rewrite: fn(NodeRef<'_>, &mut Patch<'_>) -> Result<(), Skip>,
}

impl Rule for FnRule {
    fn name(&self) -> &'static str {
        self.name
    }

    fn roots(&self) -> &'static [OpKind] {
        self.roots
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        (self.rewrite)(root, patch)
    }
}

/// Why a rule does not fire.
#[derive(Debug)]
pub enum Skip {
    /// The node is not what the rule looks for.
    NoMatch,
    /// The node is what the rule looks for, but something is in the way.
    Because {
        /// What, as the end of the sentence "left, because ..".
        why: Cow<'static, str>,
        /// Where.
        at: NodeId,
    },
    /// The rule tried something impossible: a fault of the rule.
    Fault(Box<Fault>),
}

/// A near miss: `at` is in the way, and `why` completes "left, because ..".
pub fn because(at: NodeRef<'_>, why: impl Into<Cow<'static, str>>) -> Skip {
    Skip::Because { why: why.into(), at: at.id() }
}

macro_rules! faults {
    ($($error:ty),*) => {$(
        impl From<$error> for Skip {
            fn from(error: $error) -> Self {
                Self::Fault(Box::new(error.into()))
            }
        }
    )*};
}
faults!(AddError, PatchError, WeightError);

/// Sweeps over the graph after which rules are taken to undo each other's work.
const MAX_SWEEPS: usize = 100;

/// Applies `rules` until none fires: sweeps over the graph in topological order, so that what a rule makes of the
/// operands is there when the reader's turn comes. At a node the rules are tried in the order given; the first wins.
/// Nodes that compute with quantized values are left as they are.
pub fn apply_rules(graph: &mut Graph, rules: &[&dyn Rule], cx: &mut Context) -> Result<(), PassError> {
    let by_root = index(rules);
    let mut last = None;
    for _ in 0..MAX_SWEEPS {
        let before = cx.changes();
        // Near misses of a sweep that changes something are those of nodes that may be gone.
        let mut misses = Vec::new();
        for node in graph.topo() {
            if !graph.contains(node) {
                continue;
            }
            let Some(candidates) = by_root.get(&graph.node(node).op().kind()) else { continue };
            for rule in candidates {
                if !cx.has_fuel() {
                    return Ok(());
                }
                if try_rule(graph, *rule, node, cx, &mut misses)? {
                    last = Some(rule.name());
                    break;
                }
            }
        }
        if cx.changes() == before {
            for (rule, place, why) in misses {
                cx.left(rule, place, why);
            }
            return Ok(());
        }
    }
    Err(PassError::Endless { rewrites: cx.changes(), rule: last.unwrap_or_default() })
}

fn index<'r>(rules: &[&'r dyn Rule]) -> FxHashMap<OpKind, Vec<&'r dyn Rule>> {
    let mut by_root: FxHashMap<OpKind, Vec<&dyn Rule>> = FxHashMap::default();
    for rule in rules {
        for root in rule.roots() {
            by_root.entry(*root).or_default().push(*rule);
        }
    }
    by_root
}

/// Near misses of a sweep: rule, node, reason.
type Misses = Vec<(&'static str, Place, Cow<'static, str>)>;

/// Tries `rule` at `node`; whether it fired.
fn try_rule(
    graph: &mut Graph,
    rule: &dyn Rule,
    node: NodeId,
    cx: &mut Context,
    misses: &mut Misses,
) -> Result<bool, PassError> {
    let fault = |graph: &Graph, error: Box<Fault>| PassError::Rule {
        rule: rule.name(),
        place: Box::new(Place::of(graph.node(node))),
        error,
    };
    if graph.node(node).touches_quantized() {
        return Ok(false);
    }
    let mut patch = Patch::new(graph, rule.name());
    match rule.rewrite(graph.node(node), &mut patch) {
        Ok(()) => {}
        Err(Skip::Fault(_)) if is_near_quantized(graph.node(node)) => return Ok(false),
        Err(Skip::NoMatch) => return Ok(false),
        Err(Skip::Because { why, at }) => {
            if cx.explains() {
                misses.push((rule.name(), Place::of(graph.node(at)), why));
            }
            return Ok(false);
        }
        Err(Skip::Fault(error)) => return Err(fault(graph, error)),
    }
    patch.erase_unread();
    let edit = patch.finish().map_err(|error| fault(graph, Box::new(error.into())))?;
    let place = Place::of(graph.node(node));
    if edit.touches_quantized(graph) {
        if cx.explains() {
            misses.push((rule.name(), place, QUANTIZED.into()));
        }
        return Ok(false);
    }
    cx.apply(graph, edit, rule.name(), place)
}

/// Why no rule changes what reads or makes quantized values: it would compute them otherwise, or round elsewhere.
pub(crate) const QUANTIZED: &str = "it computes with quantized values, whose rounding would change";

/// Nodes before a root at which a rule may look.
const REACH: usize = 256;

/// Whether a rule that starts at `root` may have come upon a quantized value, which it takes for a plain one.
pub(crate) fn is_near_quantized(root: NodeRef<'_>) -> bool {
    let mut waiting = VecDeque::from([root]);
    for _ in 0..REACH {
        let Some(node) = waiting.pop_front() else { return false };
        if node.touches_quantized() {
            return true;
        }
        waiting.extend(node.operands().flatten().map(ValueRef::producer));
    }
    false
}
