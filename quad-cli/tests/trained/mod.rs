//! The trained testbed: where its files are, its adapters as arguments, and its samples as inputs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;

/// The adapters.
pub(crate) const TASKS: [&str; 4] = ["inpaint", "edge", "deblur", "relight"];
/// The sample of the held-out ones that is run.
pub(crate) const SAMPLE: usize = 3;

/// The model.
pub(crate) fn model() -> PathBuf {
    folder().join("models/base.legacy17.onnx")
}

/// The adapter of `task`.
pub(crate) fn lora(task: &str) -> PathBuf {
    folder().join("lora").join(task)
}

/// The samples of `task`: those to calibrate with (`calib`), or the held-out ones (`eval`).
pub(crate) fn samples(task: &str, kind: &str) -> PathBuf {
    folder().join(format!("data/{task}.{kind}.safetensors"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed")
}

/// `--adapter NAME=PATH` for all adapters.
pub(crate) fn adapters() -> Vec<OsString> {
    TASKS.iter().flat_map(|task| ["--adapter".into(), named(task, &lora(task))]).collect()
}

/// `NAME=PATH`.
pub(crate) fn named(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(format!("{name}="));
    word.push(path);
    word
}

/// Sample `number` of `samples`, as inputs of the model.
pub(crate) fn inputs(samples: &Path, number: usize) -> Result<NamedTensors, Failed> {
    let mut inputs = NamedTensors::new();
    for (name, tensor) in SafeTensorsFile::open(samples)?.tensors() {
        let tensor = match name.as_str() {
            "sample" => {
                let one: usize = tensor.sizes()[1..].iter().product();
                let elements = tensor.to_f32()?[number * one..(number + 1) * one].to_vec();
                Tensor::from_vec(&[&[1], &tensor.sizes()[1..]].concat(), elements)?
            }
            "encoder_hidden_states" => Tensor::from_vec(tensor.sizes(), tensor.to_f32()?.to_vec())?,
            "timestep" => tensor.clone(),
            _ => continue,
        };
        inputs.insert(name.clone(), tensor);
    }
    Ok(inputs)
}
