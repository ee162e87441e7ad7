//! What an adapter would have with encodings of its own: the quality that its loss is counted from.
//!
//! The adapter is calibrated on the samples at hand, and a profile made of that as the frozen one was made: by the same
//! rules and methods, with the same bits for every value.

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use rayon::prelude::*;

use crate::executor::samples::Samples;
use crate::executor::{ExecuteError, Executor};
use crate::precision::{BadPattern, Mixed, Pattern, Precision};
use crate::profile::make::{self, MakeError, Options};
use crate::profile::{Anchor, Profile, Role};
use crate::ranges::UnknownMethod;
use crate::ranges::weights::{UnknownWeightMethod, WeightMethod};
use crate::rules::{Rules, UnknownRules};
use crate::statistics::{AdapterStatistics, CollectError, Model, Statistics, weights};

/// Encodings of an adapter's own could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    /// The rules are not known.
    #[error(transparent)]
    Rules(#[from] UnknownRules),
    /// The method is not known.
    #[error(transparent)]
    Method(#[from] UnknownMethod),
    /// The method for weights is not known.
    #[error(transparent)]
    Weights(#[from] UnknownWeightMethod),
    /// A pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The adapter could not be calibrated.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The executor could not be prepared.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The profile could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// The adapter that is calibrated.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'c> {
    /// What messages call it.
    pub name: &'c str,
    /// What it fills the slots of the full-precision graph with.
    pub slots: &'c NamedTensors,
    /// Its samples.
    pub samples: &'c Samples,
}

/// The profile that `candidate` would have alone: of the graph `graph`, whose text is `text`, made as `frozen` was.
/// `done` is told of each run that has ended.
pub fn profile(
    graph: &Graph,
    text: &str,
    executor: &dyn Executor,
    candidate: Candidate<'_>,
    frozen: &Profile,
    done: &(dyn Fn() + Sync),
) -> Result<Profile, OwnError> {
    let Candidate { name, slots, samples } = candidate;
    let mut adapter = AdapterStatistics::begin(graph, name, slots, samples)?;
    let empty = &adapter;
    let observe = |sample: usize| {
        let observation = empty.observe(executor, name, (samples, sample), slots)?;
        done();
        Ok(observation)
    };
    let seen: Result<Vec<_>, CollectError> = (0..samples.len()).into_par_iter().map(observe).collect();
    for observation in seen? {
        adapter.record(observation);
    }
    let model =
        Model { digest: frozen.graph.clone(), pipeline: frozen.pipeline.clone(), text: text.to_owned() };
    let adapters = [(name.to_owned(), adapter)].into();
    let statistics = Statistics { model, weights: weights(graph)?, adapters };
    let anchor =
        Anchor { choice: name.to_owned(), reason: "its own".to_owned(), adapters: vec![name.to_owned()] };
    Ok(make::make_for(graph, &statistics, &anchor, &options(frozen)?)?.profile)
}

/// What `profile` was made with, as far as it says: rules, methods, and the bits of every entry.
fn options(profile: &Profile) -> Result<Options, OwnError> {
    let mut mixed = Mixed::uniform(profile.precision);
    for (pattern, precision) in &profile.mixed {
        mixed.patterns.push((pattern.parse()?, *precision));
    }
    for (name, entry) in &profile.entries {
        let bits = entry.encoding.stored.bits();
        let precision = match entry.role {
            Role::Activation => Precision { activations: bits, ..profile.precision },
            Role::Weight => Precision { weights: bits, ..profile.precision },
            Role::Slot => Precision { slots: bits, ..profile.precision },
            Role::Bias => continue,
        };
        mixed.named.insert(name.clone(), precision);
    }
    let mut options = Options::new(Rules::preset(&profile.rules)?, mixed);
    let floats: Result<Vec<Pattern>, BadPattern> = profile.floats.keys().map(|name| name.parse()).collect();
    options.floats = floats?;
    options.method = profile.method.parse()?;
    let (weights, site_scales) = match profile.weights.split_once(", ") {
        Some((weights, _)) => (weights, true),
        None => (profile.weights.as_str(), false),
    };
    options.weights = weights.parse::<WeightMethod>()?;
    (options.slots, options.site_scales) = (profile.slots, site_scales);
    Ok(options)
}
