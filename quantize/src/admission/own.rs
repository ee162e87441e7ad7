//! What an adapter would have with encodings of its own: the quality that its loss is counted from.
//!
//! The adapter is calibrated on the samples at hand, and profiles are made of that as the frozen one was made: by the same
//! rules and methods, with the same bits for every value. Encodings fit the samples that they were made of a little too
//! well, because on those nothing is clipped. So the samples are dealt into parts, and each part is for measuring a profile
//! that was made of the others. Few samples are not dealt: what is left of them would make encodings far worse than the
//! adapter's own, and losses look small.

use std::sync::{Mutex, PoisonError};

use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::interpret::NamedTensors;
use rayon::prelude::*;

use crate::executor::Executor;
use crate::executor::samples::Samples;
use crate::interchange::convert;
use crate::precision::{BadPattern, Mixed, Pattern, Precision};
use crate::profile::make::{self, MakeError, Options};
use crate::profile::{Anchor, Profile, Role};
use crate::ranges::weights::{UnknownWeightMethod, WeightMethod};
use crate::ranges::{Method, UnknownMethod};
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
    let Candidate { name, samples, .. } = candidate;
    let empty = AdapterStatistics::begin(graph, name, candidate.slots, samples)?;
    let count = if samples.len() < DEALT { 1 } else { PARTS };
    let parts = observe(&empty, executor, candidate, count, done)?;
    let model =
        Model { digest: frozen.graph.clone(), pipeline: frozen.pipeline.clone(), text: text.to_owned() };
    let (weights, options) = (weights(graph)?, options(frozen, graph)?);
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

