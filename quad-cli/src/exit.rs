//! How the program ends: its exit codes, its error messages, and what it says when it is itself at fault.

use std::error::Error;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use quad_build::model::WriteError;
use quad_build::targets::LegalizeError;

use crate::output::Plain;

/// The exit codes, as every `--help` shows them.
pub(crate) const CODES: &str = "Exit codes:
  0   done
  1   a check did not hold
  2   the input or the usage is at fault; the message says what and where
  70  a bug in quad; please report it";

/// The input or the usage is at fault.
pub(crate) const AT_FAULT: u8 = 2;
const BUG: u8 = 70;

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is as it should be.
    Done,
    /// What the command was to check does not hold. It has said so itself.
    DoesNotHold,
}

/// Why a command could not do its work: the input or the usage is at fault, or the output cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Output to the terminal or a pipe failed.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// Anything else, said by what failed.
    #[error(transparent)]
    Input(Box<dyn Error + Send + Sync>),
    /// A fault of a pass, and not of the model.
    #[error(transparent)]
    Bug(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// A failure that `error` describes.
    pub(crate) fn input(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Input(Box::new(error))
    }

    /// A failure described by `message`.
    pub(crate) fn message(message: impl Into<String>) -> Self {
        Self::Input(message.into().into())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::input(error)
    }
}

impl From<LegalizeError> for Failure {
    fn from(error: LegalizeError) -> Self {
        match error {
            LegalizeError::Pass(error) => Self::Bug(error),
            error => Self::input(error),
        }
    }
}

/// The place and the message of the last panic. Reading it after a panic was caught is how a report is made; a panic
/// that a command catches and handles prints nothing.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs a command and turns how it ends into an exit code and, where it failed, a message.
pub(crate) fn guarded(command: impl FnOnce() -> Result<Outcome, Failure>) -> ExitCode {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    let end = panic::catch_unwind(AssertUnwindSafe(command));
    panic::set_hook(previous);
    match end {
        Ok(Ok(Outcome::Done)) => ExitCode::SUCCESS,
        Ok(Ok(Outcome::DoesNotHold)) => ExitCode::FAILURE,
        // Whoever read the output has seen enough, as in `quad inspect | head`.
        Ok(Err(Failure::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(Err(Failure::Bug(error))) => {
            say(&report(&error.to_string()));
            ExitCode::from(BUG)
        }
        Ok(Err(failure)) => {
            say(&explain(&failure));
            ExitCode::from(AT_FAULT)
        }
        Err(_) => {
            say(&report(&LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner)));
            ExitCode::from(BUG)
        }
    }
}

/// `error: ..`, and a line for each cause that the message before it does not contain already.
fn explain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut text = format!("error: {said}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !said.contains(&message) {
            text.push_str("\n  because: ");
            text.push_str(&message);
        }
        said = message;
        cause = error.source();
    }
    text
}

fn report(panic: &str) -> String {
    let arguments: Vec<String> = std::env::args().collect();
    format!(
        "error: quad has run into a bug of its own: {panic}\n\
         please report it at {} with the model, if you can share it, and this:\n  \
         quad {}, command line: {}",
        concat!(env!("CARGO_PKG_REPOSITORY"), "/issues"),
        env!("CARGO_PKG_VERSION"),
        arguments.join(" "),
    )
}

fn say(text: &str) {
    // Without a place to print to there is nobody to tell.
    let _ = writeln!(Plain(io::stderr()), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the model could not be read")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("node `n`: no such operation")]
    struct Inner;

    #[test]
    fn every_end_has_its_code() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(guarded(|| Ok(Outcome::Done)), ExitCode::SUCCESS);
        assert_eq!(guarded(|| Ok(Outcome::DoesNotHold)), ExitCode::from(1));
        assert_eq!(guarded(|| Err(Failure::input(Outer(Inner)))), ExitCode::from(2));
        assert_eq!(guarded(|| Err(Failure::Output(io::Error::other("full")))), ExitCode::from(2));
        assert_eq!(guarded(|| Err(Failure::Output(closed()))), ExitCode::SUCCESS);
        assert_eq!(guarded(|| panic!("it was not expected")), ExitCode::from(70));
        let report = report(&LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner));
        for part in ["it was not expected", "exit.rs", "report it", "command line"] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
    }

    #[test]
    fn causes_are_said_once() {
        let failure = Failure::input(Outer(Inner));
        assert_eq!(
            explain(&failure),
            "error: the model could not be read\n  because: node `n`: no such operation"
        );
        assert_eq!(explain(&Failure::message("usage")), "error: usage");
    }
}
