//! One quantization profile for all adapters: calibration, encodings, sensitivity, and the quantized graph.

pub mod admission;
pub mod digest;
pub mod encoding;
pub mod executor;
pub mod groups;
pub mod insert;
pub mod interchange;
pub mod metrics;
pub mod plots;
pub mod precision;
pub mod profile;
pub mod ranges;
mod registry;
pub mod rules;
pub mod sensitivity;
pub mod simulate;
pub mod slots;
pub mod statistics;
pub mod sweep;

pub use registry::with_passes;
