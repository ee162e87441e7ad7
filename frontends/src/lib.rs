//! Model and tensor readers.

pub mod data;
pub mod onnx;
