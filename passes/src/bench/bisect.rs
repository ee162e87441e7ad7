//! Finding the one change after which a pipeline fails.
//!
//! Passes ask the context for fuel before every change, and the same model with the same fuel is changed in the same
//! way. So there is a smallest amount with which the pipeline fails, and the change that took the last of it is the one.
//! It is found by halving the range between the changes of the passes before, which hold, and those of the failing pass.

use quad_ir::module::Module;

use super::{Bench, BenchError, Failure, Passed};
use crate::check::Checker;
use crate::context::{Event, Place};
use crate::witness::Witness;

/// What a bisection found.
#[derive(Debug)]
pub enum Bisection {
    /// The pipeline does not fail: so many changes were made.
    Holds {
        /// Changes of all passes.
        changes: u64,
    },
    /// It fails, and this is why.
    Fails(Box<Culprit>),
}

/// The change after which a pipeline fails.
#[derive(Debug)]
pub struct Culprit {
    /// How the pipeline fails.
    pub failure: Failure,
    /// The number of the change, from 1, over all passes: the least fuel with which the pipeline fails. 0 when it fails
    /// before any change, or without asking for fuel.
    pub change: u64,
    /// The rule that made the change; `None` when the pass failed while it worked it out.
    pub rule: Option<&'static str>,
    /// The node at which it was made.
    pub place: Option<Place>,
    /// What the graph looked like around it.
    pub witness: Option<Witness>,
    /// How often the pipeline was run.
    pub runs: usize,
}

/// Fuel that no pipeline burns: what fails with more of it than this does not fail by a change.
const ENOUGH: u64 = 1 << 40;

impl Bench<'_> {
    /// Finds the change after which the pipeline fails on `module`.
    pub fn bisect(&self, module: &Module) -> Result<Bisection, BenchError> {
        let mut search = Search { bench: self, module, checker: self.checker(module)?, runs: 0 };
        let failure = match search.run(None) {
            Ok(passed) => return Ok(Bisection::Holds { changes: passed.report.changes() as u64 }),
            Err(failure) => failure,
        };
        let Some((mut good, mut bad)) = search.bounds(&failure) else {
            return Ok(Bisection::Fails(Box::new(search.without_change(*failure))));
        };
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if search.run(Some(middle)).is_err() { bad = middle } else { good = middle }
        }
        Ok(Bisection::Fails(Box::new(search.culprit(bad, *failure))))
    }
}

/// A search for the least fuel with which a pipeline fails.
struct Search<'b, 'p> {
    bench: &'b Bench<'p>,
    module: &'b Module,
    checker: Option<Checker>,
    runs: usize,
}

impl Search<'_, '_> {
    fn run(&mut self, fuel: Option<u64>) -> Result<Passed, Box<Failure>> {
        self.runs += 1;
        self.bench.run(self.module, fuel, self.checker.as_mut())
    }

    /// An amount of fuel with which the pipeline holds, and a larger one with which it fails.
    fn bounds(&mut self, failure: &Failure) -> Option<(u64, u64)> {
        let mut good = failure.changes_before;
        if self.run(Some(good)).is_err() {
            return None;
        }
        if let Some(bad) = failure.changes.filter(|changes| *changes > good) {
            return Some((good, bad));
        }
        // The pass did not come to its end, so nobody counted its changes.
        let mut step = 1;
        while good + step < ENOUGH {
            if self.run(Some(good + step)).is_err() {
                return Some((good, good + step));
            }
            good += step;
            step *= 2;
        }
        None
    }

    /// The failure of a pass that fails whatever the fuel is.
    fn without_change(&self, failure: Failure) -> Culprit {
        Culprit { rule: failure.rule, failure, change: 0, place: None, witness: None, runs: self.runs }
    }

    /// The change number `change`, which is seen without comparing: the pass then comes to its end.
    fn culprit(&mut self, change: u64, failure: Failure) -> Culprit {
        self.runs += 1;
        let seen = self.bench.run(self.module, Some(change), None).ok();
        let last =
            seen.and_then(|passed| passed.report.passes.into_iter().rev().find(|pass| pass.changes > 0));
        let mut culprit = self.without_change(failure);
        culprit.change = change;
        let Some(last) = last else { return culprit };
        culprit.witness = last.witness;
        let made = last.events.into_iter().rev().find_map(|event| match event {
            Event::Rewrote { rule, place, .. } => Some((rule, place)),
            Event::Left { .. } | Event::Noted { .. } => None,
        });
        if let Some((rule, place)) = made {
            (culprit.rule, culprit.place) = (Some(rule), Some(place));
        }
        culprit
    }
}
