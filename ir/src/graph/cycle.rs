//! Whether a patch would close a cycle, asked before anything changes.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use super::NodeId;
use super::patch::{Patch, PatchError};

/// Nodes that are looked at around a rewrite before the whole graph is searched; rules match fewer.
const SURROUNDINGS: usize = 64;

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

/// Whether everything that the patch reads lies behind everything that it replaces, as it does in nearly all rewrites:
/// then there is no cycle. A look at the surroundings shows it; `false` means that they do not.
///
/// Why: a cycle passes from a redirected reader of some old value to something that the patch reads, and the last
/// stretch of it, from redirected reader to there, was in the graph before. If what is read lies behind that old
/// value, that stretch closed a cycle before. Nodes without operands end no stretch.
fn reads_only_behind(patch: &Patch<'_>) -> bool {
    let staged = patch.nodes.iter().flat_map(|node| node.operands.iter().flatten().copied());
    let read = staged.chain(patch.replaced.values().copied()).filter_map(|value| patch.data(value));
    let mut wanted: FxHashSet<NodeId> = read.map(|data| data.producer).collect();
    wanted.retain(|node| {
        let old = patch.graph.contains(*node);
        old && patch.graph.data(*node).operands.iter().any(Option::is_some)
    });
    patch.replaced.keys().all(|old| {
        let behind = surroundings(patch, patch.graph.values[*old].producer);
        wanted.iter().all(|node| behind.contains(node))
    })
}

/// Some of the nodes that `node` depends on, itself included, the nearest first.
fn surroundings(patch: &Patch<'_>, node: NodeId) -> FxHashSet<NodeId> {
    let mut found = FxHashSet::from_iter([node]);
    let mut queue = VecDeque::from([node]);
    while let Some(node) = queue.pop_front().filter(|_| found.len() < SURROUNDINGS) {
        for value in patch.graph.data(node).operands.iter().flatten() {
            let producer = patch.graph.values[*value].producer;
            if found.insert(producer) {
                queue.push_back(producer);
            }
        }
    }
    found
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
