//! ONNX Runtime as a second opinion.

use std::path::Path;
use std::sync::OnceLock;

use libtest_mimic::Failed;
use quad_frontends::data::pb;
use quad_ir::interpret::NamedTensors;
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// A process that runs models.
pub struct OnnxRuntime(Server);

/// What the process is asked.
#[derive(Serialize)]
struct Question<'q> {
    /// The model.
    model: &'q Path,
    /// The folder of the inputs and, later, the outputs.
    folder: &'q Path,
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    /// Names of the outputs, in the order of the files.
    outputs: Vec<String>,
    error: Option<String>,
}

impl OnnxRuntime {
    /// The process that all tests share, or `None` where `QUAD_PYTHON` is not set.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn shared() -> Result<Option<&'static Self>, Failed> {
        static SHARED: OnceLock<Result<Option<OnnxRuntime>, String>> = OnceLock::new();
        let start = || Ok(Server::start("serve_onnxruntime.py")?.map(Self));
        let shared =
            SHARED.get_or_init(|| start().map_err(|error: std::io::Error| format!("QUAD_PYTHON: {error}")));
        shared.as_ref().map(Option::as_ref).map_err(Into::into)
    }

    /// The outputs of `model` for `inputs`.
    ///
    /// # Errors
    /// When the process ends, or cannot run the model: then with what it says.
    pub fn run(&self, model: &Path, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
        let folder = tempfile::tempdir()?;
        for (index, (name, tensor)) in inputs.iter().enumerate() {
            std::fs::write(folder.path().join(format!("input_{index}.pb")), pb::encode(name, tensor))?;
        }
        let question = Question { model, folder: folder.path() };
        let answer: Answer =
            self.0.ask(&question).map_err(|error| format!("the process of QUAD_PYTHON: {error}"))?;
        if let Some(error) = answer.error {
            return Err(error.into());
        }
        let tensors = pb::read_series(folder.path(), "output")?;
        Ok(answer.outputs.into_iter().zip(tensors.into_iter().map(|(_, tensor)| tensor)).collect())
    }
}
