//! Running the model on all samples of all adapters.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quad_build::calibrate::checkpoint::{self, Found};
use quad_build::calibrate::{self, CalibrateError, Checkpoint, Plan};
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_quantize::statistics::{BASE, CollectError, Model, Statistics, weights};
use rayon::ThreadPoolBuilder;

use super::{Arguments, Shard};
use crate::exit::Failure;
use crate::freezing::freeze;
use crate::frozen::Frozen;
use crate::progress::Progress;
use crate::{model, output, samples};

/// The statistics that `arguments` ask for, and where the checkpoint of this calibration is, unless something else is there.
pub(super) fn take(
    arguments: &Arguments,
    model: &Path,
    output: &Path,
) -> Result<(Statistics, Option<PathBuf>), Failure> {
    check_names(arguments)?;
    let frozen = freeze(model, &arguments.adapter, &arguments.allow_unused)?;
    let graph = model::main_graph(&frozen.module, model).map_err(Failure::input)?;
    let plan = plan(arguments, &frozen, graph)?;
    let threads = arguments.threads.map_or(0, usize::from);
    let interval = Duration::from_secs(arguments.checkpoint_every);
    let checkpoint = Checkpoint { path: beside(output), interval };
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    let taken = pool.map_err(Failure::input)?.install(|| run(&plan, graph, checkpoint));
    taken.map_err(|error| explain(error, arguments))
}

/// What is said of a failed run: of numbers that no encoding holds, also where they came from.
fn explain(error: CalibrateError, arguments: &Arguments) -> Failure {
    let from = match &error {
        CalibrateError::Collect(CollectError::NotFinite { adapter, .. }) => {
            let of = |name: Option<&str>| arguments.data.iter().find(|data| data.name.as_deref() == name);
            of(Some(adapter)).or_else(|| of(None)).map(|data| ("data", &data.path))
        }
        CalibrateError::Collect(CollectError::Slot { adapter, .. }) => {
            let given = arguments.adapter.iter().find(|given| given.name == *adapter);
            given.map(|given| ("file", &given.path))
        }
        _ => None,
    };
    match from {
        Some((what, path)) => Failure::message(format!("{error} (its {what}: `{}`)", path.display())),
        None => Failure::input(error),
    }
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

/// What `arguments` ask for.
fn plan<'f>(arguments: &Arguments, frozen: &'f Frozen, graph: &Graph) -> Result<Plan<'f>, Failure> {
    let own = |name: &str| arguments.data.iter().find(|data| data.name.as_deref() == Some(name));
    let shared = arguments.data.iter().find(|data| data.name.is_none());
    let mut wanted: Vec<(&str, &NamedTensors)> =
        frozen.adapters.iter().map(|(name, slots)| (name.as_str(), slots)).collect();
    if own(BASE).is_some() || wanted.is_empty() {
        wanted.push((BASE, &frozen.base));
    }
    let (digest, pipeline) = (frozen.digest.clone(), frozen.pipeline.clone());
    let mut plan = Plan::new(Model { digest, pipeline, text: frozen.text.clone() });
    for (name, slots) in wanted {
        let data = own(name).or(shared).ok_or_else(|| {
            Failure::message(format!("there are no data for `{name}`: `--data {name}=PATH` gives some"))
        })?;
        let samples = samples::read(&data.path, graph, &arguments.ignore).map_err(Failure::input)?;
        let chosen = choose(samples.len(), arguments.samples, arguments.shard);
        plan.add(graph, (name, slots), samples, chosen).map_err(|error| explain(error.into(), arguments))?;
    }
    Ok(plan)
}

/// The samples to run of `len`: of the first `limit`, every one that is in the part.
fn choose(len: usize, limit: Option<u64>, shard: Option<Shard>) -> Vec<usize> {
    let limit = limit.map_or(len, |limit| usize::try_from(limit).unwrap_or(usize::MAX).min(len));
    let Shard { index, count } = shard.unwrap_or(Shard { index: 0, count: 1 });
    (0..limit).skip(index).step_by(count).collect()
}

/// The checkpoint of the calibration that writes to `output`.
fn beside(output: &Path) -> PathBuf {
    let mut name = output.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(".checkpoint");
    output.with_file_name(name)
}

/// Runs what an earlier run did not. What is at the path of `checkpoint` and is none of this calibration stays as it is.
fn run(
    plan: &Plan<'_>,
    graph: &Graph,
    checkpoint: Checkpoint,
) -> Result<(Statistics, Option<PathBuf>), CalibrateError> {
    let (begun, checkpoint) = match checkpoint::find(&checkpoint.path, plan) {
        Found::Nothing => (None, Some(checkpoint)),
        Found::Begun(begun) => {
            output::note(&checkpoint::going_on(&checkpoint.path, &begun));
            (Some(*begun), Some(checkpoint))
        }
        Found::Other(why) => {
            output::note(&format!(
                "{why}. It is left alone, and this calibration writes no checkpoint: remove the file, or write to another -o, \
                 to have one"
            ));
            (None, None)
        }
    };
    let weights = if begun.is_some() { BTreeMap::new() } else { weights(graph)? };
    let progress = Progress::new("calibrating");
    let progress = |done, total| progress.set(done, total);
    let taken = calibrate::take(plan, graph, weights, begun, checkpoint.as_ref(), &progress);
    Ok((taken?, checkpoint.map(|checkpoint| checkpoint.path)))
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
