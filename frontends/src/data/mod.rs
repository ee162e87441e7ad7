//! Tensors in files: what models are fed with and what they answer.
//!
//! * [`npz`]: NumPy archives of named arrays, read and written;
//! * [`npy`]: one array of such an archive;
//! * [`pb`]: single tensors as ONNX's test data holds them.
//!
//! Memory is bounded by what a file really holds: no header makes a reader allocate.

mod error;
pub mod npy;
mod npy_header;
pub mod npz;
pub mod pb;

pub use error::DataError;

#[cfg(test)]
mod tests;
