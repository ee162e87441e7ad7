//! The models that real exporters wrote, with inputs for them: `tests/fixtures/tiny`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use quad_frontends::data::npz::Archive;
use quad_frontends::onnx;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use serde::Deserialize;

use crate::paths;

/// A model and what it is tested with, as `cases.json` lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Model {
    /// The file below `models`.
    #[serde(rename = "model")]
    pub file: String,
    /// The archive below `io`.
    pub io: String,
    /// Which outputs of the archive are this model's.
    pub variant: String,
    /// The samples of the archive that the model takes.
    pub cases: Vec<String>,
}

/// All models.
pub fn all() -> Result<Vec<Model>, Failed> {
    Ok(serde_json::from_str(&fs::read_to_string(folder().join("cases.json"))?)?)
}

fn folder() -> PathBuf {
    paths::fixtures().join("tiny")
}

impl Model {
    /// The name without `.onnx`.
    pub fn name(&self) -> &str {
        self.file.trim_end_matches(".onnx")
    }

    /// Whether the model computes in floats of 16 bits.
    pub fn is_half(&self) -> bool {
        self.variant.ends_with("_fp16")
    }

    /// The model.
    pub fn import(&self) -> Result<Module, Failed> {
        Ok(onnx::import(&folder().join("models").join(&self.file))?)
    }

    /// The inputs of sample `case` for `module`, which is this model. Stored in single precision, they are rounded where
    /// the model takes less.
    pub fn inputs(&self, module: &Module, case: &str) -> Result<NamedTensors, Failed> {
        let graph = module.main().ok_or("a model has one graph")?;
        let mut archive = Archive::open(&folder().join("io").join(&self.io))?;
        let mut inputs = NamedTensors::new();
        for input in graph.inputs() {
            let name = input.name().ok_or("an input has a name")?.to_string();
            let tensor = archive.read(&format!("in.{case}.{name}"), None)?;
            let narrow = input.ty().dtype == DType::F16 && tensor.dtype() != DType::F16;
            let tensor = if narrow {
                Tensor::from_f32(DType::F16, tensor.sizes(), &tensor.to_f32()?)?
            } else {
                tensor
            };
            inputs.insert(name, tensor);
        }
        Ok(inputs)
    }
}
