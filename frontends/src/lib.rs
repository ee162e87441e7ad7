//! Model and tensor readers.

pub mod onnx;
