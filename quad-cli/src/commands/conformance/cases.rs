//! Finds test cases laid out as ONNX's backend tests are.

use std::io;
use std::path::{Path, PathBuf};

use quad_ir::compare::Tolerance;
use serde::Deserialize;

/// The tolerances of ONNX's own runner.
pub(super) const DEFAULT: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-7 };

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

/// `tolerance.json` in a case's folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToleranceFile {
    rtol: Option<f64>,
    atol: Option<f64>,
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

    /// The tolerances that the case's folder states, or the default.
    pub(super) fn tolerance(&self) -> Result<Tolerance, String> {
        let path = self.folder.join("tolerance.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DEFAULT),
            Err(error) => return Err(format!("tolerance.json: {error}")),
        };
        let stated: ToleranceFile =
            serde_json::from_str(&text).map_err(|error| format!("tolerance.json: {error}"))?;
        Ok(Tolerance { rtol: stated.rtol.unwrap_or(DEFAULT.rtol), atol: stated.atol.unwrap_or(DEFAULT.atol) })
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
