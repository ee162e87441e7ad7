//! Runs a pipeline: one function, with everything that every pass needs around it.
//!
//! Around each pass: what it requires is checked, observers are told, it runs, the graphs are compacted, verified, and
//! checked for what it ensures, and observers are told again, with a report. Observers print, dump, compare or draw
//! progress; the runner itself does none of that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use quad_ir::module::Module;
use quad_ir::verify::{VerifyErrors, verify};

use crate::context::{Context, Event};
use crate::invariants;
use crate::pass::{Invariants, PassError};
use crate::pipeline::{Configured, Pipeline, Step};
use crate::witness::Witness;

/// How a pipeline is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Whether the graphs are verified after every pass that changed something, and what passes ensure is checked. What
    /// they require is checked in any case.
    pub verify: bool,
    /// How many changes may be made, all passes together; `None` is any number.
    pub fuel: Option<u64>,
    /// Names of passes that are left out.
    pub skip: BTreeSet<String>,
    /// Whether near misses are reported.
    pub explain: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { verify: true, fuel: None, skip: BTreeSet::new(), explain: false }
    }
}

/// Rounds of a repeated list, after which its passes are taken to undo each other's work.
const MAX_ROUNDS: usize = 50;

/// What a pass did.
#[derive(Clone, Debug)]
pub struct PassReport {
    /// How many passes ran before.
    pub index: usize,
    /// The pass, with options.
    pub pass: String,
    /// Changes made.
    pub changes: usize,
    /// Nodes added.
    pub added: usize,
    /// Nodes erased.
    pub erased: usize,
    /// Nodes of all graphs before.
    pub nodes_before: usize,
    /// Nodes of all graphs after.
    pub nodes_after: usize,
    /// Time the pass itself took.
    pub time: Duration,
    /// Changes and near misses, in order.
    pub events: Vec<Event>,
    /// The surroundings of the change that took the last of the fuel, if one did.
    pub witness: Option<Witness>,
}

impl PassReport {
    /// How often each rule fired.
    pub fn by_rule(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for event in &self.events {
            if let Event::Rewrote { rule, .. } = event {
                *counts.entry(*rule).or_default() += 1;
            }
        }
        counts
    }
}

/// What a whole pipeline did.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// The passes in the order in which they ran.
    pub passes: Vec<PassReport>,
}

impl RunReport {
    /// Changes made by all passes.
    pub fn changes(&self) -> usize {
        self.passes.iter().map(|pass| pass.changes).sum()
    }

    /// Time that all passes took, without what observers did.
    pub fn time(&self) -> Duration {
        self.passes.iter().map(|pass| pass.time).sum()
    }
}

/// A pipeline did not run to its end.
#[derive(Debug, thiserror::Error)]
#[error("pass `{pass}`, number {}: {kind}", index + 1)]
pub struct RunError {
    /// How many passes ran before.
    pub index: usize,
    /// The pass, with options.
    pub pass: String,
    /// The passes before it.
    pub before: Vec<String>,
    /// Why.
    pub kind: RunErrorKind,
}

/// Why a pipeline did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunErrorKind {
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The pass left a graph that is not valid: a fault of the pass.
    #[error("graph @{graph} is not valid afterwards, a fault of the pass:\n\n{errors}")]
    Verify {
        /// The graph.
        graph: String,
        /// What is wrong.
        errors: VerifyErrors,
    },
    /// A graph is not what the pass takes, or not what it promises.
    #[error("graph @{graph} {}: {found}", if *before { "is not what the pass takes" } else { "is not what the pass promises" })]
    Invariant {
        /// The graph.
        graph: String,
        /// Before or after the pass.
        before: bool,
        /// What was found.
        found: String,
    },
    /// The passes of a repeated list undo each other's work.
    #[error(
        "the list was repeated {MAX_ROUNDS} times and still changes something: its passes undo each other's work"
    )]
    Endless,
    /// An observer ended the run.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

