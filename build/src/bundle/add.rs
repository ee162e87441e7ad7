//! An adapter that comes later: packed for every target with what the bundle has.
//!
//! Its files come first and the page last, each whole: a bundle whose page was not written yet is the old one, with files
//! that nothing names.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::whole_file::WholeFile;
use quad_quantize::statistics::BASE;
use serde::Serialize;

use super::{ADAPTERS, AdapterPage, BundleError, FileEntry, MANIFEST, Packer, Packing, SourcePage, at, read};
use crate::cache;

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
    let mut added = Vec::new();
    for (target, page) in &mut manifest.targets {
        let packer = Packer::open(&folder.join(target), &page.facts)?;
        let file = format!("{target}/{ADAPTERS}/{name}.safetensors");
        let out = folder.join(&file);
        if let Some(parent) = out.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        // Beside its place until it is known to change something.
        let part = out.with_extension("part");
        let packing = packer.pack(name, path, &digest, &manifest.allow_unused, &part, notes)?;
        let slots = SafeTensorsFile::open(&part).map_err(crate::packed::PackedError::Read)?;
        let base = packer.base()?;
        if slots.tensors().iter().all(|(name, tensor)| base.get(name) == Some(tensor)) {
            fs::remove_file(&part).map_err(at(&part))?;
            return Err(BundleError::NoEffect { adapter: name.to_owned(), target: target.clone() });
        }
        drop(slots);
        fs::rename(&part, &out).map_err(at(&out))?;
        let entry = FileEntry {
            bytes: fs::metadata(&out).map_err(at(&out))?.len(),
            digest: cache::hash(&out).map_err(at(&out))?,
        };
        let bytes = entry.bytes;
        manifest.files.insert(file.clone(), entry);
        let adapter = AdapterPage { file: file.clone(), bytes, packing: packing.clone(), figures: None };
        page.adapters.insert(name.to_owned(), adapter);
        added.push(Added { target: target.clone(), file, bytes, packing });
    }
    notes.dedup();
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
