//! What a build does, stage by stage.
//!
//! ```text
//! model ─┬─ freeze ─┬─ weights ─────────────┐
//! adapter┘          ├─ slots ─ calibrate ───┼─ score ─ profile ─ target ─ pack ─ verify
//! (each)            └─ (each) ─ expected ───┘   (each pair)      (each)    (each pair)
//! ```
//!
//! Every stage is a function of the contents of its inputs and of the part of the job that concerns it, and its product is
//! kept in the [cache](crate::cache). Adapters are calibrated apart, so that one which changes leaves the others alone; the
//! graph depends on the layers and ranks of adapters, and not on their weights.

mod calibrate;
mod freeze;
mod look;
mod profile;
mod runner;
mod score;
mod target;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::bundle::{self, Contents, Manifest};
use crate::cache::{Cache, CacheError};
use crate::job::Job;
pub(crate) use freeze::{FrozenFacts, Sources};
use quad_qnn::native::Launcher;
use runner::Runner;
pub use runner::StageName;
pub(crate) use target::Made;
pub use target::TargetFacts;
pub use verify::Figures;
pub(crate) use verify::{PACKED, Slots};

/// Watches a build.
pub trait Observer: Sync {
    /// Another build uses the cache; this one waits for it.
    fn waits(&self) {}
    /// A stage begins.
    fn begins(&self, _stage: &StageName) {}
    /// So many of the runs of a stage are done.
    fn progress(&self, _stage: &StageName, _done: usize, _total: usize) {}
    /// A stage has ended; `None` where it was not made again.
    fn ended(&self, _stage: &StageName, _time: Option<Duration>) {}
    /// Something worth knowing.
    fn note(&self, _text: &str) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// How a job is built.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bundle: a folder.
    pub output: PathBuf,
    /// The folder of what stages made; beside the bundle where there is none.
    pub cache: Option<PathBuf>,
    /// What calls the libraries of QNN in a process of its own, where there is such a program: without one, a bundle for QNN
    /// has the forms that need no library.
    pub qnn: Option<Launcher>,
    /// Threads; as many as there are processors for 0.
    pub threads: usize,
}

impl Options {
    /// A bundle in the folder `output`.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self { output: output.into(), cache: None, qnn: None, threads: 0 }
    }

    /// Where the cache is.
    pub fn cache(&self) -> PathBuf {
        self.cache.clone().unwrap_or_else(|| self.output.with_file_name(".quad-cache"))
    }
}

/// A bundle that is there.
#[derive(Clone, Debug)]
pub struct Built {
    /// What is in it.
    pub manifest: Manifest,
    /// Whether it was written: one that is as it should be is left alone.
    pub written: bool,
    /// Every stage, and how long it took; `None` where it was not made again.
    pub stages: Vec<(StageName, Option<Duration>)>,
    /// The text of the graph before quantization, without the elements of large weights.
    pub graph: PathBuf,
}

/// What stages fail with.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// A job could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A stage failed.
    #[error("{stage} failed")]
    Stage {
        /// Which one.
        stage: StageName,
        /// Why.
        source: Failed,
    },
    /// The cache cannot be used.
    #[error("the cache cannot be used: {0}")]
    Cache(#[from] CacheError),
    /// A file that was given cannot be read.
    #[error("an input cannot be read: {0}")]
    Input(CacheError),
    /// An adapter changes nothing.
    #[error(
        "adapter `{adapter}` changes nothing on target `{target}`: the outputs with it are those of the model without it. \
         Its weights may be zero, or too small for the encodings of the profile; `quad adapter inspect` shows them"
    )]
    NoEffect {
        /// The adapter.
        adapter: String,
        /// The target.
        target: &'static str,
    },
    /// Adapters are worse than the job asks for.
    #[error("{}", .0.join("\n"))]
    Poor(Vec<String>),
    /// The bundle could not be written.
    #[error(transparent)]
    Bundle(#[from] bundle::BundleError),
    /// There are no threads.
    #[error("no threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Builds `job`.
pub fn build(job: &Job, options: &Options, observer: &dyn Observer) -> Result<Built, BuildError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build()?;
    // Runs of graphs use the pool; everything else is done by one thread, in one order.
    pool.install(|| build_here(job, options, observer))
}

fn build_here(job: &Job, options: &Options, observer: &dyn Observer) -> Result<Built, BuildError> {
    bundle::check_output(&options.output)?;
    let cache = Cache::open(&options.cache(), || observer.waits())?;
    let run = Runner::new(job, options, &cache, observer);
    let frozen = freeze::freeze(&run)?;
    let mut taken = BTreeMap::new();
    for name in job.adapters.keys() {
        taken.insert(name.as_str(), calibrate::calibrate(&run, &frozen, name)?);
    }
    let calibrated = calibrate::Calibrated::new(&run, &frozen, taken)?;
    let scores = score::scores(&run, &frozen, &calibrated)?;
    let mut contents = Contents::new(job, &frozen.facts, &frozen.sources);
    contents.report.scores.clone_from(&scores);
    let mut poor = Vec::new();
    for (index, target) in job.targets.iter().enumerate() {
        let profile = profile::profile(&run, &frozen, &calibrated, &target.rules, scores.as_ref())?;
        let made = target::target(&run, &frozen, target, &profile)?;
        let mut packed = BTreeMap::new();
        for name in job.adapters.keys() {
            let slots = verify::pack(&run, &made, name)?;
            let (figures, verified) = verify::verify(&run, &frozen, &calibrated, &made, name, &slots)?;
            poor.extend(figures.poor(job, name, target.kind));
            packed.insert(name.clone(), (slots, figures));
            // Of one target, so that images stay few.
            if index == 0 {
                contents.report.pictures.extend(look::pictures(&verified, name, target.kind.name()));
            }
        }
        if let Some(separate) = target::separate(&run, &frozen, target)? {
            contents.report.separate.insert(target.kind.name(), separate);
        }
        if let (0, Some(first)) = (index, job.adapters.keys().next()) {
            contents.report.layers = look::layers(&run, &frozen, &calibrated, &profile, first)?;
        }
        contents.add(target, &made, packed)?;
    }
    if !poor.is_empty() {
        return Err(BuildError::Poor(poor));
    }
    let (manifest, written) = contents.publish(&options.output, &cache)?;
    cache.remember()?;
    Ok(Built { manifest, written, stages: run.stages(), graph: frozen.graph() })
}
