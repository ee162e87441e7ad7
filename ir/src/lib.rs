//! Typed tensor graphs: types, operations, text form, verifier and reference interpreter.
//!
//! The crate knows nothing of model file formats or of targets; those attach tables to its operations.

pub mod attr;
pub mod compare;
pub mod dtype;
pub mod entity;
pub mod graph;
pub mod interpret;
#[cfg_attr(not(test), expect(dead_code, reason = "the operations that call the kernels follow"))]
mod kernels;
pub mod loc;
pub mod module;
pub mod ops;
pub mod quantized;
pub mod tensor;
pub mod text;
pub mod types;
pub mod verify;
pub mod weights;
pub mod whole_file;
