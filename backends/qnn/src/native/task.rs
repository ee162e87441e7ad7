//! What a process is asked to do, and what it answers.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::QnnGraph;
use crate::soc::Soc;
use crate::version::Version;

/// Tensors of one run, by name: packed little-endian elements.
pub type Run = Vec<(String, Vec<u8>)>;

/// What can be run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Program {
    /// A graph, which is compiled first.
    Graph(Box<QnnGraph>),
    /// A context binary.
    Binary(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A DLC, which is compiled first.
    Dlc(PathBuf),
}

/// An operation that a library refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The node.
    pub node: String,
    /// Its operation.
    pub kind: String,
    /// What the library says.
    pub why: Vec<String>,
}

/// Which libraries these are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The name that the library for the tensor processor gives itself.
    pub name: String,
    /// Its release.
    pub build: String,
    /// The version of the core API.
    pub core: Version,
    /// The version of the backend.
    pub backend: Version,
    /// What to tell the user of it.
    pub warning: Option<String>,
}

/// A compiled graph.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compiled {
    /// The context binary.
    #[serde(with = "serde_bytes")]
    pub binary: Vec<u8>,
    /// The chip that it says it is for.
    pub soc_model: u32,
    /// The name of its graph.
    pub graph: String,
    /// The release of the libraries that it says it is of.
    pub build: String,
    /// The version of the core API that it says it was written with.
    pub core: Version,
}

/// What a process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task<'a> {
    About,
    Validate { graph: Cow<'a, QnnGraph>, soc: Soc },
    Compile { graph: Cow<'a, QnnGraph>, soc: Soc },
    WriteDlc { graph: Cow<'a, QnnGraph>, path: PathBuf },
    Execute { program: Cow<'a, Program>, soc: Soc, runs: Cow<'a, [Run]> },
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    About(About),
    Refused(Vec<Refusal>),
    Compiled(Compiled),
    Written,
    Outputs(Vec<Run>),
}

/// What a process answers, or why it cannot; `Refused` where operations are at fault.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    Done(Answer),
    Refused(Vec<Refusal>),
    Failed(String),
}
