//! What an adapter would have with encodings of its own: the quality that its loss is counted from.
//!
//! The adapter is calibrated on the samples at hand, and profiles are made of that as the frozen one was made: by the same
//! rules and methods, with the same bits for every value. Encodings fit the samples that they were made of a little too
//! well, because on those nothing is clipped. So the samples are dealt into parts, and each part is for measuring a profile
//! that was made of the others. Few samples are not dealt: what is left of them would make encodings far worse than the
//! adapter's own, and losses look small.

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use rayon::prelude::*;

use crate::executor::Executor;
use crate::executor::samples::Samples;
use crate::precision::{BadPattern, Mixed, Pattern, Precision};
use crate::profile::make::{self, MakeError, Options};
use crate::profile::{Anchor, Profile, Role};
use crate::ranges::UnknownMethod;
use crate::ranges::weights::{UnknownWeightMethod, WeightMethod};
use crate::rules::{Rules, UnknownRules};
use crate::statistics::{AdapterStatistics, CollectError, MergeError, Model, Statistics, weights};

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
    /// Parts of the samples could not be joined.
    #[error(transparent)]
    Merge(#[from] MergeError),
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

/// A profile of an adapter's own, and the samples that it may be measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// Made of other samples than those, unless there are few.
    pub profile: Profile,
    /// Their numbers.
    pub measured: Vec<usize>,
}

/// Parts that samples are dealt into.
const PARTS: usize = 4;
/// The fewest samples that are dealt.
const DEALT: usize = 32;

/// Profiles that `candidate` would have alone: of the graph `graph`, whose text is `text`, made as `frozen` was. Together
/// they are measured on each sample once. `done` is told of each run that has ended.
pub fn profiles(
    graph: &Graph,
    text: &str,
    executor: &dyn Executor,
    candidate: Candidate<'_>,
    frozen: &Profile,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Own>, OwnError> {
    let Candidate { name, slots, samples } = candidate;
    let empty = AdapterStatistics::begin(graph, name, slots, samples)?;
    let observe = |sample: usize| {
        let observation = empty.observe(executor, name, (samples, sample), slots)?;
        done();
        Ok(observation)
    };
    let seen: Result<Vec<_>, CollectError> = (0..samples.len()).into_par_iter().map(observe).collect();
    let count = if samples.len() < DEALT { 1 } else { PARTS };
    let mut parts = vec![empty.clone(); count];
    for (sample, observation) in seen?.into_iter().enumerate() {
        parts[sample % count].record(observation);
    }
    let model =
        Model { digest: frozen.graph.clone(), pipeline: frozen.pipeline.clone(), text: text.to_owned() };
    let (weights, options) = (weights(graph)?, options(frozen)?);
    let statistics = |part: &AdapterStatistics| Statistics {
        model: model.clone(),
        weights: weights.clone(),
        adapters: [(name.to_owned(), part.clone())].into(),
    };
    let anchor =
        Anchor { choice: name.to_owned(), reason: "its own".to_owned(), adapters: vec![name.to_owned()] };
    let own = |left_out: usize| {
        let mut others = statistics(&empty);
        for part in parts.iter().enumerate().filter(|(at, _)| *at != left_out || count == 1) {
            others.merge(statistics(part.1))?;
        }
        let profile = make::make_for(graph, &others, &anchor, &options)?.profile;
        Ok(Own { profile, measured: (left_out..samples.len()).step_by(count).collect() })
    };
    (0..count).map(own).collect()
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
