//! Models that the tests read.

use std::fs;
use std::path::{Path, PathBuf};

/// Models that the two exporters of `PyTorch` wrote, in a fixed order.
pub(crate) fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/models");
    let mut models: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the models")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    models.sort();
    assert!(models.len() >= 2, "models are missing from {}", folder.display());
    models
}
