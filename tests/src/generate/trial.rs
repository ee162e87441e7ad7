//! One random graph through one pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quad_ir::module::Module;
use quad_ir::text;
use quad_passes::bench::{Bench, BenchError, Failure, FailureKind, Settings};
use quad_passes::pipeline::Pipeline;
use quad_passes::runner::RunReport;

use super::SettleError;

/// The value of symbolic sizes: none that other sizes often have, so that what is mixed up shows.
const BATCH: u64 = 3;

/// Random graphs of about one size through one pipeline.
#[derive(Debug)]
pub struct Trial<'p> {
    pipeline: &'p Pipeline,
    nodes: usize,
}

/// A graph on which the pipeline fails, or which should not have been grown.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The generator is at fault.
    #[error("seed {seed}: the generator is at fault: {error}")]
    Generator {
        /// The seed of the graph.
        seed: u64,
        /// What is wrong.
        error: SettleError,
    },
    /// The graph does not run, which the generator rules out.
    #[error("seed {seed}: {error}")]
    Bench {
        /// The seed of the graph.
        seed: u64,
        /// What is wrong.
        error: BenchError,
    },
    /// The pipeline fails.
    #[error("seed {seed}: {failure}{}", file.as_ref().map_or_else(String::new, |file| format!("\n  the graph is in {}", file.display())))]
    Pipeline {
        /// The seed of the graph.
        seed: u64,
        /// How.
        failure: Box<Failure>,
        /// The graph.
        file: Option<PathBuf>,
    },
}

impl<'p> Trial<'p> {
    /// Graphs of about `nodes` nodes through `pipeline`.
    pub fn new(pipeline: &'p Pipeline, nodes: usize) -> Self {
        Self { pipeline, nodes }
    }

    /// Runs the pipeline on the graph of `seed`, verifies and compares after every pass. Returns how often each rule fired;
    /// none did where a pass says that it does not take the graph. A graph that shows a fault is written into `folder`,
    /// where one is given.
    ///
    /// # Errors
    /// When the pipeline fails, or the generator.
    pub fn run(&self, seed: u64, folder: Option<&Path>) -> Result<Fired, Fault> {
        let module = self.module(seed)?;
        let outcome = self.bench(seed).attempt(&module).map_err(|error| Fault::Bench { seed, error })?;
        let failure = match outcome {
            Ok(passed) => return Ok(fired(&passed.report)),
            Err(failure) if failure.kind == FailureKind::Refused => return Ok(Fired::new()),
            Err(failure) => failure,
        };
        let file = folder.map(|folder| folder.join(format!("random-{seed}.quad")));
        let file = file.filter(|file| text::write_files(file, &module).is_ok());
        Err(Fault::Pipeline { seed, failure, file })
    }

    /// The graph of `seed`, which runs.
    ///
    /// # Errors
    /// When the generator is at fault.
    pub fn module(&self, seed: u64) -> Result<Module, Fault> {
        let graph = super::graph(seed, self.nodes).map_err(|error| Fault::Generator { seed, error })?;
        Ok(Module { graphs: vec![graph] })
    }

    /// The bench on which the graph of `seed` is judged.
    pub fn bench(&self, seed: u64) -> Bench<'p> {
        Bench::new(self.pipeline, Settings { seed, sizes: sizes(), ..Settings::default() })
    }
}

/// How often each rule fired, by pass without options, and rule.
pub type Fired = BTreeMap<(String, &'static str), usize>;

fn fired(report: &RunReport) -> Fired {
    let mut fired = Fired::new();
    for pass in &report.passes {
        let name = pass.pass.split('{').next().unwrap_or_default();
        for (rule, count) in pass.by_rule() {
            *fired.entry((name.to_owned(), rule)).or_default() += count;
        }
    }
    fired
}

/// The values of symbolic sizes.
pub(super) fn sizes() -> BTreeMap<String, u64> {
    BTreeMap::from([("batch".to_owned(), BATCH)])
}
