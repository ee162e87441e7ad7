//! The digests of all weights that are not written out.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::print::is_literal;
use crate::graph::{Graph, NodeRef};
use crate::module::Module;
use crate::ops::Weight;
use crate::weights::{Digest, Source, WeightError, WeightId};

/// The digests of the large weights that nodes read, by the graph's index and the weight.
#[derive(Debug)]
pub(super) struct Digests(BTreeMap<(usize, WeightId), Digest>);

impl Digests {
    /// Reads every large weight of `module` once.
    pub(super) fn of(module: &Module) -> Result<Self, WeightError> {
        Self::of_graphs(&module.graphs)
    }

    pub(super) fn of_graphs(graphs: &[Graph]) -> Result<Self, WeightError> {
        let mut wanted: Vec<(usize, WeightId)> = Vec::new();
        for (index, graph) in graphs.iter().enumerate() {
            let weights = graph.nodes().filter_map(NodeRef::is::<Weight>);
            wanted.extend(weights.filter(|weight| !is_literal(&weight.ty)).map(|weight| (index, weight.id)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        // A recipe's bytes are in memory while they are hashed, so only one is at a time. Others are read in pieces.
        let is_recipe = |(index, weight): &(usize, WeightId)| {
            matches!(graphs[*index].weights().source(*weight), Source::Recipe { .. })
        };
        let (recipes, stored): (Vec<_>, Vec<_>) = wanted.into_iter().partition(is_recipe);
        let digest = |key: (usize, WeightId)| Ok((key, graphs[key.0].weights().digest(key.1)?));
        let mut digests: BTreeMap<_, _> =
            stored.into_par_iter().map(digest).collect::<Result<_, WeightError>>()?;
        for key in recipes {
            let (key, digest) = digest(key)?;
            digests.insert(key, digest);
        }
        Ok(Self(digests))
    }

    /// The digest of a large weight of the graph at `index`.
    pub(super) fn get(&self, index: usize, weight: WeightId) -> Option<Digest> {
        self.0.get(&(index, weight)).copied()
    }

    /// Whether all weights are written out.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All digests with a weight each that has it, in order of the digests.
    pub(super) fn distinct(&self) -> BTreeMap<Digest, (usize, WeightId)> {
        self.0.iter().rev().map(|(key, digest)| (*digest, *key)).collect()
    }
}
