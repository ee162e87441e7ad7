//! The other side: a process that does one task and ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::process::{REQUEST, RESPONSE};
use super::task::{Response, Task};

/// Does the task that lies in `folder`, and leaves what came of it there. The process should end with what this gives.
pub fn serve(folder: &Path) -> ExitCode {
    let response = match fs::read(folder.join(REQUEST)).map_err(|error| error.to_string()).and_then(|bytes| {
        let (libraries, task): (PathBuf, Task<'static>) =
            postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
        Ok(perform(&libraries, task))
    }) {
        Ok(response) => response,
        Err(why) => Response::Failed(why),
    };
    let written = postcard::to_stdvec(&response)
        .map_err(|error| error.to_string())
        .and_then(|bytes| fs::write(folder.join(RESPONSE), bytes).map_err(|error| error.to_string()));
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn perform(_: &Path, _: Task<'_>) -> Response {
    Response::Failed("the QNN libraries are called on x86-64 Linux only".to_owned())
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use called::perform;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod called {
    use std::path::Path;

    use super::super::library;
    use super::super::task::{About, Answer, Compiled, Program, Response, Run, Task};
    use crate::ffi::{Failure, Session, System};
    use crate::model::QnnGraph;
    use crate::soc::Soc;

    /// What stops a task.
    enum Stop {
        Refused(Vec<super::super::Refusal>),
        Failed(Failure),
    }

    impl From<Failure> for Stop {
        fn from(failure: Failure) -> Self {
            Self::Failed(failure)
        }
    }

    pub(super) fn perform(libraries: &Path, task: Task<'_>) -> Response {
        match answer(libraries, task) {
            Ok(answer) => Response::Done(answer),
            Err(Stop::Refused(refusals)) => Response::Refused(refusals),
            Err(Stop::Failed(failure)) => Response::Failed(failure.to_string()),
        }
    }

    fn answer(libraries: &Path, task: Task<'_>) -> Result<Answer, Stop> {
        Ok(match task {
            Task::About => Answer::About(about(&Session::open(&library(libraries, "QnnHtp"), None)?)),
            Task::Validate { graph, soc } => {
                let session = compiler(libraries, soc)?;
                let draft = session.draft(&graph, None)?;
                Answer::Refused(session.refusals(&draft))
            }
            Task::Compile { graph, soc } => {
                let session = compiler(libraries, soc)?;
                compiled(&session, &graph)?;
                Answer::Compiled(inspected(libraries, session.binary()?)?)
            }
            Task::WriteDlc { graph, path } => {
                let mut session = Session::open(&library(libraries, "QnnIr"), None)?;
                session.new_context()?;
                session.finalize(session.draft(&graph, Some(&path))?)?;
                Answer::Written
            }
            Task::Execute { program, soc, runs } => execute(libraries, &program, soc, &runs)?,
        })
    }

    /// A session that compiles for `soc`, with an empty context.
    fn compiler(libraries: &Path, soc: Soc) -> Result<Session, Failure> {
        let mut session = Session::open(&library(libraries, "QnnHtp"), Some(soc))?;
        session.new_context()?;
        Ok(session)
    }

    /// `graph` in the session's context, unless operations are refused.
    fn compiled(session: &Session, graph: &QnnGraph) -> Result<crate::ffi::Loaded, Stop> {
        let draft = session.draft(graph, None)?;
        let refusals = session.refusals(&draft);
        if refusals.is_empty() { Ok(session.finalize(draft)?) } else { Err(Stop::Refused(refusals)) }
    }

    fn inspected(libraries: &Path, mut binary: Vec<u8>) -> Result<Compiled, Failure> {
        let info = System::load(&library(libraries, "QnnSystem"))?.inspect(&mut binary)?;
        let graph = info.graph_name().to_owned();
        Ok(Compiled { soc_model: info.soc_model, build: info.build, core: info.core, graph, binary })
    }

    fn execute(libraries: &Path, program: &Program, soc: Soc, runs: &[Run]) -> Result<Answer, Stop> {
        let (session, graph) = match program {
            Program::Graph(graph) => {
                let session = compiler(libraries, soc)?;
                let loaded = compiled(&session, graph)?;
                (session, loaded)
            }
            Program::Binary(binary) => {
                let info = System::load(&library(libraries, "QnnSystem"))?.inspect(&mut binary.clone())?;
                let mut session = Session::open(&library(libraries, "QnnHtp"), Some(soc))?;
                session.context_from(binary)?;
                let loaded = info.loaded(&session)?;
                (session, loaded)
            }
            Program::Dlc(path) => {
                let session = compiler(libraries, soc)?;
                let loaded = System::load(&library(libraries, "QnnSystem"))?.compose(&session, path)?;
                (session, loaded)
            }
        };
        let outputs: Result<Vec<Run>, Failure> =
            runs.iter().map(|run| session.execute(&graph, run)).collect();
        Ok(Answer::Outputs(outputs?))
    }

    fn about(session: &Session) -> About {
        let api = session.api();
        About {
            name: api.name.clone(),
            build: session.build(),
            core: api.core,
            backend: api.backend,
            warning: api.warning(),
        }
    }
}
