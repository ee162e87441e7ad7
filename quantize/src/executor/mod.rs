//! Running a graph many times: for calibration, for scores, for whatever compares outputs over data.
//!
//! An [`Executor`] is prepared once and shared by all threads. [`Reference`] is the interpreter with every constant read
//! and every recipe made once. [`run_all`] runs one sample to a thread and hands results on in the order of the samples,
//! so that nothing depends on the number of threads.

mod reference;
mod run_all;
pub mod samples;

use quad_ir::interpret::{NamedTensors, RunError};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;

pub use reference::Reference;
pub use run_all::{RunAllError, run_all};
pub use samples::Samples;

/// A graph could not be prepared or run.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A run did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A constant could not be had.
    #[error("the constant `{name}` could not be read: {error}")]
    Constant {
        /// The name of its value.
        name: String,
        /// Why.
        error: WeightError,
    },
    /// What runs the graph failed in a way of its own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// Something that runs one graph, any number of times, on any number of threads.
pub trait Executor: Sync {
    /// The outputs for `inputs`, slots included.
    fn run(&self, inputs: &NamedTensors) -> Result<NamedTensors, ExecuteError> {
        self.run_observed(inputs, &mut |_, _| {})
    }

    /// As [`run`](Self::run). Shows every value that has a name and is no constant to `observe`, in an order in which
    /// operands come before results.
    fn run_observed(
        &self,
        inputs: &NamedTensors,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<NamedTensors, ExecuteError>;
}
