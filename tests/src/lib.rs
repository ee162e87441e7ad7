//! What the tests of the whole workspace share: the harness for tests that are text files, the targets of fuzzing, and
//! the generated documentation.

pub mod chain;
pub mod commands;
pub mod conformance;
pub mod coverage;
pub mod filetest;
pub mod generate;
pub mod litert;
pub mod models;
pub mod mutate;
pub mod onnxruntime;
pub mod operations;
pub mod passes;
pub mod paths;
pub mod seeded;
pub mod server;
pub mod targets;
pub mod testbed;

use quad_passes::registry::Registry;

/// The passes and pipelines of the whole workspace.
pub fn registry() -> Registry {
    quad_quantize::with_passes(Registry::standard())
}
