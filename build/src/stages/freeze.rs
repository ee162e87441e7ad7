//! From the model and the layers of adapters to the graph that is calibrated and quantized.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use quad_ir::module::Module;
use quad_ir::text;
use quad_ir::weights::Source;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::runner::{Runner, read};
use super::{BuildError, Failed};
use crate::adapters;
use crate::cache::{self, Product};
use crate::frozen::{self, Freezing, Named};
use crate::model;

const FACTS: &str = "facts.json";
const LAYOUT: &str = "layout.json";
const FILES: &str = "files.json";
const GRAPH: &str = "graph.txt";
const MODULE: &str = "frozen.quad";

/// What is known of the graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FrozenFacts {
    /// A digest of `@main`.
    pub(crate) digest: String,
    /// The passes that made it.
    pub(crate) pipeline: String,
    /// Passes in the order in which they ran, with the changes that they made.
    pub(crate) changes: Vec<(String, usize)>,
}

/// Digests of what was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) model: String,
    pub(crate) adapters: BTreeMap<String, String>,
    pub(crate) data: BTreeMap<String, String>,
}

/// The graph that is calibrated and quantized.
pub(crate) struct FrozenStage {
    pub(crate) product: Product,
    pub(crate) facts: FrozenFacts,
    pub(crate) sources: Sources,
    module: OnceCell<Module>,
}

/// The shapes of one site of an adapter.
#[derive(Debug, Serialize, Deserialize)]
struct Layout {
    site: String,
    lora_a: Vec<usize>,
    lora_b: Vec<usize>,
}

impl FrozenStage {
    /// The module, read when it is asked for.
    pub(super) fn module(&self) -> Result<&Module, Failed> {
        if self.module.get().is_none() {
            let module = text::read_files(&self.product.folder.join(MODULE))?;
            // Nobody else has set it: this is one thread.
            let _ = self.module.set(module);
        }
        self.module.get().ok_or_else(|| "the frozen graph was not kept".into())
    }

    /// The file of the text of `@main`.
    pub(super) fn graph(&self) -> PathBuf {
        self.product.folder.join(GRAPH)
    }

    /// The text of `@main`, without the elements of weights.
    pub(crate) fn text(&self) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.product.folder.join(GRAPH))?)
    }
}

/// Freezes the model of the job.
pub(super) fn freeze(run: &Runner<'_>) -> Result<FrozenStage, BuildError> {
    let mut sources = Sources { model: model_digest(run)?, ..Sources::default() };
    let mut layouts = BTreeMap::new();
    for (name, adapter) in &run.job.adapters {
        let digest = run.digest(&adapter.path)?;
        layouts.insert(name, layout(run, name, &digest)?.digest);
        sources.adapters.insert(name.clone(), digest);
        sources.data.insert(name.clone(), run.digest(&adapter.data)?);
    }
    // Names are those of files and tables, and nothing of the graph.
    let layouts: Vec<&String> = layouts.values().collect();
    let inputs = json!({"model": sources.model, "layouts": layouts, "expose": run.job.expose, "pipeline": run.job.pipeline});
    let product = run.stage("freeze", "", &inputs, |place| {
        let job = run.job;
        let given: Vec<Named> = job
            .adapters
            .iter()
            .map(|(name, adapter)| Named { name: name.clone(), path: adapter.path.clone() })
            .collect();
        let freezing = Freezing {
            rank: job.expose.rank.into(),
            options: job.expose.options(),
            allow_unused: job.expose.allow_unused.clone(),
            pipeline: job.pipeline.clone(),
        };
        let frozen = frozen::freeze(&job.model, &given, &freezing)?;
        if frozen.module.graph(quad_passes::check::PACK).is_none() {
            return Err(format!(
                "the pipeline `{}` makes no graph @pack, which packs adapters: it lacks `hoist-adapter`, which is part of \
                 `{}`",
                job.pipeline,
                frozen::PIPELINE
            )
            .into());
        }
        let facts = FrozenFacts {
            digest: frozen.digest,
            pipeline: frozen.pipeline,
            changes: frozen.changes,
        };
        text::write_files(&place.folder.join(MODULE), &frozen.module)?;
        fs::write(place.folder.join(GRAPH), frozen.text)?;
        place.write(FACTS, &facts)?;
        place.notes = frozen.notes;
        Ok(())
    })?;
    let facts = Runner::reading("freeze", read(&product, FACTS))?;
    Ok(FrozenStage { product, facts, sources, module: OnceCell::new() })
}

/// A digest of the model with all files that hold its weights.
fn model_digest(run: &Runner<'_>) -> Result<String, BuildError> {
    let path = &run.job.model;
    let own = run.digest(path)?;
    let product = run.stage("model", "", &json!({"path": path, "digest": own}), |place| {
        let module = model::open(path)?;
        model::main_graph(&module, path)?;
        let mut files = BTreeSet::new();
        for weights in module.graphs.iter().map(quad_ir::graph::Graph::weights) {
            for id in weights.ids() {
                if let Source::File { file, .. } = weights.source(id) {
                    files.insert(file.path().to_owned());
                }
            }
        }
        place.write(FILES, &files)
    })?;
    let files: BTreeSet<PathBuf> = Runner::reading("model", read(&product, FILES))?;
    let mut digests = vec![own];
    for file in files {
        digests.push(run.digest(&file)?);
    }
    Ok(cache::digest_of(&digests))
}

/// The layers of an adapter, with shapes.
fn layout(run: &Runner<'_>, name: &str, digest: &str) -> Result<Product, BuildError> {
    run.stage("adapter", name, &digest, |place| {
        let path = &run.job.adapters[name].path;
        let read = adapters::read([path], &mut place.notes)?;
        let sites = read.iter().flat_map(|adapter| &adapter.sites);
        let layout: Vec<Layout> = sites
            .map(|site| Layout {
                site: site.full_name(),
                lora_a: site.lora_a.sizes().to_vec(),
                lora_b: site.lora_b.sizes().to_vec(),
            })
            .collect();
        place.write(LAYOUT, &layout)
    })
}
