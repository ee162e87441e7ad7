//! What a calibration has so far, in a file.
//!
//! A checkpoint is a file of statistics like any other. Whether it belongs to a calibration is read off it: of the same
//! model, adapters and data, and of no sample that is not asked for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quad_quantize::statistics::Statistics;

use super::{Checkpoint, Plan};
use crate::statistics::{self, StatisticsFailure};

/// Writing may take this part of the time at most: large models have large statistics.
const SHARE: u32 = 20;

/// What is at the path of a checkpoint.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What an earlier run of the same calibration left.
    Begun(Box<Statistics>),
    /// Something else, with why it is of no use. Whether it may be overwritten, its owner knows.
    Other(String),
}

/// What is at `path` for the calibration `plan`.
pub fn find(path: &Path, plan: &Plan<'_>) -> Found {
    if !path.exists() {
        return Found::Nothing;
    }
    let not_gone_on = |why: &str| Found::Other(format!("`{}` is not gone on from: {why}", path.display()));
    match statistics::read(path) {
        Err(error) => not_gone_on(&error.to_string()),
        Ok(statistics) if !plan.holds(&statistics) => {
            not_gone_on("it is of another model, other adapters, data or samples")
        }
        Ok(statistics) => Found::Begun(Box::new(statistics)),
    }
}

/// What is said of a calibration that goes on from `begun`, which is at `path`.
pub fn going_on(path: &Path, begun: &Statistics) -> String {
    let seen: usize = begun.adapters.values().map(|adapter| adapter.samples.len()).sum();
    format!("goes on from `{}`, where {seen} samples are done", path.display())
}

/// Writes checkpoints, not too often.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    interval: Duration,
    /// When it is time to; `None` for longer than clocks count.
    next: Option<Instant>,
}

impl Writer {
    /// A writer that waits for the interval of `checkpoint` first.
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { path, interval } = checkpoint.clone();
        Self { path, interval, next: Instant::now().checked_add(interval) }
    }

    /// Writes `statistics` when it is time to.
    pub(super) fn offer(&mut self, statistics: &Statistics) -> Result<(), StatisticsFailure> {
        let started = Instant::now();
        if self.next.is_none_or(|next| started < next) {
            return Ok(());
        }
        statistics::write(&self.path, statistics)?;
        let written = Instant::now();
        let pause = if self.interval.is_zero() { self.interval } else { (written - started) * SHARE };
        self.next = written.checked_add(self.interval.max(pause));
        Ok(())
    }
}
