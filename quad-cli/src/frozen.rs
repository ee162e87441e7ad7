//! The graph that is calibrated, scored and quantized: a model that takes adapters, lowered, with every value named.
//!
//! Everything here is deterministic, so that commands which are given the same model and adapters work on the same graph.
//! Its digest says whether they do.

use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::text;
use quad_passes::check::PACK;
use quad_passes::lora::expose::Options;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_quantize::digest;
use quad_quantize::statistics::BASE;

use crate::adapters::{self, Prepared, Rank, Settings};
use crate::exit::Failure;
use crate::packed::{self, PackedError};
use crate::{open, output};

/// What makes the graph of a model. One that takes slots already only gets names.
const PIPELINE: &str = "frozen";
/// What gives names.
const NAMES: &str = "name-values";

/// Something on disk with a name, as `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// A model in the form that is quantized.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) module: Module,
    /// What names the model in statistics and profiles.
    pub(crate) digest: String,
    /// The pipeline that it came out of.
    pub(crate) pipeline: &'static str,
    /// Its text, without the elements of weights.
    pub(crate) text: String,
    /// What it takes for each adapter, in the order in which they were given.
    pub(crate) adapters: Vec<(String, NamedTensors)>,
    /// What it takes for no adapter.
    pub(crate) base: NamedTensors,
}

/// Reads `NAME=PATH`.
pub(crate) fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok(Named { name: name.to_owned(), path: path.into() })
        }
        _ => Err("expected NAME=PATH, such as style=style.safetensors".to_owned()),
    }
}

/// Opens the model at `path`, makes it take the adapters `given` unless it does already, lowers it and names its values.
pub(crate) fn freeze(path: &Path, given: &[Named], allow_unused: &[String]) -> Result<Frozen, Failure> {
    check_names(given)?;
    let module = open::open(path).map_err(Failure::input)?;
    open::main_graph(&module, path).map_err(Failure::input)?;
    let pipeline = if module.graph(PACK).is_some() { NAMES } else { PIPELINE };
    let packed: Vec<Option<SafeTensorsFile>> =
        given.iter().map(|adapter| packed::open(&adapter.path)).collect();
    let is_loose = |(adapter, packed): (&Named, &Option<SafeTensorsFile>)| {
        packed.is_none().then(|| adapter.path.clone())
    };
    let loose: Vec<PathBuf> = given.iter().zip(&packed).filter_map(is_loose).collect();
    let mut prepared = prepare(module, &loose, allow_unused)?;
    // Slots are made for the text of a model, names included, so these are looked at before names are given.
    let packed: Result<Vec<Option<NamedTensors>>, PackedError> = packed
        .iter()
        .map(|file| file.as_ref().map(|file| packed::slots(file, &prepared.module)).transpose())
        .collect();
    let packed = packed.map_err(Failure::input)?;
    lower(pipeline, &mut prepared.module)?;
    let adapters = bind(&prepared, given, packed)?;
    let base = adapters::bind(&prepared, []).map_err(Failure::input)?;
    let module = prepared.module;
    let main = open::main_graph(&module, path).map_err(Failure::input)?;
    // Printing reads every weight, so it is done once.
    let text = text::print_graph(main).map_err(Failure::input)?;
    Ok(Frozen { digest: digest::of_text(&text), pipeline, text, adapters, base, module })
}

/// Names are how adapters are told apart.
fn check_names(given: &[Named]) -> Result<(), Failure> {
    for (at, adapter) in given.iter().enumerate() {
        if adapter.name == BASE {
            let said =
                format!("--adapter {BASE}=..: `{BASE}` is what the model without an adapter is called");
            return Err(Failure::message(said));
        }
        if let Some(other) = given[..at].iter().find(|other| other.name == adapter.name) {
            return Err(Failure::message(format!(
                "two adapters are called `{}`: `{}` and `{}`",
                adapter.name,
                other.path.display(),
                adapter.path.display()
            )));
        }
    }
    Ok(())
}

/// Makes `module` take the adapters at `paths`.
fn prepare(module: Module, paths: &[PathBuf], allow_unused: &[String]) -> Result<Prepared, Failure> {
    let mut notes = Vec::new();
    let adapters = adapters::read(paths, &mut notes).map_err(Failure::input)?;
    let settings = Settings { rank: Rank::Largest, options: Options::default(), allow_unused, base: None };
    let prepared = adapters::prepare(module, &adapters, &settings).map_err(Failure::input)?;
    notes.iter().chain(&prepared.notes).for_each(|note| output::note(note));
    if prepared.lifted.is_some() {
        output::note("the adapter that the model was exported with is left out");
    }
    Ok(prepared)
}

/// Runs a named pipeline.
fn lower(pipeline: &str, module: &mut Module) -> Result<(), Failure> {
    let pipeline = Pipeline::parse(pipeline, &Registry::standard()).map_err(Failure::input)?;
    runner::run(&pipeline, module, &RunOptions::default(), &mut []).map_err(Failure::input)?;
    module.graphs.iter_mut().for_each(|graph| drop(graph.compact()));
    Ok(())
}

/// The slots of each adapter: those that are `packed` already, and those that are made of the others.
fn bind(
    prepared: &Prepared,
    given: &[Named],
    packed: Vec<Option<NamedTensors>>,
) -> Result<Vec<(String, NamedTensors)>, Failure> {
    let mut loose = 0..prepared.adapters.len();
    let mut bound = Vec::new();
    for (adapter, packed) in given.iter().zip(packed) {
        let made = || adapters::bind(prepared, loose.next().map(|index| (index, 1.0)));
        let slots = packed.map_or_else(made, Ok).map_err(Failure::input)?;
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
