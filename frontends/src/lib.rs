//! Readers of models, adapters and tensors.

pub mod adapter;
pub mod data;
pub mod onnx;
