//! The interpreter of LiteRT, which runs what the backend writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_ir::interpret::NamedTensors;
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// Which kernels run: XNNPACK's where it has some, the optimized ones alone, or the reference ones.
pub const RESOLVERS: [&str; 3] = ["default", "plain", "reference"];

/// A process that runs models.
#[derive(Debug)]
pub struct LiteRt(Server);

#[derive(Serialize)]
struct Question<'q> {
    model: &'q Path,
    resolver: &'q str,
    runs: Vec<[PathBuf; 2]>,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(flatten)]
    about: Option<About>,
}

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Names of the signature's inputs, in order.
    pub inputs: Vec<String>,
    /// Names of its outputs, in order.
    pub outputs: Vec<String>,
    /// Texts that travel with the model, by name.
    pub metadata: BTreeMap<String, String>,
}

impl LiteRt {
    /// The process that all tests share, or `None` where `QUAD_PYTHON` is not set.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn shared() -> Result<Option<&'static Self>, Failed> {
        static SHARED: OnceLock<Result<Option<LiteRt>, String>> = OnceLock::new();
        let start = || Ok(Server::start("serve_litert.py")?.map(Self));
        let shared =
            SHARED.get_or_init(|| start().map_err(|error: std::io::Error| format!("QUAD_PYTHON: {error}")));
        shared.as_ref().map(Option::as_ref).map_err(Into::into)
    }

    /// Runs `model` with the kernels of `resolver` on each of `inputs`, one after the other, in one interpreter. Outputs are
    /// by name.
    ///
    /// # Errors
    /// What the runtime says of the model.
    pub fn run(
        &self,
        model: &Path,
        resolver: &str,
        inputs: &[&NamedTensors],
    ) -> Result<Vec<NamedTensors>, Failed> {
        let folder = tempfile::tempdir()?;
        let place = |kind: &str, index: usize| folder.path().join(format!("{kind}_{index}.npz"));
        for (index, inputs) in inputs.iter().enumerate() {
            npz::write(&place("inputs", index), inputs)?;
        }
        let runs = (0..inputs.len()).map(|index| [place("inputs", index), place("outputs", index)]).collect();
        self.ask(&Question { model, resolver, runs })?;
        Ok((0..inputs.len()).map(|index| npz::read(&place("outputs", index))).collect::<Result<_, _>>()?)
    }

    /// What `model` says of itself, which the runtime loads.
    ///
    /// # Errors
    /// What the runtime says of the model.
    pub fn about(&self, model: &Path) -> Result<About, Failed> {
        self.ask(&Question { model, resolver: "reference", runs: Vec::new() })
    }

    fn ask(&self, question: &Question<'_>) -> Result<About, Failed> {
        let answer: Answer =
            self.0.ask(question).map_err(|error| format!("the process of QUAD_PYTHON: {error}"))?;
        match answer {
            Answer { error: Some(error), .. } => Err(error.into()),
            Answer { about, .. } => Ok(about.ok_or("the process of QUAD_PYTHON says nothing of the model")?),
        }
    }
}
