//! From a model and adapters to what a device runs: the jobs that commands, and programs that embed QUAD, share.
//!
//! Everything here takes paths and settings and gives values and files. Nothing prints: what is worth knowing comes back as
//! notes beside the result.

pub mod adapters;
pub mod bundle;
pub mod cache;
pub mod calibrate;
pub mod emit;
pub mod frozen;
pub mod job;
pub mod lifted;
pub mod limits;
pub mod lock;
pub mod model;
pub mod packed;
pub mod prelude;
pub mod quantized;
pub mod report;
pub mod samples;
pub mod simulator;
pub mod stages;
pub mod statistics;
pub mod targets;
