//! Choosing a node of each class, so that what the graph needs is cheap.
//!
//! A value that several others read is paid for once: the cost of a choice is that of all nodes below it, each counted
//! once. Costs of trees, the usual measure, double at each residual connection and say nothing about a network of fifty.
//!
//! First, classes are settled in the order of their costs, cheapest first, as in Dijkstra's shortest paths: when the last
//! class that a node reads is settled, the node is a candidate for its own class. So there are no cycles: a class only
//! reads classes settled before. Each class gets what is cheapest for itself. Then, classes are asked one after the other
//! whether another node makes everything together cheaper, because it reads what is there for others anyway. The result
//! is not always the cheapest of all, which would take exponential time; who uses it compares it with what there was.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use egg::{Id, Language};
use rustc_hash::FxHashMap;

use super::analysis::EGraph;
use super::cost::CostModel;
use super::language::ENode;

/// Costs are counted in this part of the model's unit, so that what is there already wins where costs are equal.
const FRACTION: u64 = 256;

/// Costs of an operation on constants, in that part: it becomes a recipe of a weight.
const RECIPE: u64 = 1;

/// How often all classes are asked for a node that shares more.
const ROUNDS: usize = 2;

/// A node for each class from which one can be computed.
#[derive(Debug)]
pub struct Choice<'e> {
    index: FxHashMap<Id, usize>,
    /// The nodes of all classes, class by class.
    candidates: Vec<Candidate<'e>>,
    /// Which of them are of each class.
    of_class: Vec<Range<usize>>,
    /// Which of them is chosen for each class.
    chosen: Vec<Option<usize>>,
}

/// A node that may be chosen for its class.
#[derive(Debug)]
struct Candidate<'e> {
    class: usize,
    node: &'e ENode,
    /// What the node itself costs.
    own: u64,
    /// The classes that it reads, each once.
    children: Vec<usize>,
}

impl<'e> Choice<'e> {
    /// Chooses by the costs of `model`; nodes for which `is_there` says so have nothing to be built.
    pub fn new(egraph: &'e EGraph<'_>, model: &dyn CostModel, is_there: impl Fn(&ENode) -> bool) -> Self {
        let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let index: FxHashMap<Id, usize> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        let (mut candidates, mut of_class) = (Vec::new(), Vec::new());
        for (class, id) in ids.iter().enumerate() {
            let first = candidates.len();
            for node in egraph[*id].iter() {
                let own = own_cost(egraph, model, *id, node).saturating_add(u64::from(!is_there(node)));
                let mut children: Vec<usize> = node.children().iter().map(|id| index[id]).collect();
                children.sort_unstable();
                children.dedup();
                candidates.push(Candidate { class, node, own, children });
            }
            of_class.push(first..candidates.len());
        }
        let chosen = vec![None; ids.len()];
        let mut choice = Self { index, candidates, of_class, chosen };
        choice.settle();
        choice
    }

    /// The node chosen for `class`, which is canonical.
    pub fn node(&self, class: Id) -> Option<&'e ENode> {
        let chosen = self.chosen[*self.index.get(&class)?]?;
        Some(self.candidates[chosen].node)
    }

    /// What everything that `roots` need costs together, after looking for nodes that share more; `None` when one of them
    /// cannot be computed.
    pub fn share(&mut self, roots: &[Id]) -> Option<u64> {
        let roots: Vec<usize> =
            roots.iter().map(|root| self.index.get(root).copied()).collect::<Option<_>>()?;
        let (mut cost, mut needed) = self.needs(&roots)?;
        for _ in 0..ROUNDS {
            let before = cost;
            for class in needed {
                for candidate in self.of_class[class].clone() {
                    let old = self.chosen[class].replace(candidate);
                    match self.needs(&roots).filter(|(found, _)| *found < cost) {
                        Some((found, _)) => cost = found,
                        None => self.chosen[class] = old,
                    }
                }
            }
            needed = self.needs(&roots)?.1;
            if cost == before {
                break;
            }
        }
        Some(cost)
    }

    /// What all classes that `roots` need cost, and which they are, operands first; `None` when one needs itself, or
    /// nothing is chosen for it.
    fn needs(&self, roots: &[usize]) -> Option<(u64, Vec<usize>)> {
        let mut states = vec![State::Unseen; self.chosen.len()];
        let (mut cost, mut order) = (0u64, Vec::new());
        let mut waiting: Vec<usize> = roots.to_vec();
        while let Some(class) = waiting.last().copied() {
            let candidate = &self.candidates[self.chosen[class]?];
            match states[class] {
                State::Done => {
                    waiting.pop();
                }
                State::Open => {
                    states[class] = State::Done;
                    cost = cost.saturating_add(candidate.own);
                    order.push(class);
                }
                State::Unseen => {
                    states[class] = State::Open;
                    for child in &candidate.children {
                        match states[*child] {
                            State::Done => {}
                            State::Open => return None,
                            State::Unseen => waiting.push(*child),
                        }
                    }
                }
            }
        }
        Some((cost, order))
    }

    fn settle(&mut self) {
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); self.chosen.len()];
        let mut missing: Vec<usize> = Vec::with_capacity(self.candidates.len());
        let mut below: Vec<Option<Classes>> = vec![None; self.chosen.len()];
        let mut heap = BinaryHeap::new();
        for (position, candidate) in self.candidates.iter().enumerate() {
            missing.push(candidate.children.len());
            for child in &candidate.children {
                readers[*child].push(position);
            }
            if candidate.children.is_empty() {
                heap.push(Reverse((candidate.own, position)));
            }
        }
        while let Some(Reverse((_, position))) = heap.pop() {
            let class = self.candidates[position].class;
            if self.chosen[class].is_some() {
                continue;
            }
            let mut needs = self.below(position, &below);
            needs.add(class);
            below[class] = Some(needs);
            self.chosen[class] = Some(position);
            for reader in &readers[class] {
                missing[*reader] -= 1;
                if missing[*reader] == 0 && self.chosen[self.candidates[*reader].class].is_none() {
                    let cost = self.sum(&self.below(*reader, &below));
                    heap.push(Reverse((cost.saturating_add(self.candidates[*reader].own), *reader)));
                }
            }
        }
    }

    /// The classes below the candidate at `position`, whose operands are settled.
    fn below(&self, position: usize, below: &[Option<Classes>]) -> Classes {
        let mut needs = Classes::new(self.chosen.len());
        for child in &self.candidates[position].children {
            below[*child].iter().for_each(|classes| needs.add_all(classes));
        }
        needs
    }

    /// What `classes`, which are settled, cost.
    fn sum(&self, classes: &Classes) -> u64 {
        let own = |class: usize| self.chosen[class].map_or(0, |chosen| self.candidates[chosen].own);
        classes.iter().map(own).fold(0, u64::saturating_add)
    }
}

/// How far a walk through the classes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unseen,
    /// What it needs is being walked through.
    Open,
    Done,
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
        self.0.iter().enumerate().flat_map(|(index, word)| bits(*word).map(move |bit| index * 64 + bit))
    }
}

/// The places of the bits that are set, from the lowest.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let without_lowest = |word: &u64| Some(word & word.wrapping_sub(1));
    let left = std::iter::successors(Some(word), without_lowest).take_while(|word| *word != 0);
    left.map(|word| word.trailing_zeros() as usize)
}
