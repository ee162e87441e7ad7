//! Imported models survive the text form: what is written and read back prints the same and is verified.

use std::path::{Path, PathBuf};

use quad_frontends::onnx::import;
use quad_ir::text::{print, read_files, write_files};
use quad_ir::verify::verify;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/models");
    let entries = std::fs::read_dir(folder).expect("the models are in the repository");
    let mut models: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    models.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    models.sort();
    models
}

#[test]
fn every_model_is_verified_and_reads_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.quad");
    for model in models() {
        let name = model.display();
        let imported = import(&model).unwrap_or_else(|error| panic!("{name}: {error}"));
        for graph in &imported.graphs {
            verify(graph).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        }
        write_files(&path, &imported).unwrap_or_else(|error| panic!("{name}: {error}"));
        let read = read_files(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for graph in &read.graphs {
            verify(graph).unwrap_or_else(|errors| panic!("{name}, read back: {errors}"));
        }
        assert!(print(&read).expect("prints") == print(&imported).expect("prints"), "{name} changed");
    }
}
