//! Qualcomm's libraries, found at run time and called in processes of their own.
//!
//! Each task is one process: it loads a library, does one sequence of calls, writes what came of it to a file and ends.
//! What the libraries print goes nowhere, and a crash in one is an error here.
//!
//! What runs is the x86 build of the tensor processor's library, which simulates it. Its results are deterministic; that
//! they are those of a chip bit for bit is not known.

mod libraries;
mod process;
mod serve;
mod task;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub use libraries::{Libraries, NotFound, Places};
pub use process::{Launcher, NativeError};
pub use serve::serve;
pub use task::{About, Compiled, Program, Refusal, Run};

use crate::emit::dlc::readable;
use crate::model::QnnGraph;
use crate::soc::Soc;
use task::{Answer, Task};

/// The libraries, and how processes that call them are started.
#[derive(Clone, Debug)]
pub struct Native {
    /// Where the libraries are.
    pub libraries: Libraries,
    /// What starts a process.
    pub launcher: Launcher,
}

impl Native {
    /// Which libraries these are.
    pub fn about(&self) -> Result<About, NativeError> {
        match self.perform(&Task::About)? {
            Answer::About(about) => Ok(about),
            _ => Err(NativeError::Mismatch),
        }
    }

    /// The operations of `graph` that the library refuses for `soc`, with its own reasons.
    pub fn refusals(&self, graph: &QnnGraph, soc: Soc) -> Result<Vec<Refusal>, NativeError> {
        match self.perform(&Task::Validate { graph: Cow::Borrowed(graph), soc })? {
            Answer::Refused(refusals) => Ok(refusals),
            _ => Err(NativeError::Mismatch),
        }
    }

    /// A context binary of `graph` for `soc`. The same graph gives the same bytes with the same libraries.
    pub fn compile(&self, graph: &QnnGraph, soc: Soc) -> Result<Compiled, NativeError> {
        match self.perform(&Task::Compile { graph: Cow::Borrowed(graph), soc })? {
            Answer::Compiled(compiled) => Ok(compiled),
            _ => Err(NativeError::Mismatch),
        }
    }

    /// Writes `graph` to a DLC at `path`, in operations that [can be read back](crate::emit::dlc). The file has the time in
    /// it, so that only its members are reproducible.
    pub fn write_dlc(&self, graph: &QnnGraph, path: &Path) -> Result<(), NativeError> {
        let absolute = std::path::absolute(path).map_err(|error| NativeError::io("the DLC's path", error))?;
        match self.perform(&Task::WriteDlc { graph: Cow::Owned(readable(graph)), path: absolute })? {
            Answer::Written => Ok(()),
            _ => Err(NativeError::Mismatch),
        }
    }

    /// Runs `program` on the simulator of `soc`, once for each set of inputs; results are in the same order.
    pub fn execute(&self, program: &Program, soc: Soc, runs: &[Run]) -> Result<Vec<Run>, NativeError> {
        match self.perform(&Task::Execute {
            program: Cow::Borrowed(program),
            soc,
            runs: Cow::Borrowed(runs),
        })? {
            Answer::Outputs(outputs) => Ok(outputs),
            _ => Err(NativeError::Mismatch),
        }
    }

    fn perform(&self, task: &Task<'_>) -> Result<Answer, NativeError> {
        process::perform(&self.launcher, &self.libraries, task)
    }
}

/// The file of a library in `folder`.
fn library(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("lib{name}.so"))
}
