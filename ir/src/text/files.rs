//! Modules in files: the text, and its large weights in a file beside it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::digests::Digests;
use super::error::ParseError;
use super::parse::{MAX_TEXT, parse};
use super::print::print_with;
use super::sidecar::{self, Sidecar, SidecarError};
use super::source::{Stored, WeightSource};
use crate::module::Module;
use crate::types::TensorType;
use crate::weights::{Digest, WeightError};
use crate::whole_file::WholeFile;

/// A module could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The bytes of a weight could not be had.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
}

/// A module could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The file is no text.
    #[error("{}: not a text in UTF-8: byte {at} is {byte:#04x}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// The byte that no text has there.
        byte: u8,
    },
    /// The text is longer than any that is read.
    #[error("{}: a text of more than {MAX_TEXT} bytes is refused", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The text is not a module.
    #[error("{}: {error}\n{}", path.display(), error.show())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ParseError,
    },
    /// The file of weights could not be read.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
}

/// Writes `module` to the text file `path` and its large weights to `path` with `.safetensors` appended, if it has any.
/// Both files appear whole, after both have been written.
pub fn write_files(path: &Path, module: &Module) -> Result<(), WriteError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        |error| WriteError::Io { path, error }
    };
    let digests = Digests::of(module)?;
    let text = print_with(module, &digests)?;
    let mut text_file = WholeFile::create(path).map_err(io(path))?;
    text_file.write_all(text.as_bytes()).map_err(io(path))?;
    if !digests.is_empty() {
        let weights_path = sidecar_path(path);
        let mut weights_file = WholeFile::create(&weights_path).map_err(io(&weights_path))?;
        let mut buffered = BufWriter::new(&mut weights_file);
        sidecar::write(module, &digests, &mut buffered)?;
        buffered.flush().map_err(io(&weights_path))?;
        drop(buffered);
        // The weights first: a text never names weights that are not there.
        weights_file.publish().map_err(io(&weights_path))?;
    }
    text_file.publish().map_err(io(path))
}

/// Reads the text file `path`, with its weights from `path` with `.safetensors` appended. That file is mapped, not read.
pub fn read_files(path: &Path) -> Result<Module, ReadError> {
    let text = read_text(path)?;
    let weights_path = sidecar_path(path);
    let weights: Box<dyn WeightSource> = match Sidecar::open(&weights_path) {
        Ok(sidecar) => Box::new(sidecar),
        Err(SidecarError::Io { error, path }) if error.kind() == io::ErrorKind::NotFound => {
            Box::new(Absent(path))
        }
        Err(error) => return Err(error.into()),
    };
    parse(&text, &*weights).map_err(|error| ReadError::Parse { path: path.to_owned(), error })
}

/// The text, if it is one and not too long.
fn read_text(path: &Path) -> Result<String, ReadError> {
    let io = |error| ReadError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    File::open(path).map_err(io)?.take(limit).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > MAX_TEXT {
        return Err(ReadError::TooLong { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        ReadError::NotText { path: path.to_owned(), at, byte }
    })
}

fn sidecar_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".safetensors");
    PathBuf::from(name)
}

/// A file of weights that does not exist, which matters only when the text names one.
struct Absent(PathBuf);

impl WeightSource for Absent {
    fn find(&self, _digest: Digest, _ty: &TensorType) -> Option<Stored> {
        None
    }

    fn hint(&self) -> String {
        format!("`{}`, which would have them, does not exist", self.0.display())
    }
}
