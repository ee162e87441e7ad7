//! The adapters of a run: what the model takes for them.

use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_passes::check::{self, PACK};
use quad_passes::lora::expose::Options;
use quad_passes::lora::interface::adapter_inputs;

use crate::adapters::{self, Given, Rank, Settings};
use crate::exit::Failure;
use crate::output;
use crate::packed::{self, PackedError};

/// A model and what it takes for its adapters.
pub(super) struct Bound {
    pub(super) module: Module,
    /// The inputs of the graph that runs which depend on an adapter.
    pub(super) slots: NamedTensors,
    /// What is worth knowing.
    pub(super) notes: Vec<String>,
}

/// Binds the adapters `given` to `module`, whose layers get branches where they have none. Without adapters the model is
/// left as it is, and takes zeros.
pub(super) fn bind(
    module: Module,
    given: &[Given],
    allow_unused: &[String],
    base: Option<&Path>,
) -> Result<Bound, Failure> {
    if given.is_empty() {
        let slots = zeros(&module)?;
        return Ok(Bound { module, slots, notes: Vec::new() });
    }
    if let Some(file) = given.iter().find_map(|given| packed::open(&given.path)) {
        if let [Given { strength: 1.0, .. }] = given {
            let slots = packed::slots(&file, &module).map_err(Failure::input)?;
            return Ok(Bound { module, slots, notes: Vec::new() });
        }
        return Err(Failure::input(PackedError::Blend(file.path().to_owned())));
    }
    let mut notes = Vec::new();
    let paths: Vec<PathBuf> = given.iter().map(|given| given.path.clone()).collect();
    let adapters = adapters::read(&paths, &mut notes).map_err(Failure::input)?;
    let base = base.map(SafeTensorsFile::open).transpose().map_err(Failure::input)?;
    let base = base.as_ref();
    let settings = Settings { rank: Rank::Sum, options: Options::default(), allow_unused, base };
    let mut prepared = adapters::prepare(module, &adapters, &settings).map_err(Failure::input)?;
    adapters::hoist(&mut prepared.module).map_err(Failure::input)?;
    notes.append(&mut prepared.notes);
    if prepared.lifted.is_some() {
        notes.push("the adapter that the model was exported with is left out".to_owned());
    }
    let strengths = given.iter().map(|given| given.strength);
    let filled = adapters::fill(&prepared, strengths.enumerate()).map_err(Failure::input)?;
    if let Some(clipped) = adapters::clipped(&filled.clipping) {
        output::warning(&clipped);
    }
    Ok(Bound { module: prepared.module, slots: filled.slots, notes })
}

/// What the graph of `module` that runs takes when there is no adapter.
fn zeros(module: &Module) -> Result<NamedTensors, Failure> {
    let named = |graph| -> NamedTensors {
        adapter_inputs(graph)
            .filter_map(|input| Some((input.name()?.to_string(), check::absent(input)?)))
            .collect()
    };
    match module.graph(PACK) {
        Some(pack) => Interpreter::new(pack).run(&named(pack)).map_err(Failure::input),
        None => Ok(module.main().map(named).unwrap_or_default()),
    }
}
