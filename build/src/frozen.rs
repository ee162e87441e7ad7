//! The graph that is calibrated, scored and quantized: a model that takes adapters, lowered, with every value named.
//!
//! Everything here is deterministic, so that commands which are given the same model and adapters work on the same graph.
//! Its digest says whether they do.

use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_ir::text;
use quad_ir::weights::WeightError;
use quad_passes::check::PACK;
use quad_passes::lora::expose::Options;
use quad_passes::lora::pack::PackError;
use quad_passes::pipeline::{Pipeline, PipelineError};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunError, RunOptions};
use quad_quantize::digest;
use quad_quantize::profile::anchor::RESERVED;
use quad_quantize::statistics::BASE;

use crate::adapters::{self, AdapterFailure, Prepared, Rank, Settings};
use crate::model::{self, OpenError};
use crate::packed::{self, PackedError};

/// What makes the graph of a model where nobody says otherwise. One that takes slots already only gets names.
pub const PIPELINE: &str = "frozen";
/// What gives names.
const NAMES: &str = "name-values";

/// Something on disk with a name, as `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// File or folder.
    pub path: PathBuf,
}

/// How a model becomes the graph that is quantized.
#[derive(Clone, Debug)]
pub struct Freezing {
    /// The rank of every site.
    pub rank: Rank,
    /// The form of the branches.
    pub options: Options,
    /// Patterns of sites that may have no layer.
    pub allow_unused: Vec<String>,
    /// The passes that run, as the text of a pipeline.
    pub pipeline: String,
}

impl Default for Freezing {
    fn default() -> Self {
        Self {
            rank: Rank::Largest,
            options: Options::default(),
            allow_unused: Vec::new(),
            pipeline: PIPELINE.to_owned(),
        }
    }
}

/// A model and adapters do not become a graph.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The model could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The adapters could not be read, or do not fit.
    #[error(transparent)]
    Adapter(#[from] AdapterFailure),
    /// A packed adapter is of another model.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// The slots of an adapter could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The passes are not such.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pass failed.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
    /// A weight could not be read.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The name of the model without an adapter is taken.
    #[error("--adapter {BASE}=..: `{BASE}` is what the model without an adapter is called")]
    NamedBase,
    /// An adapter is called as a way to choose an anchor is.
    #[error(
        "--adapter {0}=..: no adapter can be called `{0}`, because `--anchor {0}` chooses among adapters: give it another name"
    )]
    Reserved(String),
    /// A name is given twice.
    #[error("two adapters are called `{name}`: `{}` and `{}`", first.display(), second.display())]
    Twice {
        /// The name.
        name: String,
        /// The adapter that came first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
}

/// A model in the form that is quantized.
#[derive(Debug)]
pub struct Frozen {
    /// `@main` and, where it takes adapters, `@pack`.
    pub module: Module,
    /// What names the model in statistics and profiles.
    pub digest: String,
    /// The pipeline that it came out of.
    pub pipeline: String,
    /// Its text, without the elements of weights.
    pub text: String,
    /// What it takes for each adapter, in the order in which they were given.
    pub adapters: Vec<(String, NamedTensors)>,
    /// What it takes for no adapter.
    pub base: NamedTensors,
    /// The passes that ran, in their order, with how many changes each made.
    pub changes: Vec<(String, usize)>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// Reads `NAME=PATH`.
pub fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok(Named { name: name.to_owned(), path: path.into() })
        }
        _ => Err("expected NAME=PATH, such as style=style.safetensors".to_owned()),
    }
}

