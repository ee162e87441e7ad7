//! What a calibration has so far, in a file beside its output.
//!
//! A checkpoint is a file of statistics like any other. Whether it belongs to a calibration is read off it: of the same
//! model, adapters and data, and of no sample that is not asked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quad_quantize::statistics::Statistics;

use super::take::Plan;
use crate::exit::Failure;
use crate::{output, statistics};

/// Writing may take this part of the time at most: large models have large statistics.
const SHARE: u32 = 20;

/// The checkpoint of the calibration that writes to `output`.
pub(super) fn path(output: &Path) -> PathBuf {
    let mut name = output.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(".checkpoint");
    output.with_file_name(name)
}

/// Removes the checkpoint of a calibration that has ended.
pub(super) fn remove(output: &Path) {
    // One that stays is found to be complete, or of something else, by the next calibration.
    let _ = std::fs::remove_file(path(output));
}

/// What an earlier run of the same calibration left.
pub(super) fn resume(output: &Path, plan: &Plan<'_>) -> Option<Statistics> {
    let path = path(output);
    if !path.exists() {
        return None;
    }
    let ignored = |why: &str| {
        output::note(&format!("`{}` is not gone on from: {why}", path.display()));
        None
    };
    match statistics::read(&path) {
        Err(error) => ignored(&error.to_string()),
        Ok(statistics) if !plan.holds(&statistics) => {
            ignored("it is of another model, other adapters, data or samples")
        }
        Ok(statistics) => {
            let seen: usize = statistics.adapters.values().map(|adapter| adapter.samples.len()).sum();
            output::note(&format!("goes on from `{}`, where {seen} samples are done", path.display()));
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
    /// A writer beside `output`, which waits for `interval` between two checkpoints.
    pub(super) fn new(output: &Path, interval: Duration) -> Self {
        Self { path: path(output), interval, next: Instant::now() + interval }
    }

    /// Writes `statistics` when it is time to.
    pub(super) fn offer(&mut self, statistics: &Statistics) -> Result<(), Failure> {
        let started = Instant::now();
        if started < self.next {
            return Ok(());
        }
        statistics::write(&self.path, statistics).map_err(Failure::input)?;
        let written = Instant::now();
        let pause = if self.interval.is_zero() { self.interval } else { (written - started) * SHARE };
        self.next = written + self.interval.max(pause);
        Ok(())
    }
}
