//! the generated documentation.

pub mod filetest;
pub mod paths;
