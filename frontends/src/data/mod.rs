//! Tensors in files: what models are fed with and what they answer.
//!
//! * [`pb`]: single tensors as ONNX's test data holds them.

mod error;
pub mod pb;

pub use error::DataError;
