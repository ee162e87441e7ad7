//! Contents of tensors that lie in files beside the model.
//!
//! A model file names other files, and a model may come from anywhere. So nothing outside the folder of
//! the model is opened, whatever the model says, and no byte range is taken on trust.

mod error;
mod ranges;
mod reference;

use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quad_ir::weights::MappedFile;
use rustc_hash::FxHashMap;

pub use error::{Claim, ExternalError};
use ranges::Ranges;
use reference::Reference;

use super::proto::TensorProto;

/// The bytes of one tensor in a file of their own.
#[derive(Clone, Debug)]
pub(crate) struct ExternalData {
    /// The file.
    pub(crate) file: Arc<MappedFile>,
    /// The bytes, which are within the file.
    pub(crate) range: Range<u64>,
}

/// The files beside one model, each opened once.
#[derive(Debug)]
pub(crate) struct ExternalFiles {
    /// Canonical folders that data may lie in, the one to look in first before the other.
    folders: Vec<PathBuf>,
    /// From locations, as models spell them, to places in `files`.
    locations: FxHashMap<String, usize>,
    /// From canonical paths to places in `files`.
    paths: FxHashMap<PathBuf, usize>,
    files: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    mapped: Arc<MappedFile>,
    ranges: Ranges,
}

impl ExternalFiles {
    /// Files beside the model at `model`.
    ///
    /// When the model is a symbolic link, its target's folder counts as its folder too: stores of models
    /// keep the contents in one folder, under other names, and links to them in another.
    pub(crate) fn beside(model: &Path) -> Result<Self, ExternalError> {
        let unreadable = |error| ExternalError::Folder { model: model.to_owned(), error };
        let parent = match model.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut folders = vec![parent.canonicalize().map_err(unreadable)?];
        let target = model.canonicalize().map_err(unreadable)?;
        folders.extend(target.parent().map(Path::to_owned));
        folders.dedup();
        Ok(Self { folders, locations: FxHashMap::default(), paths: FxHashMap::default(), files: Vec::new() })
    }

    /// Finds the contents of `tensor`, which take `expected` bytes by its type and sizes.
    ///
    /// Two tensors may have the same bytes, as tied weights do. Two that share only some of their bytes
    /// are an error, because no exporter writes that.
    pub(crate) fn resolve(
        &mut self,
        tensor: &TensorProto,
        expected: u64,
    ) -> Result<ExternalData, ExternalError> {
        let reference = Reference::parse(tensor)?;
        let file = self.open(&tensor.name, reference.location)?;
        let OpenFile { mapped, ranges } = &mut self.files[file];
        let range = reference.range(&tensor.name, mapped, expected)?;
        ranges
            .claim(Claim { tensor: tensor.name.clone(), range: range.clone() })
            .map_err(|claims| ExternalError::Overlap { path: mapped.path().to_owned(), claims })?;
        Ok(ExternalData { file: Arc::clone(mapped), range })
    }

    /// The place in `files` of the file at `location`, opened if it was not yet.
    fn open(&mut self, tensor: &str, location: &str) -> Result<usize, ExternalError> {
        if let Some(file) = self.locations.get(location) {
            return Ok(*file);
        }
        let path = self.find(tensor, location)?;
        let file = match self.paths.entry(path) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let mapped = MappedFile::open(unknown.key()).map_err(|error| ExternalError::Unreadable {
                    tensor: tensor.to_owned(),
                    path: unknown.key().clone(),
                    error,
                })?;
                self.files.push(OpenFile { mapped, ranges: Ranges::default() });
                *unknown.insert(self.files.len() - 1)
            }
        };
        self.locations.insert(location.to_owned(), file);
        Ok(file)
    }

    /// The canonical path of the regular file at `location`, which no symbolic link leads out of the folders.
    fn find(&self, tensor: &str, location: &str) -> Result<PathBuf, ExternalError> {
        let tensor = || tensor.to_owned();
        for folder in &self.folders {
            let path = folder.join(location);
            let target = match path.canonicalize() {
                Ok(target) => target,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(ExternalError::Unreadable { tensor: tensor(), path, error }),
            };
            if !self.folders.iter().any(|folder| target.starts_with(folder)) {
                return Err(ExternalError::Escapes { tensor: tensor(), path, target });
            }
            return match fs::metadata(&target) {
                Ok(metadata) if metadata.is_file() => Ok(target),
                Ok(_) => Err(ExternalError::NotRegular { tensor: tensor(), path }),
                Err(error) => Err(ExternalError::Unreadable { tensor: tensor(), path, error }),
            };
        }
        let path = self.folders.first().map(|folder| folder.join(location)).unwrap_or_default();
        Err(ExternalError::Missing { tensor: tensor(), path })
    }
}

#[cfg(test)]
mod tests;