/// Opens the model at `path`, makes it take the adapters `given` unless it does already, lowers it and names its values.
pub fn freeze(path: &Path, given: &[Named], freezing: &Freezing) -> Result<Frozen, FreezeError> {
    check_names(given)?;
    let module = model::open(path)?;
    model::main_graph(&module, path)?;
    let is_lowered = module.graph(PACK).is_some();
    let pipeline = if is_lowered { NAMES } else { &freezing.pipeline };
    let packed: Vec<Option<SafeTensorsFile>> =
        given.iter().map(|adapter| packed::open(&adapter.path)).collect();
    let is_loose = |(adapter, packed): (&Named, &Option<SafeTensorsFile>)| {
        packed.is_none().then(|| adapter.path.clone())
    };
    let loose: Vec<PathBuf> = given.iter().zip(&packed).filter_map(is_loose).collect();
    let mut notes = Vec::new();
    let mut prepared = prepare(module, &loose, freezing, &mut notes)?;
    // Slots are made for the text of a model, names included, so these are looked at before names are given.
    let packed: Result<Vec<Option<NamedTensors>>, PackedError> = packed
        .iter()
        .map(|file| file.as_ref().map(|file| packed::slots(file, &prepared.module)).transpose())
        .collect();
    let mut packed = packed?;
    let changes = lower(pipeline, &mut prepared.module)?;
    if !is_lowered {
        packed = relay(packed, &prepared.module)?;
    }
    let adapters = bind(&prepared, given, packed)?;
    let base = adapters::bind(&prepared, [])?;
    let module = prepared.module;
    // Printing reads every weight, so it is done once.
    let text = text::print_graph(model::main_graph(&module, path)?)?;
    let (digest, pipeline) = (digest::of_text(&text), pipeline.to_owned());
    Ok(Frozen { module, digest, pipeline, text, adapters, base, changes, notes })
}

/// Names are how adapters are told apart.
fn check_names(given: &[Named]) -> Result<(), FreezeError> {
    for (at, adapter) in given.iter().enumerate() {
        if adapter.name == BASE {
            return Err(FreezeError::NamedBase);
        }
        if RESERVED.contains(&adapter.name.as_str()) {
            return Err(FreezeError::Reserved(adapter.name.clone()));
        }
        if let Some(other) = given[..at].iter().find(|other| other.name == adapter.name) {
            let (first, second) = (other.path.clone(), adapter.path.clone());
            return Err(FreezeError::Twice { name: adapter.name.clone(), first, second });
        }
    }
    Ok(())
}

/// Makes `module` take the adapters at `paths`.
fn prepare(
    module: Module,
    paths: &[PathBuf],
    freezing: &Freezing,
    notes: &mut Vec<String>,
) -> Result<Prepared, FreezeError> {
    let adapters = adapters::read(paths, notes).map_err(AdapterFailure::Read)?;
    let Freezing { rank, options, allow_unused, .. } = freezing;
    let settings = Settings { rank: *rank, options: *options, allow_unused, base: None };
    let mut prepared = adapters::prepare(module, &adapters, &settings)?;
    notes.append(&mut prepared.notes);
    if prepared.lifted.is_some() {
        notes.push("the adapter that the model was exported with is left out".to_owned());
    }
    Ok(prepared)
}

/// Runs the pipeline that the text `pipeline` is.
fn lower(pipeline: &str, module: &mut Module) -> Result<Vec<(String, usize)>, FreezeError> {
    let pipeline = Pipeline::parse(pipeline, &Registry::standard())?;
    let report = runner::run(&pipeline, module, &RunOptions::default(), &mut []).map_err(Box::new)?;
    module.graphs.iter_mut().for_each(|graph| drop(graph.compact()));
    let changed = report.passes.into_iter().filter(|pass| pass.changes > 0);
    Ok(changed.map(|pass| (pass.pass, pass.changes)).collect())
}

/// Slots that were packed for a model before it was lowered, as the graph takes them that runs now: what the model computed
/// of them itself, `@pack` does.
fn relay(packed: Vec<Option<NamedTensors>>, module: &Module) -> Result<Vec<Option<NamedTensors>>, PackError> {
    let Some(pack) = module.graph(PACK) else { return Ok(packed) };
    let run = |slots: NamedTensors| Ok(Interpreter::new(pack).run(&slots)?);
    packed.into_iter().map(|slots| slots.map(run).transpose()).collect()
}

/// The slots of each adapter: those that are `packed` already, and those that are made of the others.
fn bind(
    prepared: &Prepared,
    given: &[Named],
    packed: Vec<Option<NamedTensors>>,
) -> Result<Vec<(String, NamedTensors)>, PackError> {
    let mut loose = 0..prepared.adapters.len();
    let mut bound = Vec::new();
    for (adapter, packed) in given.iter().zip(packed) {
        let made = || adapters::bind(prepared, loose.next().map(|index| (index, 1.0)));
        let slots = packed.map_or_else(made, Ok)?;
        bound.push((adapter.name.clone(), slots));
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_names() {
        assert_eq!(named("a=b=c"), Ok(Named { name: "a".to_owned(), path: "b=c".into() }));
        for wrong in ["a", "=b", "a="] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
