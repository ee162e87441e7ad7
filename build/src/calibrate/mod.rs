//! Running a model on samples of its adapters, and noting what its values are like.
//!
//! Statistics are sums, so it makes no difference in which order samples are added, and how many threads do it.

pub mod checkpoint;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_quantize::executor::samples::{SampleError, Samples};
use quad_quantize::executor::{ExecuteError, Executor, Reference};
use quad_quantize::statistics::{AdapterStatistics, CollectError, Model, Statistics, TensorStatistics};
use rayon::prelude::*;

use crate::limits::default_limit;
use crate::statistics::StatisticsFailure;
use checkpoint::Writer;

/// What is to be run.
#[derive(Debug)]
pub struct Plan<'f> {
    model: Model,
    adapters: BTreeMap<String, Job<'f>>,
}

/// The runs of one adapter.
#[derive(Debug)]
struct Job<'f> {
    slots: &'f NamedTensors,
    samples: Samples,
    wanted: Vec<usize>,
    /// Statistics without a sample.
    empty: AdapterStatistics,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run<'p> {
    name: &'p str,
    job: &'p Job<'p>,
    sample: usize,
}

/// A file that what is done so far is written to.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// The least time between two times that it is written.
    pub interval: Duration,
}

/// Statistics could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// A run failed, or a value is not what statistics are of.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The graph cannot be run.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// A sample is not what the model takes.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// What was done so far could not be written down.
    #[error(transparent)]
    Checkpoint(#[from] StatisticsFailure),
}

impl<'f> Plan<'f> {
    /// Nothing is to be run on `model`.
    pub fn new(model: Model) -> Self {
        Self { model, adapters: BTreeMap::new() }
    }

    /// `graph` is to be run with the adapter `name`, which fills `slots`, on those of `samples` that `wanted` lists in
    /// ascending order.
    pub fn add(
        &mut self,
        graph: &Graph,
        (name, slots): (&str, &'f NamedTensors),
        samples: Samples,
        wanted: Vec<usize>,
    ) -> Result<(), CollectError> {
        let empty = AdapterStatistics::begin(graph, name, slots, &samples)?;
        self.adapters.insert(name.to_owned(), Job { slots, samples, wanted, empty });
        Ok(())
    }

    /// Whether `statistics` are a part of what is to be done.
    fn holds(&self, statistics: &Statistics) -> bool {
        let is_part = |(name, found): (&String, &AdapterStatistics)| {
            self.adapters.get(name).is_some_and(|job| {
                let AdapterStatistics { digest, data, available, samples, slots, values } = found;
                let wanted = |sample: &u64| job.wanted.binary_search(&(*sample as usize)).is_ok();
                (digest, data, available) == (&job.empty.digest, &job.empty.data, &job.empty.available)
                    && *slots == job.empty.slots
                    && values.keys().eq(job.empty.values.keys())
                    && samples.iter().all(wanted)
            })
        };
        statistics.model == self.model && statistics.adapters.iter().all(is_part)
    }

    /// The runs that `done` lacks.
    fn left(&self, done: &Statistics) -> Vec<Run<'_>> {
        let mut runs = Vec::new();
        for (name, job) in &self.adapters {
            let seen = done.adapters.get(name).map(|adapter| &adapter.samples);
            let is_left = |sample: &usize| seen.is_none_or(|seen| !seen.contains(&(*sample as u64)));
            let left = job.wanted.iter().copied().filter(is_left);
            runs.extend(left.map(|sample| Run { name, job, sample }));
        }
        runs
    }
}

/// What is being made, and when it was last written down.
#[derive(Debug)]
struct State {
    statistics: Statistics,
    writer: Option<Writer>,
}

/// Runs `graph` as `plan` says. `weights` are the statistics of its constants, `begun` are statistics to go on from, and
/// `progress` is told how many runs are done, and of how many.
pub fn take(
    plan: &Plan<'_>,
    graph: &Graph,
    weights: BTreeMap<String, TensorStatistics>,
    begun: Option<Statistics>,
    checkpoint: Option<&Checkpoint>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Statistics, CalibrateError> {
    let fresh = || Statistics { model: plan.model.clone(), weights, adapters: BTreeMap::new() };
    let mut statistics = begun.unwrap_or_else(fresh);
    for (name, job) in &plan.adapters {
        statistics.adapters.entry(name.clone()).or_insert_with(|| job.empty.clone());
    }
    let left = plan.left(&statistics);
    let limit = match left.first() {
        Some(run) => default_limit(graph, &run.job.samples.inputs(run.sample, run.job.slots)?),
        None => return Ok(statistics),
    };
    let executor = Reference::new(graph)?.with_memory_limit(limit);
    let state = Mutex::new(State { statistics, writer: checkpoint.map(Writer::new) });
    let (done, total) = (AtomicUsize::new(0), left.len());
    left.into_par_iter().try_for_each(|run| {
        observe(run, &executor, &state)?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok::<(), CalibrateError>(())
    })?;
    Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner).statistics)
}

/// Makes one run, and adds it.
fn observe(run: Run<'_>, executor: &dyn Executor, state: &Mutex<State>) -> Result<(), CalibrateError> {
    let Run { name, job, sample } = run;
    let observation = job.empty.observe(executor, name, (&job.samples, sample), job.slots)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let State { statistics, writer } = &mut *state;
    if let Some(adapter) = statistics.adapters.get_mut(name) {
        adapter.record(observation);
    }
    match writer {
        Some(writer) => Ok(writer.offer(statistics)?),
        None => Ok(()),
    }
}
