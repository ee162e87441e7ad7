//! What the commands share that have to do with QNN.

use std::path::PathBuf;
use std::process::ExitCode;

use quad_qnn::native::{Launcher, Native, NotFound, Places, serve};

use crate::exit::Failure;

/// The hidden command that makes this program a process that calls the libraries.
pub(crate) const SERVE: &str = "qnn-native";

/// Do one task with the QNN libraries; quad starts this by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the task lies.
    folder: PathBuf,
}

/// Runs the hidden command. What it says goes through files, and how it ends is all that the caller sees.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    serve(&arguments.folder)
}

/// The libraries in `folder`, or where else they are found.
pub(crate) fn native(folder: Option<PathBuf>) -> Result<Result<Native, NotFound>, Failure> {
    let launcher = Launcher::this_program(&[SERVE]).map_err(Failure::input)?;
    Ok(Places::from_environment(folder).find().map(|libraries| Native { libraries, launcher }))
}
