//! Why a file with tensors could not be read.

use std::io;
use std::path::PathBuf;

use super::npy::NpyError;
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
    /// The file is no archive of arrays.
    #[error("`{}` is no archive of arrays (.npz): {found}", path.display())]
    NoArchive {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// The archive is damaged.
    #[error("`{}` is damaged: {error}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What was found.
        error: zip::result::ZipError,
    },
    /// An entry of the archive is no array by its name.
    #[error("`{}`: entry `{name}` is no array, whose names end in .npy", path.display())]
    NoEntry {
        /// The file.
        path: PathBuf,
        /// The entry.
        name: String,
    },
    /// Two arrays of an archive have the same name.
    #[error("`{}` holds two arrays of the same name, among them `{names}`", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// Names of the first arrays.
        names: String,
    },
    /// There is no such array.
    #[error("`{}` holds no array called `{name}`", path.display())]
    NoArray {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
    },
    /// An array could not be read.
    #[error("`{}`, array `{name}`: {error}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// Why.
        error: NpyError,
    },
    /// The file could not be written.
    #[error("`{}` cannot be written: {error}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A number is left out in a series of files.
    #[error("`{}` is missing, although the folder has files with higher numbers", path.display())]
    Gap {
        /// The file that should be there.
        path: PathBuf,
    },
}
