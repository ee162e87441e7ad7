//! The bundle: a folder with everything that a device and its tools need, and nothing that only a build needs.
//!
//! ```text
//! OUT/manifest.json              versions, digests, targets, slots, and every file with its digest
//! OUT/report.html                pictures first
//! OUT/TARGET/model.tflite        or model.qdq.onnx, or the files for QNN
//! OUT/TARGET/profile.json        the encodings that all adapters share
//! OUT/TARGET/graph.quad          the graph that runs, without the elements of large weights
//! OUT/TARGET/pack.quad           the graph that makes slots of an adapter
//! OUT/TARGET/adapters/NAME.safetensors   what an adapter fills the slots with
//! ```
//!
//! `graph.quad` and `pack.quad` are what later adapters are packed with: the model is not needed for that.

mod add;
mod inspect;
mod manifest;
mod packer;
mod publish;
mod summary;

use std::io;
use std::path::{Path, PathBuf};

use quad_ir::text;
use quad_quantize::rules::graph::GraphError;
use quad_quantize::slots::FillError;

use crate::adapters::AdapterFailure;
use crate::cache::CacheError;
use crate::packed::PackedError;
use crate::report::ReportError;

pub use add::{Added, add_adapter};
pub use inspect::{Fault, verify};
pub use manifest::{AdapterPage, FileEntry, Manifest, Slot, SourcePage, TargetPage, read};
pub use packer::{Packer, Packing};
pub(crate) use publish::Contents;
pub use publish::check_output;

/// The page that names everything.
pub const MANIFEST: &str = "manifest.json";
/// The report.
pub const REPORT: &str = "report.html";
/// The encodings of a target.
pub const PROFILE: &str = "profile.json";
/// The graph of a target.
pub const GRAPH: &str = "graph.quad";
/// The graph that packs adapters for a target.
pub const PACK_FILE: &str = "pack.quad";
/// The folder of packed adapters of a target.
pub const ADAPTERS: &str = "adapters";

/// A bundle cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read or written.
    #[error("`{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The folder is no bundle.
    #[error("`{}` is no bundle: it has no `{MANIFEST}`, which `quad build` writes", .0.display())]
    NoBundle(PathBuf),
    /// Something else is where the bundle is to be.
    #[error(
        "`{}` is there already and is no bundle, so nothing is put in its place: give another folder, or remove it", .0.display()
    )]
    Occupied(PathBuf),
    /// The manifest is not one.
    #[error("`{}` is no manifest of this version: {error}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: serde_json::Error,
    },
    /// A name is taken, or is none.
    #[error("{0}")]
    Name(String),
    /// A graph of the bundle cannot be read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph that packs cannot be read.
    #[error(transparent)]
    Text(#[from] text::ReadError),
    /// The adapter does not fit.
    #[error(transparent)]
    Adapter(#[from] AdapterFailure),
    /// Slots cannot be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// Slots cannot be written.
    #[error(transparent)]
    Packed(#[from] PackedError),
    /// The adapter fills slots with what the model alone has.
    #[error(
        "adapter `{adapter}` changes nothing on target `{target}`: it fills every slot with what the model without an adapter \
         has; `quad adapter inspect` shows its weights"
    )]
    NoEffect {
        /// The adapter.
        adapter: String,
        /// The target.
        target: String,
    },
    /// The report cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A digest cannot be had.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    |error| BundleError::Io { path, error }
}
