//! Choosing a node of each class, so that what the graph needs is cheap.
//!
//! A value that several others read is paid for once: the cost of a choice is that of all nodes below it, each counted
//! once. Costs of trees, the usual measure, double at each residual connection and say nothing about a network of fifty.
//!
//! Classes are settled in the order of their costs, cheapest first, as in Dijkstra's shortest paths: when the last class
//! that a node reads is settled, the node is a candidate for its own class. The choice has no cycles, because a class only
//! reads classes settled before. It is not always the cheapest one of all, which would take exponential time: what two
//! classes could share does not attract either. So a choice is compared as a whole with the graph as it was.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use egg::{Id, Language};
use rustc_hash::FxHashMap;

use super::analysis::EGraph;
use super::cost::CostModel;
use super::language::ENode;

/// Costs are counted in this part of the model's unit, so that what is there already wins where costs are equal.
const FRACTION: u64 = 256;

/// Costs of an operation on constants, in that part: it becomes a recipe of a weight.
const RECIPE: u64 = 1;

/// A node for each class from which one can be computed.
#[derive(Debug)]
pub struct Choice<'e> {
    classes: Vec<Settled<'e>>,
    index: FxHashMap<Id, usize>,
}

#[derive(Clone, Debug)]
struct Settled<'e> {
    node: Option<&'e ENode>,
    /// What the node itself costs.
    own: u64,
    /// The classes that it needs, itself included.
    needs: Classes,
}

impl<'e> Choice<'e> {
    /// Chooses by the costs of `model`; nodes for which `is_there` says so have nothing to be built.
    pub fn new(egraph: &'e EGraph<'_>, model: &dyn CostModel, is_there: impl Fn(&ENode) -> bool) -> Self {
        let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let index: FxHashMap<Id, usize> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        let nothing = Settled { node: None, own: 0, needs: Classes::new(ids.len()) };
        let mut choice = Self { classes: vec![nothing; ids.len()], index };
        choice.settle(&candidates(egraph, &ids, model, is_there));
        choice
    }

    /// The node chosen for `class`, which is canonical.
    pub fn node(&self, class: Id) -> Option<&'e ENode> {
        self.classes[*self.index.get(&class)?].node
    }

    /// What everything that `classes` need costs together; `None` when one of them cannot be computed.
    pub fn cost(&self, classes: impl IntoIterator<Item = Id>) -> Option<u64> {
        let mut needs = Classes::new(self.classes.len());
        for class in classes {
            let settled = &self.classes[*self.index.get(&class)?];
            settled.node?;
            needs.add_all(&settled.needs);
        }
        Some(self.sum(&needs))
    }

    fn sum(&self, needs: &Classes) -> u64 {
        needs.iter().map(|class| self.classes[class].own).fold(0, u64::saturating_add)
    }

    fn settle(&mut self, candidates: &[Candidate<'e>]) {
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.classes.len()];
        let mut missing: Vec<usize> = vec![0; candidates.len()];
        let mut heap = BinaryHeap::new();
        for (position, candidate) in candidates.iter().enumerate() {
            let mut children: Vec<usize> =
                candidate.node.children().iter().map(|id| self.index[id]).collect();
            children.sort_unstable();
            children.dedup();
            missing[position] = children.len();
            for child in &children {
                readers[*child].push(position);
            }
            if children.is_empty() {
                heap.push(Reverse((candidate.own, position)));
            }
        }
        while let Some(Reverse((_, position))) = heap.pop() {
            let candidate = &candidates[position];
            if self.classes[candidate.class].node.is_some() {
                continue;
            }
            let needs = self.needs(candidate);
            self.classes[candidate.class] = Settled { node: Some(candidate.node), own: candidate.own, needs };
            for reader in &readers[candidate.class] {
                missing[*reader] -= 1;
                if missing[*reader] == 0 {
                    let candidate = &candidates[*reader];
                    let cost = candidate.own.saturating_add(self.sum(&self.needs(candidate)));
                    heap.push(Reverse((cost, *reader)));
                }
            }
        }
    }

    /// The classes that `candidate` needs; its own, while that is not settled, counts nothing.
    fn needs(&self, candidate: &Candidate<'e>) -> Classes {
        let mut needs = Classes::new(self.classes.len());
        for child in candidate.node.children() {
            needs.add_all(&self.classes[self.index[child]].needs);
        }
        needs.add(candidate.class);
        needs
    }
}

/// A node that may be chosen for its class.
#[derive(Debug)]
struct Candidate<'e> {
    class: usize,
    node: &'e ENode,
    own: u64,
}

fn candidates<'e>(
    egraph: &'e EGraph<'_>,
    ids: &[Id],
    model: &dyn CostModel,
    is_there: impl Fn(&ENode) -> bool,
) -> Vec<Candidate<'e>> {
    let mut candidates = Vec::new();
    for (class, id) in ids.iter().enumerate() {
        for node in egraph[*id].iter() {
            let new = u64::from(!is_there(node));
            candidates.push(Candidate {
                class,
                node,
                own: own_cost(egraph, model, *id, node).saturating_add(new),
            });
        }
    }
    candidates
}

/// What `node` of `class` costs without its operands.
pub fn own_cost(egraph: &EGraph<'_>, model: &dyn CostModel, class: Id, node: &ENode) -> u64 {
    let ENode::Apply { op, children } = node else { return 0 };
    let Some(result) = egraph[class].data.ty() else { return u64::MAX };
    if children.iter().all(|child| egraph[*child].data.constant) {
        return RECIPE;
    }
    let operands: Vec<_> = children.iter().map(|child| egraph[*child].data.ty()).collect();
    // Nothing is free, so that no class is reached through itself at no cost.
    model.cost(op, &operands, result).max(1).saturating_mul(FRACTION)
}

/// A set of classes.
#[derive(Clone, Debug)]
struct Classes(Vec<u64>);

impl Classes {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn add(&mut self, class: usize) {
        self.0[class / 64] |= 1 << (class % 64);
    }

    fn add_all(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word |= other);
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 == 1);
        self.0
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != 0)
            .flat_map(move |(index, word)| bits(*word).map(move |bit| index * 64 + bit))
    }
}
