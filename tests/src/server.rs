//! Python programs that answer questions: one process for all tests, asked through its standard input and output.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::paths;

/// A process that answers a line with a line, both JSON.
#[derive(Debug)]
pub struct Server {
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Kept so that the process ends with this one: it stops when its standard input closes.
    _process: Child,
}

impl Server {
    /// Starts `script` of the folder `tests/python`; `None` where `QUAD_PYTHON` is not set.
    ///
    /// # Errors
    /// Of the system, when the process cannot be started.
    pub fn start(script: &str) -> io::Result<Option<Self>> {
        let Some(python) = std::env::var_os("QUAD_PYTHON") else { return Ok(None) };
        let script = paths::root().join("tests/python").join(script);
        let mut process =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        Ok(Some(Self { pipes: Mutex::new((stdin, BufReader::new(stdout))), _process: process }))
    }

    /// The answer to `question`.
    ///
    /// # Errors
    /// Of the system, or that the process ended.
    pub fn ask<A: DeserializeOwned>(&self, question: &impl Serialize) -> io::Result<A> {
        // A test that panicked in between leaves the pipes in an unknown state.
        let mut pipes = self.pipes.lock().map_err(|_| io::Error::other("an earlier question failed"))?;
        let (stdin, stdout) = &mut *pipes;
        writeln!(stdin, "{}", serde_json::to_string(question)?)?;
        stdin.flush()?;
        let mut line = String::new();
        if stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other("it ended without an answer"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}
