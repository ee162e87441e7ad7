//! What values are like with each adapter, and what weights are like.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_quantize::executor::samples::Samples;
use quad_quantize::rules::graph;
use quad_quantize::statistics::{Model, Statistics, weights};
use serde_json::json;

use super::freeze::FrozenStage;
use super::runner::Runner;
use super::{BuildError, Failed};
use crate::adapters::{self, AdapterFailure, Prepared, Settings};
use crate::cache::Product;
use crate::calibrate::checkpoint::{self, Found};
use crate::calibrate::{self, Checkpoint, Plan};
use crate::{samples, statistics};

const SLOTS: &str = "slots.safetensors";
const STATISTICS: &str = "statistics.safetensors";
/// Time between two checkpoints of one adapter.
const INTERVAL: Duration = Duration::from_secs(3);

/// An adapter that was calibrated with.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// What the frozen graph takes for it, in floats.
    slots: Product,
    statistics: Product,
}

/// The statistics of all adapters.
pub(super) struct Calibrated<'r> {
    run: &'r Runner<'r>,
    frozen: &'r FrozenStage,
    weights: Product,
    taken: BTreeMap<&'r str, Taken>,
    all: OnceCell<(Statistics, Graph)>,
}

/// Calibrates with the adapter `name`.
pub(super) fn calibrate(run: &Runner<'_>, frozen: &FrozenStage, name: &str) -> Result<Taken, BuildError> {
    let slots = slots(run, frozen, name)?;
    let settings = &run.job.calibration;
    let inputs = json!({
        "frozen": frozen.facts.digest, "slots": slots.digest, "data": frozen.sources.data[name], "calibration": settings
    });
    let statistics = run.stage("calibrate", name, &inputs, |place| {
        let main = frozen.module()?.main().ok_or(AdapterFailure::NoMain)?;
        let (bound, samples) = (read_slots(&slots)?, data(run, name, main)?);
        let count = settings.samples.unwrap_or(usize::MAX).min(samples.len());
        let mut plan = Plan::new(model(frozen)?);
        plan.add(main, (name, &bound), samples, (0..count).collect())?;
        let checkpoint = Checkpoint { path: run.cache.beside(place.key, "checkpoint"), interval: INTERVAL };
        // It is the cache's own: one that is of no use is overwritten.
        let begun = match checkpoint::find(&checkpoint.path, &plan) {
            Found::Nothing => None,
            Found::Begun(begun) => {
                run.observer.note(&checkpoint::going_on(&checkpoint.path, &begun));
                Some(*begun)
            }
            Found::Other(why) => {
                run.observer.note(&why);
                None
            }
        };
        let progress = |done, total| run.observer.progress(place.name, done, total);
        let taken = calibrate::take(&plan, main, BTreeMap::new(), begun, Some(&checkpoint), &progress)?;
        statistics::write(&place.folder.join(STATISTICS), &taken)?;
        crate::cache::remove(&checkpoint.path)?;
        Ok(())
    })?;
    Ok(Taken { slots, statistics })
}

/// What the frozen graph takes for the adapter `name`.
fn slots(run: &Runner<'_>, frozen: &FrozenStage, name: &str) -> Result<Product, BuildError> {
    let inputs = json!({
        "frozen": frozen.product.digest, "adapter": frozen.sources.adapters[name], "expose": run.job.expose
    });
    run.stage("slots", name, &inputs, |place| {
        let mut prepared = prepared(run, name, frozen.module()?.clone())?;
        place.notes.append(&mut prepared.notes);
        let bound = adapters::bind(&prepared, [(0, 1.0)])?;
        Ok(safetensors::write(&place.folder.join(SLOTS), &bound, &BTreeMap::new())?)
    })
}

