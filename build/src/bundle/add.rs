//! An adapter that comes later: packed for every target with what the bundle has.
//!
//! Its files come first and the page last, each whole: a bundle whose page was not written yet is the old one, with files
//! that nothing names.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::whole_file::WholeFile;
use quad_quantize::statistics::BASE;
use serde::Serialize;

use super::{
    ADAPTERS, AdapterPage, BundleError, FileEntry, MANIFEST, Manifest, Packer, Packing, SourcePage, at, read,
};
use crate::cache;
use crate::packed::PackedError;

/// An adapter on one target.
#[derive(Clone, Debug, Serialize)]
pub struct Added {
    /// The target.
    pub target: String,
    /// The file, by its path in the bundle.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// What is cut off.
    pub packing: Packing,
}

/// Adds the adapter at `path` to the bundle at `folder`, under the name `name`. One of that name is replaced when `replace`
/// says so. What is odd about it is added to `notes`.
pub fn add_adapter(
    folder: &Path,
    name: &str,
    path: &Path,
    replace: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Added>, BundleError> {
    let mut manifest = read(folder)?;
    check_name(name)?;
    if manifest.adapters.contains_key(name) && !replace {
        return Err(BundleError::Name(format!(
            "the bundle has an adapter `{name}` already; --replace puts this one in its place"
        )));
    }
    let digest = digest(path)?;
    let mut parts = Vec::new();
    let packed = pack(folder, &manifest, (name, path, &digest), &mut parts, notes);
    let added = match packed {
        Ok(added) => added,
        Err(error) => {
            // Nothing half-written stays, as far as it can be removed.
            for part in &parts {
                let _ = cache::remove(part);
            }
            return Err(error);
        }
    };
    notes.dedup();
    for (part, Added { target, file, bytes, packing }) in parts.iter().zip(&added) {
        let out = folder.join(file);
        fs::rename(part, &out).map_err(at(&out))?;
        let entry = FileEntry { bytes: *bytes, digest: cache::hash(&out).map_err(at(&out))? };
        manifest.files.insert(file.clone(), entry);
        let page = AdapterPage { file: file.clone(), bytes: *bytes, packing: packing.clone(), figures: None };
        if let Some(target) = manifest.targets.get_mut(target) {
            target.adapters.insert(name.to_owned(), page);
        }
    }
    let source = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    manifest.adapters.insert(name.to_owned(), SourcePage { name: source, digest });
    let page = folder.join(MANIFEST);
    let write = || {
        let mut file = WholeFile::create(&page)?;
        file.write_all(&manifest.to_bytes())?;
        file.publish()
    };
    write().map_err(at(&page))?;
    Ok(added)
}

/// Packs an adapter, given by name, path and digest, for all targets, each into a file beside its place, which is added to
/// `parts` before it is written.
fn pack(
    folder: &Path,
    manifest: &Manifest,
    (name, path, digest): (&str, &Path, &str),
    parts: &mut Vec<PathBuf>,
    notes: &mut Vec<String>,
) -> Result<Vec<Added>, BundleError> {
    let mut added = Vec::new();
    for (target, page) in &manifest.targets {
        let packer = Packer::open(&folder.join(target), &page.facts)?;
        let file = format!("{target}/{ADAPTERS}/{name}.safetensors");
        let part = folder.join(format!("{file}.part"));
        if let Some(parent) = part.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        parts.push(part.clone());
        let packing = packer.pack(name, path, digest, &manifest.allow_unused, &part, notes)?;
        let slots = SafeTensorsFile::open(&part).map_err(PackedError::Read)?;
        let base = packer.base()?;
        if slots.tensors().iter().all(|(name, tensor)| base.get(name) == Some(tensor)) {
            return Err(BundleError::NoEffect { adapter: name.to_owned(), target: target.clone() });
        }
        let bytes = fs::metadata(&part).map_err(at(&part))?.len();
        added.push(Added { target: target.clone(), file, bytes, packing });
    }
    Ok(added)
}

/// A name becomes the name of a file.
fn check_name(name: &str) -> Result<(), BundleError> {
    let plain = |found: char| found.is_ascii_alphanumeric() || "-_.".contains(found);
    if name.is_empty() || name == BASE || name.starts_with('.') || !name.chars().all(plain) {
        return Err(BundleError::Name(format!(
            "`{name}` cannot be the name of an adapter: it becomes the name of a file, of letters, digits, dashes, \
             underscores and dots, and `{BASE}` is the model alone"
        )));
    }
    Ok(())
}

/// As [`Cache::digest`](crate::cache::Cache::digest), without a cache.
fn digest(path: &Path) -> Result<String, BundleError> {
    if path.is_dir() { cache::digest_of_folder(path) } else { cache::hash(path) }.map_err(at(path))
}
