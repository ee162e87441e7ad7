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

/// What an earlier run of the same calibration left at `path`. What is found there, or why it is of no use, is added to
/// `notes`.
pub fn resume(path: &Path, plan: &Plan<'_>, notes: &mut Vec<String>) -> Option<Statistics> {
    if !path.exists() {
        return None;
    }
    let mut ignored = |why: &str| {
        notes.push(format!("`{}` is not gone on from: {why}", path.display()));
        None
    };
    match statistics::read(path) {
        Err(error) => ignored(&error.to_string()),
        Ok(statistics) if !plan.holds(&statistics) => {
            ignored("it is of another model, other adapters, data or samples")
        }
        Ok(statistics) => {
            let seen: usize = statistics.adapters.values().map(|adapter| adapter.samples.len()).sum();
            notes.push(format!("goes on from `{}`, where {seen} samples are done", path.display()));
            Some(statistics)
        }
    }
}

/// Writes checkpoints, not too often.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    interval: Duration,
    next: Instant,
}

impl Writer {
    /// A writer that waits for the interval of `checkpoint` first.
    pub(super) fn new(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { path, interval } = checkpoint.clone();
        Self { path, interval, next: Instant::now() + interval }
    }

    /// Writes `statistics` when it is time to.
    pub(super) fn offer(&mut self, statistics: &Statistics) -> Result<(), StatisticsFailure> {
        let started = Instant::now();
        if started < self.next {
            return Ok(());
        }
        statistics::write(&self.path, statistics)?;
        let written = Instant::now();
        let pause = if self.interval.is_zero() { self.interval } else { (written - started) * SHARE };
        self.next = written + self.interval.max(pause);
        Ok(())
    }
}
