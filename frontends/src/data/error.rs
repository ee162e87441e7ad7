//! Why a file with tensors could not be read.

use std::io;
use std::path::PathBuf;

use crate::onnx::ContentsError;

/// A file with tensors could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The system did not let the file or folder be read.
    #[error("`{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not a tensor in protobuf's form.
    #[error(
        "`{}` is damaged, or is no ONNX tensor (sequences, maps and optional values are not supported): {error}",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        error: prost::DecodeError,
    },
    /// The contents of the tensor are not well formed.
    #[error("`{}`, tensor `{name}`: {error}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was found and what was expected.
        error: Box<ContentsError>,
    },
    /// A number is left out in a series of files.
    #[error("`{}` is missing, although the folder has files with higher numbers", path.display())]
    Gap {
        /// The file that should be there.
        path: PathBuf,
    },
}
