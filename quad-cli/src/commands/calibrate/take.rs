//! Running the model on all samples of all adapters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_quantize::executor::samples::Samples;
use quad_quantize::executor::{Executor, Reference};
use quad_quantize::statistics::{AdapterStatistics, BASE, Model, Statistics, weights};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::checkpoint::{self, Writer};
use super::{Arguments, Shard};
use crate::commands::run::default_limit;
use crate::exit::Failure;
use crate::freezing::freeze;
use crate::frozen::Frozen;
use crate::progress::Progress;
use crate::{model, samples};

/// What is to be run.
#[derive(Debug)]
pub(super) struct Plan<'f> {
    model: Model,
    adapters: BTreeMap<&'f str, Job<'f>>,
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

/// The statistics that `arguments` ask for.
pub(super) fn take(arguments: &Arguments, model: &Path, output: &Path) -> Result<Statistics, Failure> {
    check_names(arguments)?;
    let frozen = freeze(model, &arguments.adapter, &arguments.allow_unused)?;
    let graph = model::main_graph(&frozen.module, model).map_err(Failure::input)?;
    let plan = Plan::of(arguments, &frozen, graph)?;
    let threads = arguments.threads.map_or(0, usize::from);
    let interval = Duration::from_secs(arguments.checkpoint_every);
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(Failure::input)?.install(|| run(&plan, graph, Writer::new(output, interval), output))
}

/// Whether the names in `--data` are those of adapters, and each adapter has data.
fn check_names(arguments: &Arguments) -> Result<(), Failure> {
    let names: Vec<&str> = arguments.adapter.iter().map(|adapter| adapter.name.as_str()).collect();
    for (at, data) in arguments.data.iter().enumerate() {
        if arguments.data[..at].iter().any(|other| other.name == data.name) {
            let whose = data.name.as_ref().map_or_else(|| "all".to_owned(), |name| format!("`{name}`"));
            return Err(Failure::message(format!(
                "--data: there are data for {whose} twice; put the files into one folder and give that"
            )));
        }
        let Some(name) = &data.name else { continue };
        if name != BASE && !names.contains(&name.as_str()) {
            let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            return Err(Failure::message(format!(
                "--data {name}=..: there is no adapter `{name}`; given are {}, and `{BASE}` is the model alone",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        }
    }
    Ok(())
}

impl<'f> Plan<'f> {
    fn of(arguments: &Arguments, frozen: &'f Frozen, graph: &Graph) -> Result<Self, Failure> {
        let own = |name: &str| arguments.data.iter().find(|data| data.name.as_deref() == Some(name));
        let shared = arguments.data.iter().find(|data| data.name.is_none());
        let mut wanted: Vec<(&str, &NamedTensors)> =
            frozen.adapters.iter().map(|(name, slots)| (name.as_str(), slots)).collect();
        if own(BASE).is_some() || wanted.is_empty() {
            wanted.push((BASE, &frozen.base));
        }
        let mut adapters = BTreeMap::new();
        for (name, slots) in wanted {
            let data = own(name).or(shared).ok_or_else(|| {
                Failure::message(format!("there are no data for `{name}`: `--data {name}=PATH` gives some"))
            })?;
            let samples = samples::read(&data.path, graph, &arguments.ignore).map_err(Failure::input)?;
            let empty = AdapterStatistics::begin(graph, name, slots, &samples).map_err(Failure::input)?;
            let wanted = choose(samples.len(), arguments.samples, arguments.shard);
            adapters.insert(name, Job { slots, samples, wanted, empty });
        }
        let (digest, pipeline) = (frozen.digest.clone(), frozen.pipeline.clone());
        Ok(Self { model: Model { digest, pipeline, text: frozen.text.clone() }, adapters })
    }

    /// Whether `statistics` are a part of what is to be done.
    pub(super) fn holds(&self, statistics: &Statistics) -> bool {
        let is_part = |(name, found): (&String, &AdapterStatistics)| {
            self.adapters.get(name.as_str()).is_some_and(|job| {
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
            let seen = done.adapters.get(*name).map(|adapter| &adapter.samples);
            let is_left = |sample: &usize| seen.is_none_or(|seen| !seen.contains(&(*sample as u64)));
            let left = job.wanted.iter().copied().filter(is_left);
            runs.extend(left.map(|sample| Run { name, job, sample }));
        }
        runs
    }
}

/// The samples to run of `len`: of the first `limit`, every one that is in the part.
fn choose(len: usize, limit: Option<u64>, shard: Option<Shard>) -> Vec<usize> {
    let limit = limit.map_or(len, |limit| usize::try_from(limit).unwrap_or(usize::MAX).min(len));
    let Shard { index, count } = shard.unwrap_or(Shard { index: 0, count: 1 });
    (0..limit).skip(index).step_by(count).collect()
}

/// What is being made, and when it was last written down.
#[derive(Debug)]
struct State {
    statistics: Statistics,
    writer: Writer,
}

/// Runs what an earlier run did not.
fn run(plan: &Plan<'_>, graph: &Graph, writer: Writer, output: &Path) -> Result<Statistics, Failure> {
    let mut statistics = match checkpoint::resume(output, plan) {
        Some(statistics) => statistics,
        None => Statistics {
            model: plan.model.clone(),
            weights: weights(graph).map_err(Failure::input)?,
            adapters: BTreeMap::new(),
        },
    };
    for (name, job) in &plan.adapters {
        statistics.adapters.entry((*name).to_owned()).or_insert_with(|| job.empty.clone());
    }
    let left = plan.left(&statistics);
    let limit = match left.first() {
        Some(run) => {
            default_limit(graph, &run.job.samples.inputs(run.sample, run.job.slots).map_err(Failure::input)?)
        }
        None => return Ok(statistics),
    };
    let executor = Reference::new(graph).map_err(Failure::input)?.with_memory_limit(limit);
    let state = Mutex::new(State { statistics, writer });
    let (progress, done) = (Progress::new("calibrating"), AtomicUsize::new(0));
    let total = left.len();
    // Statistics are sums, so it makes no difference in which order samples are added.
    left.into_par_iter().try_for_each(|run| {
        observe(run, &executor, &state)?;
        progress.set(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok::<(), Failure>(())
    })?;
    Ok(state.into_inner().unwrap_or_else(PoisonError::into_inner).statistics)
}

/// Makes one run, and adds it.
fn observe(run: Run<'_>, executor: &dyn Executor, state: &Mutex<State>) -> Result<(), Failure> {
    let Run { name, job, sample } = run;
    let observation = job.empty.observe(executor, name, (&job.samples, sample), job.slots);
    let observation = observation.map_err(Failure::input)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let State { statistics, writer } = &mut *state;
    if let Some(adapter) = statistics.adapters.get_mut(name) {
        adapter.record(observation);
    }
    writer.offer(statistics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_the_samples() {
        let part = |index| choose(10, Some(7), Some(Shard { index, count: 3 }));
        assert_eq!([part(0), part(1), part(2)], [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        assert_eq!(choose(3, None, None), [0, 1, 2]);
        assert_eq!(choose(3, Some(9), None), [0, 1, 2]);
    }
}
