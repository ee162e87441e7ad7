//! A progress bar for whoever watches: only on a terminal, and only when there is something to wait for.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// The progress of one piece of work.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    watched: bool,
}

impl Progress {
    /// The beginning of work that `label` describes.
    pub(crate) fn new(label: impl Into<Cow<'static, str>>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // The template is a constant; a wrong one would only cost the looks.
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos} of {len}, {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(label);
        Self { bar, started: Instant::now(), watched: std::io::stderr().is_terminal() }
    }

    /// `done` of `total` parts are done.
    pub(crate) fn set(&self, done: usize, total: usize) {
        if !self.watched || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
