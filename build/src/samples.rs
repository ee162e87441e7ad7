//! Data on disk: the samples that a model is calibrated and scored on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use quad_frontends::data::DataError;
use quad_frontends::data::npz::Archive;
use quad_frontends::data::safetensors::{SafeTensorsError, SafeTensorsFile};
use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_quantize::executor::samples::{SampleError, Samples};
use quad_quantize::precision::Pattern;

/// Data could not be read as samples.
#[derive(Debug, thiserror::Error)]
pub enum DataFailure {
    /// A NumPy archive could not be read.
    #[error(transparent)]
    Archive(#[from] DataError),
    /// A safetensors file could not be read.
    #[error(transparent)]
    SafeTensors(#[from] SafeTensorsError),
    /// Arrays are not what the model takes.
    #[error("`{}`: {source}{}", path.display(), source_advice(source))]
    Samples {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SampleError,
    },
    /// A folder could not be listed.
    #[error("`{}` cannot be read: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// No format of data has this extension.
    #[error("`{}`: the extension tells the format of data, expected .npz, .safetensors or a folder of them", .0.display())]
    Extension(PathBuf),
    /// A folder has no data.
    #[error("`{}` holds no file that ends in .npz or .safetensors", .0.display())]
    NoFiles(PathBuf),
    /// There are no samples.
    #[error("`{}` holds no sample", .0.display())]
    Empty(PathBuf),
}

/// What to do about elements that do not fit an input, if anything is.
fn source_advice(error: &SampleError) -> String {
    match error {
        SampleError::Elements { found, expected, .. } => advice(*found, *expected),
        _ => String::new(),
    }
}

/// How NumPy makes elements of type `expected` out of such of type `found`, behind a message that asks for them.
pub fn advice(found: DType, expected: DType) -> String {
    let name = match expected {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::Bool => "bool",
        _ => return String::new(),
    };
    if found == expected { String::new() } else { format!("; in NumPy, `array.astype('{name}')` makes them") }
}

/// Data of an adapter, or of all: `[NAME=]PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenData {
    /// The adapter; `None` for all that have none of their own.
    pub name: Option<String>,
    /// A file, or a folder of files.
    pub path: PathBuf,
}

/// Reads `[NAME=]PATH`.
pub fn given(text: &str) -> Result<GivenData, String> {
    match text.split_once('=') {
        Some(("", _) | (_, "")) => Err("expected PATH or NAME=PATH, such as style=style.npz".to_owned()),
        // A path may have an equals sign itself.
        Some((name, path)) if !Path::new(text).exists() => {
            Ok(GivenData { name: Some(name.to_owned()), path: path.into() })
        }
        _ => Ok(GivenData { name: None, path: text.into() }),
    }
}

/// The samples at `path` for `graph`, without arrays that `ignored` matches. The files of a folder come in the order of
/// their names.
pub fn read(path: &Path, graph: &Graph, ignored: &[Pattern]) -> Result<Samples, DataFailure> {
    let mut samples = Samples::default();
    for file in files(path)? {
        let arrays = arrays(&file, graph, ignored)?;
        samples.add(graph, arrays).map_err(|source| DataFailure::Samples { path: file, source })?;
    }
    if samples.is_empty() { Err(DataFailure::Empty(path.to_owned())) } else { Ok(samples) }
}

/// Whether one of `patterns` fits the array `name`.
fn is_ignored(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.fits(name, None))
}

/// The files that `path` stands for.
fn files(path: &Path) -> Result<Vec<PathBuf>, DataFailure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| DataFailure::Folder { path: path.to_owned(), error };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if Kind::of(&file).is_some() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(DataFailure::NoFiles(path.to_owned())) } else { Ok(files) }
}

/// The formats of data.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Archive,
    SafeTensors,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("npz") => Some(Self::Archive),
            Some("safetensors") => Some(Self::SafeTensors),
            _ => None,
        }
    }
}

/// The arrays in the file `path`.
fn arrays(path: &Path, graph: &Graph, ignored: &[Pattern]) -> Result<NamedTensors, DataFailure> {
    match Kind::of(path) {
        None => Err(DataFailure::Extension(path.to_owned())),
        Some(Kind::SafeTensors) => {
            let file = SafeTensorsFile::open(path)?;
            let kept = file.tensors().iter().filter(|(name, _)| !is_ignored(ignored, name));
            Ok(kept.cloned().collect())
        }
        Some(Kind::Archive) => {
            let mut archive = Archive::open(path)?;
            let names: Vec<String> =
                archive.names().filter(|name| !is_ignored(ignored, name)).map(str::to_owned).collect();
            let mut arrays = NamedTensors::new();
            for name in names {
                let dtype = dtype(graph, &name);
                arrays.insert(name.clone(), archive.read(&name, dtype)?);
            }
            Ok(arrays)
        }
    }
}

/// The element type of the input `name`: NumPy does not keep all.
fn dtype(graph: &Graph, name: &str) -> Option<DType> {
    let named = graph.inputs().find(|input| input.name().is_some_and(|found| **found == *name));
    named.map(|input| input.ty().dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_may_have_a_name() {
        let named =
            |name: Option<&str>, path: &str| GivenData { name: name.map(str::to_owned), path: path.into() };
        assert_eq!(given("a=b.npz"), Ok(named(Some("a"), "b.npz")));
        assert_eq!(given("b.npz"), Ok(named(None, "b.npz")));
        assert!(given("=b").is_err());
    }
}
