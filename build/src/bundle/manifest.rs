//! The page of a bundle.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use quad_ir::graph::ValueRef;
use quad_quantize::profile::Profile;
use serde::{Deserialize, Serialize};

use super::{BundleError, MANIFEST, Packing, at};
use crate::stages::{Figures, TargetFacts};

/// The version of the page.
pub(crate) const FORMAT: u32 = 1;

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The version of the page: 1.
    pub format: u32,
    /// The version of QUAD.
    pub quad: String,
    /// The model.
    pub model: SourcePage,
    /// A digest of the graph that was calibrated and quantized, and the passes that made it.
    pub graph: String,
    /// The passes.
    pub pipeline: String,
    /// Bits of weights, activations and slots.
    pub precision: String,
    /// Sites of adapters that the model may lack.
    pub allow_unused: Vec<String>,
    /// The adapters, as they were given.
    pub adapters: BTreeMap<String, SourcePage>,
    /// The targets, by the names of their folders.
    pub targets: BTreeMap<String, TargetPage>,
    /// All files but this one, by their paths in the bundle.
    pub files: BTreeMap<String, FileEntry>,
}

/// Something that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePage {
    /// The name of its file or folder.
    pub name: String,
    /// A digest of its contents.
    pub digest: String,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TargetPage {
    /// The generation of hardware, or the chip.
    pub arch: Option<String>,
    /// What its encodings follow.
    pub rules: String,
    /// The model.
    #[serde(flatten)]
    pub facts: TargetFacts,
    /// What adapters fill.
    pub adapters: BTreeMap<String, AdapterPage>,
}

/// One adapter on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AdapterPage {
    /// Its slots, by the path in the bundle.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// What is cut off of it.
    pub packing: Packing,
    /// How it compares with the model in full precision; none for one that came later, without data.
    pub figures: Option<Figures>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// A digest of its contents, the first 32 hexadecimal digits of BLAKE3.
    pub digest: String,
}

/// An input that an adapter fills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// The type of its elements, as stored.
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// Scales: one, or one for each index along the axis; none where the slot is floats.
    pub scales: Vec<f32>,
    /// As many zero points.
    pub zero_points: Vec<i32>,
    /// The axis of several scales.
    pub axis: Option<u8>,
}

impl Slot {
    /// The slot that `input` is, in a graph with the encodings of `profile`.
    pub(crate) fn of(input: ValueRef<'_>, profile: &Profile) -> Self {
        let (name, ty) = (input.name().map(ToString::to_string).unwrap_or_default(), input.ty());
        let quant = ty.quant.as_deref().or_else(|| Some(&profile.encoding(&name)?.quant));
        Self {
            dtype: ty.dtype.to_string(),
            shape: ty.shape.as_known().map_or_else(Vec::new, |sizes| sizes.to_vec()),
            scales: quant
                .map_or_else(Vec::new, |quant| quant.scales.iter().map(|scale| scale.get()).collect()),
            zero_points: quant.map_or_else(Vec::new, |quant| quant.zero_points.to_vec()),
            axis: quant.and_then(|quant| quant.axis),
            name,
        }
    }
}

impl Manifest {
    /// The page, as it is written.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Every key is a string and every number finite, so that this is always JSON.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Reads the page of the bundle in `folder`.
pub fn read(folder: &Path) -> Result<Manifest, BundleError> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => BundleError::NoBundle(folder.to_owned()),
        _ => at(&path)(error),
    })?;
    serde_json::from_slice(&bytes).map_err(|error| BundleError::Manifest { path, error })
}
