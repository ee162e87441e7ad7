//! Finds test cases laid out as ONNX's backend tests are.

use std::io;
use std::path::{Path, PathBuf};

use quad_ir::compare::Tolerance;
use quad_ir::dtype::DType;
use serde::Deserialize;

/// The tolerances of ONNX's own runner.
const DEFAULT: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-7 };
/// Its relative tolerance for 16-bit brain floats: two units in the last place.
const BRAIN_FLOAT_RTOL: f64 = 1.0 / 64.0;

/// Folders within each other beyond which the search stops.
const MAX_DEPTH: usize = 16;

/// A folder with a model and what it has to answer.
#[derive(Debug)]
pub(super) struct Case {
    /// The folder's path below the one that was searched.
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// A folder could not be searched.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be read: {error}", path.display())]
pub(super) struct SearchError {
    path: PathBuf,
    error: io::Error,
}

/// What somebody states of tolerances: `tolerance.json` in a case's folder, or the options of the command.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stated {
    pub(super) rtol: Option<f64>,
    pub(super) atol: Option<f64>,
}

impl Stated {
    /// What is stated here, or else in `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self { rtol: self.rtol.or(other.rtol), atol: self.atol.or(other.atol) }
    }

    /// The tolerance for elements of type `dtype`.
    pub(super) fn tolerance(self, dtype: DType) -> Tolerance {
        let default = if dtype == DType::BF16 { BRAIN_FLOAT_RTOL } else { DEFAULT.rtol };
        Tolerance { rtol: self.rtol.unwrap_or(default), atol: self.atol.unwrap_or(DEFAULT.atol) }
    }
}

impl Case {
    pub(super) fn model(&self) -> PathBuf {
        self.folder.join("model.onnx")
    }

    /// The folders with inputs and outputs, in order.
    pub(super) fn data_sets(&self) -> io::Result<Vec<PathBuf>> {
        let mut sets = Vec::new();
        for entry in self.folder.read_dir()? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("test_data_set_") {
                sets.push(entry.path());
            }
        }
        sets.sort();
        Ok(sets)
    }

    /// What the case's folder states of tolerances.
    pub(super) fn stated(&self) -> Result<Stated, String> {
        let path = self.folder.join("tolerance.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stated::default()),
            Err(error) => return Err(format!("tolerance.json: {error}")),
        };
        serde_json::from_str(&text).map_err(|error| format!("tolerance.json: {error}"))
    }
}

/// All cases below `folders`, sorted by name.
pub(super) fn find(folders: &[PathBuf]) -> Result<Vec<Case>, SearchError> {
    let mut cases = Vec::new();
    for root in folders {
        search(root, root, MAX_DEPTH, &mut cases)?;
    }
    cases.sort_by(|a, b| (&a.name, &a.folder).cmp(&(&b.name, &b.folder)));
    Ok(cases)
}

fn search(root: &Path, folder: &Path, depth: usize, cases: &mut Vec<Case>) -> Result<(), SearchError> {
    let failed = |error| SearchError { path: folder.to_owned(), error };
    let mut below = Vec::new();
    let mut has_data = false;
    for entry in folder.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with("test_data_set_") {
            has_data = true;
        } else if entry.file_type().map_err(failed)?.is_dir() {
            below.push(entry.path());
        }
    }
    if has_data && folder.join("model.onnx").is_file() {
        cases.push(Case { name: name(root, folder), folder: folder.to_owned() });
    }
    if depth == 0 {
        return Ok(());
    }
    below.iter().try_for_each(|folder| search(root, folder, depth - 1, cases))
}

/// The path of `folder` below `root`, with `/` on every system; the folder's own name when it is `root`.
fn name(root: &Path, folder: &Path) -> String {
    let below = folder.strip_prefix(root).unwrap_or(folder);
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    if parts.is_empty() {
        return folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    }
    parts.join("/")
}
