//! Many runs, on all threads of the current rayon pool.

use quad_ir::interpret::NamedTensors;
use rayon::prelude::*;

use super::samples::{SampleError, Samples};
use super::{ExecuteError, Executor};

/// A run over samples did not finish.
#[derive(Debug, thiserror::Error)]
pub enum RunAllError {
    /// A sample could not be had.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A run did not finish.
    #[error("sample {sample}: {error}")]
    Run {
        /// The sample.
        sample: usize,
        /// Why.
        error: Box<ExecuteError>,
    },
}

/// The outputs of `executor` for the samples `which`, in that order, each with `slots` bound. `done` is told of each run
/// that has ended.
pub fn run_all(
    executor: &dyn Executor,
    samples: &Samples,
    slots: &NamedTensors,
    which: impl IntoIterator<Item = usize>,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<NamedTensors>, RunAllError> {
    let which: Vec<usize> = which.into_iter().collect();
    let run = |sample| {
        let inputs = samples.inputs(sample, slots)?;
        let outputs =
            executor.run(&inputs).map_err(|error| RunAllError::Run { sample, error: Box::new(error) })?;
        done();
        Ok(outputs)
    };
    which.into_par_iter().map(run).collect()
}
