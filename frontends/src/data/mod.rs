//! Tensors in files: what models are fed with and what they answer.
//!
//! * [`npz`]: NumPy archives of named arrays, read and written;
//! * [`npy`]: one array of such an archive;
//! * [`pb`]: single tensors as ONNX's test data holds them;
//! * [`safetensors`]: files of named tensors, mapped.
//!
//! Memory is bounded by what a file really holds: no header makes a reader allocate.

mod error;
pub mod npy;
mod npy_header;
pub mod npz;
pub(crate) mod ordered;
pub mod pb;
pub mod safetensors;

pub use error::DataError;

/// Characters of a name from a file that a message shows.
const SHOWN: usize = 160;

/// `name`, without the end where it is too long for a message.
pub(crate) fn shown(name: &str) -> std::borrow::Cow<'_, str> {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &name[..end]).into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests;
