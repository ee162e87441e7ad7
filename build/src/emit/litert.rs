//! Models for LiteRT and the compilers behind it.

use std::collections::BTreeMap;
use std::path::Path;

use quad_backends::target::Target;
use quad_ir::module::Module;
use quad_litert::flatbuffer::{self, WriteError};
use quad_litert::lower::{LowerError, Settings, lower};
use quad_litert::target::LITERT;
use quad_litert::vendor::NEUROPILOT;
use quad_quantize::insert::PROFILE;

use crate::packed::{self, PackedError};

/// The key of the metadata under which a model has the digest of its graph.
pub const MODEL: &str = "quad.model";
/// The key of the metadata under which a model has the version of QUAD that wrote it.
pub const VERSION: &str = "quad.version";

/// Types of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoTypes {
    /// As they are.
    Keep,
    /// 64-bit integers in 32 bits, where all that reads them takes either.
    I32,
    /// As `I32`, and what is stored integers inside is so at the border, too.
    Quantized,
}

/// How a model is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Store float constants in 16 bits, widened when the model is loaded.
    pub half_weights: bool,
    /// Types at the border; those that the target's compiler takes where nothing is said.
    pub io_types: Option<IoTypes>,
    /// Move the channels of images that are passed in and given back behind all other axes.
    pub channels_last: bool,
}

/// A model that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Operators of all its subgraphs.
    pub operators: usize,
}

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The module has no graph that runs, or weights of it could not be read.
    #[error(transparent)]
    Graph(#[from] PackedError),
    /// A node is not legal.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the graph of `module` that runs, made legal for `target`, to the file `out`.
pub fn write(
    out: &Path,
    module: &Module,
    target: &dyn Target,
    options: &Options,
) -> Result<Written, EmitError> {
    let graph = module.main().ok_or(PackedError::NoMain)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut metadata =
        BTreeMap::from([(MODEL.to_owned(), packed::digest(module)?), (VERSION.to_owned(), version)]);
    // Only a model that was quantized as a profile says has one.
    metadata.extend(graph.metadata().get(PROFILE).map(|hash| (PROFILE.to_owned(), hash.clone())));
    let narrow_inputs = match options.io_types {
        None => target.name() != LITERT.name,
        Some(types) => types != IoTypes::Keep,
    };
    let settings = Settings {
        half_weights: options.half_weights,
        narrow_inputs,
        stored_border: options.io_types == Some(IoTypes::Quantized),
        channels_last: options.channels_last,
        metadata,
    };
    let lowered = lower(graph, &settings)?;
    let operators = lowered.subgraphs.iter().map(|subgraph| subgraph.operators.len()).sum();
    let bytes = flatbuffer::write_file(&lowered, out)?;
    Ok(Written { bytes, operators })
}

/// The command that compiles the model at `out` for a generation of `target`, where there is one.
pub fn compile_command(target: &dyn Target, arch: Option<&str>, out: &Path) -> Option<String> {
    let arch = arch.or(NEUROPILOT.archs.last().copied())?;
    (target.name() == NEUROPILOT.name).then(|| {
        let out = out.display();
        format!("ncc-tflite {out} --arch={arch} -O3 --relax-fp32 --opt-accuracy -d {out}.dla")
    })
}
