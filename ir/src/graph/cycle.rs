//! Whether a patch would close a cycle, asked before anything changes.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::patch::{Patch, PatchError};
use super::{NodeId, ValueId};

/// Nodes that are looked at behind a replaced value before the whole graph is searched; most rewrites need a few.
const SURROUNDINGS: usize = 1024;

/// How far the search for a cycle is with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Its operands are being followed: meeting it again closes a cycle.
    Open,
    /// Nothing above it closes a cycle.
    Done,
}

/// No node may depend on its own result once the patch is applied.
pub(super) fn check(patch: &Patch<'_>) -> Result<(), PatchError> {
    if patch.replaced.is_empty() || reads_only_behind(patch) { Ok(()) } else { search(patch) }
}

/// Whether all that each replacement reads lies behind what it replaces, as it does in nearly all rewrites: then there is
/// no cycle. A look at the surroundings shows it; `false` means that they do not.
///
/// Why: a cycle passes through redirected readers. From one of them, a reader of some old value, it goes through the graph
/// as it was to something that a replacement reads, and on to the readers of the old value that this one replaces. If what
/// it reads lies behind that second old value, the second comes after the first in any order of the graph as it was. So
/// the cycle would only lead onward and never close. Nodes without operands are reached from no reader.
fn reads_only_behind(patch: &Patch<'_>) -> bool {
    patch
        .replaced
        .iter()
        .all(|(old, new)| lies_behind(patch, patch.graph.values[*old].producer, read_by(patch, *new)))
}

/// The nodes of the graph that `value`, which is new or of the graph, is computed from at once: those with operands.
fn read_by(patch: &Patch<'_>, value: ValueId) -> FxHashSet<NodeId> {
    let mut found = FxHashSet::default();
    let mut seen = FxHashSet::default();
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        let Some(node) = patch.data(value).map(|data| data.producer).filter(|node| seen.insert(*node)) else {
            continue;
        };
        let operands = patch.node(node).map_or(&[][..], |data| &data.operands);
        if !patch.graph.contains(node) {
            waiting.extend(operands.iter().flatten());
        } else if operands.iter().any(Option::is_some) {
            found.insert(node);
        }
    }
    found
}

/// Whether `node` depends on all of `wanted`, or is one of them, the nearest nodes looked at first.
fn lies_behind(patch: &Patch<'_>, node: NodeId, mut wanted: FxHashSet<NodeId>) -> bool {
    wanted.remove(&node);
    let mut found = FxHashSet::from_iter([node]);
    let mut queue = VecDeque::from([node]);
    while let Some(node) = queue.pop_front().filter(|_| !wanted.is_empty() && found.len() < SURROUNDINGS) {
        for value in patch.graph.data(node).operands.iter().flatten() {
            let producer = patch.graph.values[*value].producer;
            if found.insert(producer) {
                wanted.remove(&producer);
                queue.push_back(producer);
            }
        }
    }
    wanted.is_empty()
}

/// Looks for a cycle.
///
/// The graph had no cycle and new nodes read only what was there before them, so a cycle passes through a redirected
/// reader, and thus through the producer of a replacement: following operands from those finds it.
fn search(patch: &Patch<'_>) -> Result<(), PatchError> {
    let mut visits: FxHashMap<NodeId, Visit> = FxHashMap::default();
    let starts = patch.replaced.values().filter_map(|new| patch.data(*new));
    let mut stack: Vec<NodeId> = starts.map(|data| data.producer).collect();
    while let Some(node) = stack.last().copied() {
        if visits.insert(node, Visit::Open).is_some() {
            // Everything above it was followed since it was opened.
            visits.insert(node, Visit::Done);
            stack.pop();
            continue;
        }
        for producer in producers_after(patch, node) {
            match visits.get(&producer) {
                None => stack.push(producer),
                Some(Visit::Done) => {}
                Some(Visit::Open) => {
                    return Err(PatchError::Cycle { rule: patch.rule, node: describe(patch, node) });
                }
            }
        }
    }
    Ok(())
}

/// The producers of the operands that `node` will have.
fn producers_after<'p>(patch: &'p Patch<'_>, node: NodeId) -> impl Iterator<Item = NodeId> + 'p {
    let is_new = !patch.graph.contains(node);
    let operands = patch.node(node).map_or(&[][..], |data| &data.operands);
    operands.iter().flatten().filter_map(move |value| {
        let redirected = patch.replaced.get(value).filter(|_| !is_new);
        patch.data(*redirected.unwrap_or(value)).map(|data| data.producer)
    })
}

fn describe(patch: &Patch<'_>, node: NodeId) -> String {
    let name = patch.node(node).map_or("node", |data| data.op.def().name());
    format!("`{name}`, {node}")
}