/// `module`, which takes the adapter `name` as the job exposes it.
pub(super) fn prepared(run: &Runner<'_>, name: &str, module: Module) -> Result<Prepared, Failed> {
    let expose = &run.job.expose;
    let read = adapters::read([&run.job.adapters[name].path], &mut Vec::new())?;
    let settings = Settings {
        rank: expose.rank.into(),
        options: expose.options(),
        allow_unused: &expose.allow_unused,
        base: None,
    };
    Ok(adapters::prepare(module, &read, &settings)?)
}

fn read_slots(product: &Product) -> Result<NamedTensors, Failed> {
    Ok(SafeTensorsFile::open(&product.folder.join(SLOTS))?.tensors().iter().cloned().collect())
}

/// The samples of the adapter `name`.
pub(super) fn data(run: &Runner<'_>, name: &str, main: &Graph) -> Result<Samples, Failed> {
    Ok(samples::read(&run.job.adapters[name].data, main, &run.job.calibration.ignored())?)
}

fn model(frozen: &FrozenStage) -> Result<Model, Failed> {
    let (digest, pipeline) = (frozen.facts.digest.clone(), frozen.facts.pipeline.clone());
    Ok(Model { digest, pipeline, text: frozen.text()? })
}

impl<'r> Calibrated<'r> {
    /// The adapters that were `taken`, with the weights of the graph.
    pub(super) fn new(
        run: &'r Runner<'r>,
        frozen: &'r FrozenStage,
        taken: BTreeMap<&'r str, Taken>,
    ) -> Result<Self, BuildError> {
        let weights = run.stage("weights", "", &frozen.product.digest, |place| {
            let main = frozen.module()?.main().ok_or(AdapterFailure::NoMain)?;
            let taken =
                Statistics { model: model(frozen)?, weights: weights(main)?, adapters: BTreeMap::new() };
            Ok(statistics::write(&place.folder.join(STATISTICS), &taken)?)
        })?;
        Ok(Self { run, frozen, weights, taken, all: OnceCell::new() })
    }

    /// A digest of the statistics of the adapter `name`.
    pub(super) fn digest(&self, name: &str) -> &str {
        &self.taken[name].statistics.digest
    }

    /// A digest of what the frozen graph takes for the adapter `name`.
    pub(super) fn slots_digest(&self, name: &str) -> &str {
        &self.taken[name].slots.digest
    }

    /// What the frozen graph takes for the adapter `name`.
    pub(super) fn slots(&self, name: &str) -> Result<NamedTensors, Failed> {
        read_slots(&self.taken[name].slots)
    }

    /// The names of all adapters.
    pub(super) fn names(&self) -> impl Iterator<Item = &'r str> {
        self.taken.keys().copied()
    }

    /// What names everything that statistics are of: adapters with digests, and weights.
    pub(super) fn inputs(&self) -> serde_json::Value {
        let adapters: BTreeMap<&str, &str> =
            self.taken.iter().map(|(name, taken)| (*name, taken.statistics.digest.as_str())).collect();
        json!({"adapters": adapters, "weights": self.weights.digest, "frozen": self.frozen.facts.digest})
    }

    /// All statistics with their graph, read when they are asked for.
    pub(super) fn all(&self) -> Result<&(Statistics, Graph), Failed> {
        if self.all.get().is_none() {
            let mut all = statistics::read(&self.weights.folder.join(STATISTICS))?;
            for (name, taken) in &self.taken {
                let read = statistics::read(&taken.statistics.folder.join(STATISTICS))?;
                // An adapter may have had another name when it was calibrated with.
                all.adapters.extend(read.adapters.into_values().map(|adapter| ((*name).to_owned(), adapter)));
            }
            let graph = graph::read(&all.model.text)?;
            // Nobody else has set it: this is one thread.
            let _ = self.all.set((all, graph));
        }
        self.all.get().ok_or_else(|| "the statistics were not kept".into())
    }

    /// The samples of the adapter `name`.
    pub(super) fn data(&self, name: &str) -> Result<Samples, Failed> {
        let main = self.frozen.module()?.main().ok_or(AdapterFailure::NoMain)?;
        data(self.run, name, main)
    }
}
