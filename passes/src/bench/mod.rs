//! The bench: finding out which rewrite of a pipeline is wrong, and showing it on a small model.
//!
//! [`Bench`] runs a pipeline and says how it fails: a pass panics, gives up, leaves a broken graph, or changes what is
//! computed. [`bisect`](Bench::bisect) finds the one change after which it does, by fuel; [`reduce`](Bench::reduce)
//! shrinks the model as long as it fails the same way; [`near_misses`] collects why rules did not fire.

mod bisect;
mod explain;
mod failure;
mod reduce;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};

use quad_ir::interpret::{self, NamedTensors};
use quad_ir::module::Module;

pub use bisect::{Bisection, Culprit};
pub use explain::{NearMiss, near_misses};
pub use failure::{Failure, FailureKind};
pub use reduce::{Reduced, Tried};

use crate::check::{Checker, DrawError, draw_inputs};
use crate::pipeline::Pipeline;
use crate::runner::{self, Observer, PassReport, RunOptions, RunReport};

/// Runs one pipeline on models and judges the outcome.
#[derive(Debug)]
pub struct Bench<'p> {
    pipeline: &'p Pipeline,
    settings: Settings,
}

/// How the outcome of a pipeline is judged.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest deviation of an output, relative to its largest magnitude.
    pub allowed: f64,
    /// What the inputs are drawn from.
    pub seed: u64,
    /// The values of symbolic sizes; 2 for those that are not here.
    pub sizes: BTreeMap<String, u64>,
    /// Inputs to use instead of drawn ones.
    pub inputs: Option<NamedTensors>,
    /// Whether outputs are compared at all.
    pub check: bool,
    /// Names of passes that are left out.
    pub skip: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed: ALLOWED,
            seed: 0,
            sizes: BTreeMap::new(),
            inputs: None,
            check: true,
            skip: BTreeSet::new(),
        }
    }
}

/// The largest relative deviation that rounding alone excuses.
pub const ALLOWED: f64 = 1e-4;

/// A model cannot be put on the bench.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Inputs could not be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// The model does not run, so there is nothing to compare with.
    #[error("the model itself does not run, before any pass")]
    Run(#[source] Box<interpret::RunError>),
}

/// A pipeline that ran to its end, and what it left.
#[derive(Debug)]
pub struct Passed {
    /// The module afterwards.
    pub module: Module,
    /// What each pass did.
    pub report: RunReport,
}

impl<'p> Bench<'p> {
    /// A bench for `pipeline`.
    pub fn new(pipeline: &'p Pipeline, settings: Settings) -> Self {
        Self { pipeline, settings }
    }

    /// Runs the pipeline on a copy of `module`. The outer error is of the model, the inner one of the pipeline.
    pub fn attempt(&self, module: &Module) -> Result<Result<Passed, Box<Failure>>, BenchError> {
        let mut checker = self.checker(module)?;
        Ok(self.run(module, None, checker.as_mut()))
    }

    /// What compares outputs with those of `module`, unless none are compared.
    fn checker(&self, module: &Module) -> Result<Option<Checker>, BenchError> {
        if !self.settings.check {
            return Ok(None);
        }
        let inputs = match &self.settings.inputs {
            Some(inputs) => inputs.clone(),
            None => draw_inputs(module, self.settings.seed, &self.settings.sizes)?,
        };
        let checker = Checker::new(module, inputs, self.settings.allowed);
        checker.map(Some).map_err(|error| BenchError::Run(Box::new(error)))
    }

    /// Runs the pipeline on a copy of `module` with so much fuel, and compares after every pass.
    fn run(
        &self,
        module: &Module,
        fuel: Option<u64>,
        checker: Option<&mut Checker>,
    ) -> Result<Passed, Box<Failure>> {
        let mut module = module.clone();
        let mut tracker = Tracker::default();
        let options = RunOptions { verify: true, fuel, skip: self.settings.skip.clone(), explain: false };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            let mut observers: Vec<&mut dyn Observer> = vec![&mut tracker];
            observers.extend(checker.map(|checker| checker as &mut dyn Observer));
            runner::run(self.pipeline, &mut module, &options, &mut observers)
        }));
        match outcome {
            Ok(Ok(report)) => Ok(Passed { module, report }),
            Ok(Err(error)) => Err(Box::new(Failure::of_run(&error, tracker.changes_before, tracker.changes))),
            Err(payload) => {
                Err(Box::new(Failure::of_panic(&*payload, &tracker.pass, tracker.changes_before)))
            }
        }
    }
}

/// Knows where the run is, for when it does not come to its end.
#[derive(Debug, Default)]
struct Tracker {
    /// The pass that runs, or ran last.
    pass: String,
    /// Changes made by passes before it.
    changes_before: u64,
    /// Changes made by it too, once it is done.
    changes: Option<u64>,
}

impl Observer for Tracker {
    fn before(
        &mut self,
        pass: &str,
        _module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        pass.clone_into(&mut self.pass);
        self.changes_before = self.changes.take().unwrap_or(self.changes_before);
        Ok(())
    }

    fn after(
        &mut self,
        report: &PassReport,
        _module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.changes = Some(self.changes_before + report.changes as u64);
        Ok(())
    }
}