/// Statistics of all samples of `candidate`, dealt into `count` parts. Each run is added as it ends, so that memory does not
/// grow with the samples; sums do not depend on the order.
fn observe(
    empty: &AdapterStatistics,
    executor: &dyn Executor,
    Candidate { name, slots, samples }: Candidate<'_>,
    count: usize,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<AdapterStatistics>, CollectError> {
    let parts: Vec<Mutex<AdapterStatistics>> = (0..count).map(|_| Mutex::new(empty.clone())).collect();
    (0..samples.len()).into_par_iter().try_for_each(|sample| {
        let observation = empty.observe(executor, name, (samples, sample), slots)?;
        parts[sample % count].lock().unwrap_or_else(PoisonError::into_inner).record(observation);
        done();
        Ok::<(), CollectError>(())
    })?;
    Ok(parts.into_iter().map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
}

/// What is taken for granted of how `profile` was made, in a sentence: it does not say where its encodings are those of
/// another tool.
pub fn assumed(profile: &Profile) -> Option<String> {
    convert::is_read(&profile.method).then(|| {
        format!(
            "the encodings of the profile were {}, which does not tell how ranges were found: those of the adapter's own are \
             made with --method {} and --weights {}",
            profile.method,
            Method::default(),
            WeightMethod::default()
        )
    })
}

/// What `profile`, which is of `graph`, was made with, as far as it says: rules, methods, and the bits of every entry.
fn options(profile: &Profile, graph: &Graph) -> Result<Options, OwnError> {
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
    // Each by its name alone: one may be called like a module, whose other values have encodings.
    let names = graph.nodes().flat_map(NodeRef::results).filter_map(ValueRef::name);
    let floats = names.filter(|name| !profile.entries.contains_key(&***name));
    options.floats = floats.map(|name| Pattern::exactly(name)).collect();
    options.slots = profile.slots;
    if !convert::is_read(&profile.method) {
        options.method = profile.method.parse()?;
        let weights = profile.weights.split_once(", ");
        options.site_scales = weights.is_some();
        options.weights = weights.map_or(profile.weights.as_str(), |(weights, _)| weights).parse()?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quad_ir::module::Module;
    use quad_ir::tensor::Tensor;
    use quad_ir::text::{self, NoWeights};

    use super::*;
    use crate::executor::Reference;

    /// The value `mid` is of the module `top`, and `y` of the module `mid`.
    const TEXT: &str = r#"quad 1

graph @main(%x: f32[1, 2], %s: f32[2, 2] adapter) {
  %w = weight [1.0, -2.0, 0.5, 3.0] : f32[2, 2]
  %y = matmul(%x, %w) : f32[1, 2] from "mid"
  %mid = matmul(%y, %s) : f32[1, 2] from "top"
  %z = relu(%mid) : f32[1, 2] from "top"
  return "z" = %z
}
"#;

    struct Case {
        module: Module,
        slots: NamedTensors,
        samples: Samples,
    }

    impl Case {
        fn new(count: usize) -> Self {
            let module = text::parse(TEXT, &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
            let slot = Tensor::from_vec(&[2, 2], vec![1.0f32, 0.5, -0.25, 2.0]).expect("a matrix");
            let mut samples = Samples::default();
            let numbers = (0..2 * count).map(|at| (at * 7 % 11) as f32 - 5.0).collect();
            let x = Tensor::from_vec(&[count, 2], numbers).expect("as many");
            samples.add(module.main().expect("a graph"), [("x".to_owned(), x)].into()).expect("samples");
            Self { module, slots: [("s".to_owned(), slot)].into(), samples }
        }

        fn own(&self, frozen: &Profile) -> Vec<Own> {
            let graph = self.module.main().expect("a graph");
            let executor = Reference::new(graph).expect("constants");
            let candidate = Candidate { name: "a", slots: &self.slots, samples: &self.samples };
            profiles(graph, TEXT, &executor, candidate, frozen, &|| {}).expect("profiles")
        }

        /// A profile of the samples that has everything, but for the values `floats`.
        fn frozen(&self, floats: &[&str]) -> Profile {
            let graph = self.module.main().expect("a graph");
            let executor = Reference::new(graph).expect("constants");
            let candidate = Candidate { name: "a", slots: &self.slots, samples: &self.samples };
            let empty = AdapterStatistics::begin(graph, "a", &self.slots, &self.samples).expect("finite");
            let parts = observe(&empty, &executor, candidate, 1, &|| {}).expect("runs");
            let model = Model { digest: "d".to_owned(), pipeline: String::new(), text: TEXT.to_owned() };
            let adapters = parts.into_iter().map(|part| ("a".to_owned(), part)).collect();
            let statistics = Statistics { model, weights: weights(graph).expect("finite"), adapters };
            let anchor = Anchor { choice: "a".to_owned(), ..Anchor::default() };
            let options =
                Options::new(Rules::preset("reference").expect("a preset"), Mixed::uniform(Precision::W8A8));
            let made = make::make_for(graph, &statistics, &anchor, &options).expect("a profile");
            let mut profile = made.profile;
            for name in floats {
                profile.entries.remove(*name).expect("it had an encoding");
                profile.floats.insert((*name).to_owned(), "asked for".to_owned());
            }
            profile
        }
    }

    fn names(profile: &Profile) -> BTreeSet<&str> {
        profile.entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn floats_are_those_of_the_frozen_profile_and_no_modules() {
        let case = Case::new(4);
        let own = case.own(&case.frozen(&["mid"]));
        assert_eq!(names(&own[0].profile), BTreeSet::from(["s", "w", "x", "y", "z"]));
        // A value without an entry stays a float, whether the profile says why or not.
        let mut silent = case.frozen(&["s", "z"]);
        silent.floats.clear();
        assert_eq!(names(&case.own(&silent)[0].profile), BTreeSet::from(["mid", "w", "x", "y"]));
    }

    #[test]
    fn a_profile_of_another_tool_has_own_encodings_by_the_usual_methods() {
        let case = Case::new(4);
        let frozen = case.frozen(&[]);
        assert_eq!(assumed(&frozen), None);
        let mut read = frozen.clone();
        read.method = "read from aimet-1.0.0".to_owned();
        read.weights.clone_from(&read.method);
        let said = assumed(&read).expect("it does not say how");
        assert!(said.contains("--method min-max and --weights per-channel"), "{said}");
        assert_eq!(case.own(&read)[0].profile.entries, frozen.entries);
        read.method = "guessed".to_owned();
        assert!(options(&read, case.module.main().expect("a graph")).is_err());
    }

    #[test]
    fn each_sample_is_measured_once_and_threads_make_no_difference() {
        let case = Case::new(DEALT + 1);
        let frozen = case.frozen(&[]);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| case.own(&frozen))
        };
        let own = with(1);
        assert_eq!(own, with(3));
        let mut measured: Vec<usize> = own.iter().flat_map(|own| own.measured.clone()).collect();
        measured.sort_unstable();
        assert_eq!((own.len(), measured), (PARTS, (0..=DEALT).collect()));
    }
}
