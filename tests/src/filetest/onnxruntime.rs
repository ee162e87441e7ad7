//! ONNX Runtime as a second opinion: one Python process for all tests, asked through its standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use libtest_mimic::Failed;
use quad_frontends::data::pb;
use quad_ir::interpret::NamedTensors;
use serde::{Deserialize, Serialize};

use crate::paths;

/// A process that runs models.
pub(super) struct OnnxRuntime {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Kept so that the process ends with this one: it stops when its standard input closes.
    _process: Child,
}

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
    pub(super) fn shared() -> Result<Option<&'static Self>, Failed> {
        static SHARED: OnceLock<Result<Option<OnnxRuntime>, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("QUAD_PYTHON: {error}")));
        shared.as_ref().map(Option::as_ref).map_err(Into::into)
    }

    fn start() -> std::io::Result<Option<Self>> {
        let Some(python) = std::env::var_os("QUAD_PYTHON") else { return Ok(None) };
        let script = paths::root().join("tests/python/serve_onnxruntime.py");
        let mut process =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(std::io::Error::other("the process has no pipes"));
        };
        Ok(Some(Self { pipes: Mutex::new((stdin, BufReader::new(stdout))), _process: process }))
    }

    /// The outputs of `model` for `inputs`.
    pub(super) fn run(&self, model: &Path, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
        let folder = tempfile::tempdir()?;
        for (index, (name, tensor)) in inputs.iter().enumerate() {
            std::fs::write(folder.path().join(format!("input_{index}.pb")), pb::encode(name, tensor))?;
        }
        let question = Question { model, folder: folder.path() };
        let answer = self.ask(&question).map_err(|error| format!("the process of QUAD_PYTHON: {error}"))?;
        if let Some(error) = answer.error {
            return Err(error.into());
        }
        let tensors = pb::read_series(folder.path(), "output")?;
        Ok(answer.outputs.into_iter().zip(tensors.into_iter().map(|(_, tensor)| tensor)).collect())
    }

    fn ask(&self, question: &Question<'_>) -> std::io::Result<Answer> {
        // A test that panicked in between leaves the pipes in an unknown state.
        let mut pipes = self.pipes.lock().map_err(|_| std::io::Error::other("an earlier question failed"))?;
        let (stdin, stdout) = &mut *pipes;
        writeln!(stdin, "{}", serde_json::to_string(question)?)?;
        stdin.flush()?;
        let mut line = String::new();
        if stdout.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("it ended without an answer"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}