/// Is told what happens. An error ends the run.
pub trait Observer {
    /// `pass` is about to run on `module`.
    fn before(
        &mut self,
        _pass: &str,
        _module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    /// A pass ran and left `module`.
    fn after(
        &mut self,
        _report: &PassReport,
        _module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Runs `pipeline` on `module`. When it fails, `module` is as the failing pass left it.
pub fn run(
    pipeline: &Pipeline,
    module: &mut Module,
    options: &RunOptions,
    observers: &mut [&mut dyn Observer],
) -> Result<RunReport, RunError> {
    let mut runner = Runner { options, observers, fuel: options.fuel, report: RunReport::default() };
    runner.list(pipeline, module)?;
    Ok(runner.report)
}

struct Runner<'r, 'o> {
    options: &'r RunOptions,
    observers: &'r mut [&'o mut dyn Observer],
    fuel: Option<u64>,
    report: RunReport,
}

impl Runner<'_, '_> {
    fn list(&mut self, pipeline: &Pipeline, module: &mut Module) -> Result<(), RunError> {
        for step in &pipeline.steps {
            match step {
                // Nothing can change any more, and what later passes require may never have been reached.
                _ if self.fuel == Some(0) => break,
                Step::Pass(pass) if self.options.skip.contains(pass.pass.info().name) => {}
                Step::Pass(pass) => self.pass(pass, module)?,
                Step::Repeat(list) => self.repeat(list, module)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, list: &Pipeline, module: &mut Module) -> Result<(), RunError> {
        for _ in 0..MAX_ROUNDS {
            let before = self.report.changes();
            self.list(list, module)?;
            if self.report.changes() == before {
                return Ok(());
            }
        }
        Err(self.error(&format!("({list})*"), RunErrorKind::Endless))
    }

    fn pass(&mut self, pass: &Configured, module: &mut Module) -> Result<(), RunError> {
        let outcome = self.run_pass(pass, module);
        outcome.map_err(|kind| self.error(&pass.spelling, kind))
    }

    fn run_pass(&mut self, configured: &Configured, module: &mut Module) -> Result<(), RunErrorKind> {
        let pass = &*configured.pass;
        self.check(module, pass.requires(), true)?;
        for observer in &mut *self.observers {
            observer.before(&configured.spelling, module).map_err(RunErrorKind::Observer)?;
        }
        let nodes_before = count(module);
        let mut cx = Context::with_fuel(self.fuel).explaining(self.options.explain);
        let start = Instant::now();
        pass.run_module(module, &mut cx)?;
        if cx.changes() > 0 {
            for graph in &mut module.graphs {
                graph.compact();
            }
        }
        let time = start.elapsed();
        self.fuel = cx.fuel();
        if self.options.verify && cx.changes() > 0 {
            verify_all(module)?;
        }
        // A pass that ran out of fuel did not finish, so it keeps no promises.
        if cx.has_fuel() {
            self.check(module, pass.ensures(), false)?;
        }
        let report = PassReport {
            index: self.report.passes.len(),
            pass: configured.spelling.clone(),
            changes: cx.changes(),
            added: cx.added(),
            erased: cx.erased(),
            nodes_before,
            nodes_after: count(module),
            time,
            witness: cx.witness().cloned(),
            events: cx.into_events(),
        };
        for observer in &mut *self.observers {
            observer.after(&report, module).map_err(RunErrorKind::Observer)?;
        }
        self.report.passes.push(report);
        Ok(())
    }

    fn check(&self, module: &Module, wanted: Invariants, before: bool) -> Result<(), RunErrorKind> {
        // What a pass requires it relies on, whoever asks for checks; what it ensures is its own word.
        if wanted.is_empty() || !(before || self.options.verify) {
            return Ok(());
        }
        for graph in &module.graphs {
            if let Err(found) = invariants::check(graph, wanted) {
                return Err(RunErrorKind::Invariant { graph: graph.name().to_string(), before, found });
            }
        }
        Ok(())
    }

    fn error(&self, pass: &str, kind: RunErrorKind) -> RunError {
        let before: Vec<String> = self.report.passes.iter().map(|pass| pass.pass.clone()).collect();
        RunError { index: before.len(), pass: pass.to_owned(), before, kind }
    }
}

fn verify_all(module: &Module) -> Result<(), RunErrorKind> {
    for graph in &module.graphs {
        verify(graph).map_err(|errors| RunErrorKind::Verify { graph: graph.name().to_string(), errors })?;
    }
    Ok(())
}

fn count(module: &Module) -> usize {
    module.graphs.iter().map(|graph| graph.nodes().count()).sum()
}
