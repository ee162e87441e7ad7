//! One task in one process: the request goes in by a file, the response comes back by another.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::libraries::{Libraries, NotFound};
use super::task::{Answer, Refusal, Response, Task};

/// What starts a process that calls [`super::serve`] with the argument after these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// What it is told first.
    pub arguments: Vec<OsString>,
}

/// A task could not be done.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// There are no libraries.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Operations are refused.
    #[error("QNN refuses {} of the graph's operations:{}", .0.len(), refusals(.0))]
    Refused(Vec<Refusal>),
    /// A library said no.
    #[error("QNN: {0}")]
    Failed(String),
    /// The process ended before its task was done: the fault is in a library.
    #[error("the QNN libraries ended their process ({status}) before the task was done{}", said(.output))]
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// The last of what it printed.
        output: String,
    },
    /// Files or processes could not be had.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What went wrong.
        error: io::Error,
    },
    /// Request or response cannot be written or read.
    #[error("what passes between quad and the process of the QNN libraries is not readable: {0}")]
    Encoding(#[from] postcard::Error),
    /// The answer is to another task.
    #[error("the process of the QNN libraries answered another task than it was given")]
    Mismatch,
}

impl NativeError {
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }
}

/// Bytes of what a crashed process printed that an error repeats.
const REPEATED: usize = 2000;

pub(super) const REQUEST: &str = "request";
pub(super) const RESPONSE: &str = "response";

impl Launcher {
    /// This program again, with the words that make it serve one task.
    pub fn this_program(arguments: &[&str]) -> io::Result<Self> {
        let arguments = arguments.iter().map(OsString::from).collect();
        Ok(Self { program: std::env::current_exe()?, arguments })
    }
}

pub(super) fn perform(
    launcher: &Launcher,
    libraries: &Libraries,
    task: &Task<'_>,
) -> Result<Answer, NativeError> {
    let folder = tempfile::tempdir().map_err(|error| NativeError::io("a temporary folder", error))?;
    let path = folder.path();
    let request = postcard::to_stdvec(&(libraries.folder(), task))?;
    fs::write(path.join(REQUEST), request).map_err(|error| NativeError::io("the request", error))?;
    let (status, output) = start(launcher, path)?;
    match fs::read(path.join(RESPONSE)) {
        Ok(bytes) if status.success() => match postcard::from_bytes(&bytes)? {
            Response::Done(answer) => Ok(answer),
            Response::Refused(refusals) => Err(NativeError::Refused(refusals)),
            Response::Failed(why) => Err(NativeError::Failed(why)),
        },
        _ => Err(NativeError::Crashed { status, output }),
    }
}

/// Runs the process in `folder`, where some libraries leave files, and gives the end of what it printed.
fn start(launcher: &Launcher, folder: &Path) -> Result<(ExitStatus, String), NativeError> {
    let printed = folder.join("printed");
    let file = File::create(&printed).map_err(|error| NativeError::io("a temporary file", error))?;
    let other = file.try_clone().map_err(|error| NativeError::io("a temporary file", error))?;
    let status = Command::new(&launcher.program)
        .args(&launcher.arguments)
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(other)
        .status()
        .map_err(|error| NativeError::io(launcher.program.display().to_string(), error))?;
    let bytes = fs::read(&printed).unwrap_or_default();
    let from = bytes.len().saturating_sub(REPEATED);
    Ok((status, String::from_utf8_lossy(&bytes[from..]).trim().to_owned()))
}

fn refusals(all: &[Refusal]) -> String {
    all.iter().fold(String::new(), |text, Refusal { node, kind, why }| {
        format!("{text}\n  `{node}` ({kind}): {}", why.join("\n    "))
    })
}

fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; it printed last:\n{output}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_dies_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("libQnnHtp.so"), b"").expect("a file");
        let libraries = Libraries::of(folder.path()).expect("a library by name");
        let script = "echo it broke; kill -SEGV $$";
        let launcher = Launcher { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
        let error = perform(&launcher, &libraries, &Task::About).expect_err("it dies").to_string();
        assert!(error.contains("signal: 11") && error.ends_with("it broke"), "{error}");
        let launcher = Launcher { program: "/no/such/program".into(), arguments: Vec::new() };
        let error = perform(&launcher, &libraries, &Task::About).expect_err("no program").to_string();
        assert!(error.starts_with("/no/such/program:"), "{error}");
    }
}
