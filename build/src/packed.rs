//! Packed adapters: safetensors files with the slots of one model, ready to be bound.
//!
//! Slots are made for one model: of another one with layers of the same sizes they would be taken without complaint and
//! give something else. So the file names the model by a digest of all that it computes, weights included, and the profile of its
//! encodings: other forms of the quantized model, such as its ONNX file, have another digest and the same slots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::{self, SafeTensorsError, SafeTensorsFile, WriteError};
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;
use quad_quantize::digest;
use quad_quantize::insert::PROFILE;
use quad_quantize::slots::Filled;

/// The key under which the file names its model.
const MODEL: &str = "quad.model";
/// The key under which it says what was packed.
const SOURCES: &str = "quad.sources";
/// The key under which it says which part of each slot was cut off: a JSON object that lacks slots that were not.
const CLIPPED: &str = "quad.clipped";

/// A packed adapter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] SafeTensorsError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A weight of the model could not be read.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// There is no graph that runs.
    #[error("the model has no graph that runs")]
    NoMain,
    /// The slots are those of another model.
    #[error(
        "`{}` was packed for another model, {found}; this one is {expected}: pack the adapter again for this model, or where it is \
         an ONNX file for the .quad file of the same profile",
        path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// The model that it names.
        found: String,
        /// The model at hand.
        expected: String,
    },
    /// Slots cannot be scaled or added up.
    #[error("`{}` is packed already: it cannot be given a strength or blended with others", .0.display())]
    Blend(PathBuf),
}

/// A digest of what `module` computes: of its text, which has the digests of all weights. Which profile its encodings are from
/// is no part of that: one of more adapters may have the same.
pub fn digest(module: &Module) -> Result<String, PackedError> {
    let mut main = module.main().ok_or(PackedError::NoMain)?.clone();
    main.metadata_mut().remove(PROFILE);
    Ok(digest::of_graph(&main)?)
}

/// Writes the slots of `filled`, made for `module` of `sources`.
pub fn write(path: &Path, module: &Module, filled: &Filled, sources: &str) -> Result<(), PackedError> {
    let profile: Vec<(&str, &str)> = profile(module).map(|hash| (PROFILE, hash)).into_iter().collect();
    write_for(path, &digest(module)?, filled, sources, &profile)
}

/// Writes the slots of `filled`, made for the model with the digest `model` of `sources`, and the metadata `more`.
pub fn write_for(
    path: &Path,
    model: &str,
    filled: &Filled,
    sources: &str,
    more: &[(&str, &str)],
) -> Result<(), PackedError> {
    let clipped: BTreeMap<&str, f64> = filled
        .clipping
        .iter()
        .filter(|slot| slot.clipped > 0)
        .map(|slot| (&*slot.slot, slot.share()))
        .collect();
    let clipped = serde_json::to_string(&clipped).unwrap_or_default();
    let mut metadata = BTreeMap::from([
        (MODEL.to_owned(), model.to_owned()),
        (SOURCES.to_owned(), sources.to_owned()),
        (CLIPPED.to_owned(), clipped),
        ("format".to_owned(), "pt".to_owned()),
    ]);
    metadata.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Ok(safetensors::write(path, &filled.slots, &metadata)?)
}

/// The file at `path`, when it is a packed adapter.
pub fn open(path: &Path) -> Option<SafeTensorsFile> {
    let file = SafeTensorsFile::open(path).ok().filter(|_| path.is_file())?;
    file.metadata().contains_key(MODEL).then_some(file)
}

/// The slots in `file`, which must have been packed for `module`, or for another form of it with encodings of the same profile.
pub fn slots(file: &SafeTensorsFile, module: &Module) -> Result<NamedTensors, PackedError> {
    let is_profile =
        profile(module).is_some_and(|hash| file.metadata().get(PROFILE).map(|it| &**it) == Some(hash));
    if is_profile && is_taken(file, module) {
        return Ok(file.tensors().iter().cloned().collect());
    }
    slots_for(file, &digest(module)?)
}

/// The hash of the profile that `module` was quantized with.
fn profile(module: &Module) -> Option<&str> {
    module.main()?.metadata().get(PROFILE).map(String::as_str)
}

/// Whether `module` takes every tensor of `file` as it is.
fn is_taken(file: &SafeTensorsFile, module: &Module) -> bool {
    let inputs = || module.main().into_iter().flat_map(Graph::inputs);
    let takes = |name: &str, tensor: &Tensor| {
        let mut named = inputs().filter(|input| input.name().is_some_and(|it| **it == *name));
        named.any(|input| input.ty().dtype == tensor.dtype() && input.ty().shape == tensor.ty().shape)
    };
    !file.tensors().is_empty() && file.tensors().iter().all(|(name, tensor)| takes(name, tensor))
}

/// The slots in `file`, which must have been packed for the model with the digest `expected`.
pub fn slots_for(file: &SafeTensorsFile, expected: &str) -> Result<NamedTensors, PackedError> {
    match file.metadata().get(MODEL) {
        Some(found) if found == expected => Ok(file.tensors().iter().cloned().collect()),
        found => Err(PackedError::OtherModel {
            path: file.path().to_owned(),
            found: found.cloned().unwrap_or_default(),
            expected: expected.to_owned(),
        }),
    }
}
