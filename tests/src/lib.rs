//! What the tests of the whole workspace share: the harness for tests that are text files, and the targets of fuzzing.

pub mod filetest;
pub mod mutate;
pub mod paths;
pub mod targets;
