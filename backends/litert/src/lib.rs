//! The LiteRT backend, and the rules of NeuroPilot and Exynos for the same files.
//!
//! [`lower::lower`] makes a [`model::LiteRtModel`] of a graph that the target's [pipeline](target) has left, and
//! [`flatbuffer`] writes it as the file that the runtime maps. What is asked of a node and how it is emitted stand side by
//! side, in one file of `lower` for each family of operations.

pub mod flatbuffer;
pub mod kernels;
pub mod lower;
pub mod model;
pub mod schema;
pub mod target;
pub mod vendor;
mod versions;
