//! What the tests of the whole workspace share: the harness for tests that are text files, the targets of fuzzing, and
//! the generated documentation.

pub mod chain;
pub mod conformance;
pub mod coverage;
pub mod filetest;
pub mod generate;
pub mod models;
pub mod mutate;
pub mod operations;
pub mod passes;
pub mod paths;
pub mod seeded;
pub mod targets;
