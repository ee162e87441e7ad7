//! What can be wrong with contents in files beside a model.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// The contents of a tensor in a file beside the model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// The folder of the model cannot be looked up.
    #[error("the folder of `{}` cannot be opened: {error}", model.display())]
    Folder {
        /// The path of the model.
        model: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A key that the specification does not have.
    #[error(
        "tensor `{tensor}`: external data has the unknown key `{key}`; expected location, offset, length, \
         checksum or basepath"
    )]
    UnknownKey {
        /// The tensor.
        tensor: String,
        /// The key.
        key: String,
    },
    /// A key is there twice.
    #[error("tensor `{tensor}`: external data has the key `{key}` more than once")]
    RepeatedKey {
        /// The tensor.
        tensor: String,
        /// The key.
        key: String,
    },
    /// The model file holds contents for the tensor as well.
    #[error(
        "tensor `{tensor}`: has both external data and contents in the model file, and it is not known which to \
         use; export the model again"
    )]
    TwoContents {
        /// The tensor.
        tensor: String,
    },
    /// No file is named.
    #[error(
        "tensor `{tensor}`: external data has no location, so its file is not known; export the model again"
    )]
    NoLocation {
        /// The tensor.
        tensor: String,
    },
    /// A value is not a count of bytes.
    #[error(
        "tensor `{tensor}`: external data has {key} `{value}`, expected a whole number of bytes from 0 to 2^64-1"
    )]
    Number {
        /// The tensor.
        tensor: String,
        /// `offset` or `length`.
        key: &'static str,
        /// The value found.
        value: String,
    },
    /// The location is not a path within the folder of the model.
    #[error(
        "tensor `{tensor}`: the location `{}` of its data {fault}; expected a path relative to the \
         folder of the model, with `/` between its parts, that stays within it", location.escape_debug()
    )]
    Location {
        /// The tensor.
        tensor: String,
        /// The location found.
        location: String,
        /// What is wrong with it, in words that follow the location.
        fault: &'static str,
    },
    /// A symbolic link leads out of the folder of the model.
    #[error(
        "tensor `{tensor}`: its data file `{}` leads to `{}`, outside the folder of the model; move or copy the \
         data beside the model", path.display(), target.display()
    )]
    Escapes {
        /// The tensor.
        tensor: String,
        /// The path that the model names.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// There is no such file.
    #[error(
        "tensor `{tensor}`: its data file `{}` does not exist; a model with external data is more than one \
         file, copy all of them, under the names they were exported with", path.display()
    )]
    Missing {
        /// The tensor.
        tensor: String,
        /// The path looked for.
        path: PathBuf,
    },
    /// A folder, pipe, socket or device.
    #[error("tensor `{tensor}`: its data file `{}` is not a regular file", path.display())]
    NotRegular {
        /// The tensor.
        tensor: String,
        /// The path that the model names.
        path: PathBuf,
    },
    /// The system did not let the file be read.
    #[error("tensor `{tensor}`: its data file `{}` cannot be read: {error}", path.display())]
    Unreadable {
        /// The tensor.
        tensor: String,
        /// The path that the model names.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The length stated is not the length that type and sizes make.
    #[error("tensor `{tensor}`: external data has length {stated}, its type and sizes take {expected} bytes")]
    Length {
        /// The tensor.
        tensor: String,
        /// The length in the model.
        stated: u64,
        /// The length by type and sizes.
        expected: u64,
    },
    /// The file ends before the data does.
    #[error(
        "tensor `{tensor}`: its {length} bytes at offset {offset} end behind the end of `{}` at {file_length}; \
         the file was cut short or belongs to another model", path.display()
    )]
    OutOfBounds {
        /// The tensor.
        tensor: String,
        /// The data file.
        path: PathBuf,
        /// First byte of the data.
        offset: u64,
        /// Length of the data.
        length: u64,
        /// Length of the file.
        file_length: u64,
    },
    /// Two tensors share some of their bytes.
    #[error(
        "{} of `{}` overlaps {}; the model is damaged, export it again", claims[0], path.display(), claims[1]
    )]
    Overlap {
        /// The data file of both.
        path: PathBuf,
        /// The tensor whose contents were asked for, and one that was found before it.
        claims: Box<[Claim; 2]>,
    },
}

/// The bytes of a file that are the contents of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The tensor's name.
    pub tensor: String,
    /// The bytes.
    pub range: Range<u64>,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor `{}` at bytes {}..{}", self.tensor, self.range.start, self.range.end)
    }
}
