//! Statistics on disk.

use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::{self, SafeTensorsError, SafeTensorsFile, WriteError};
use quad_ir::tensor::TensorError;
use quad_quantize::statistics::{FormatError, Statistics};

/// A file of statistics could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsFailure {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] SafeTensorsError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file holds no statistics.
    #[error("`{}`: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
    /// Statistics could not be stored.
    #[error("`{}`: {source}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TensorError,
    },
}

/// Reads the statistics at `path`.
pub fn read(path: &Path) -> Result<Statistics, StatisticsFailure> {
    let file = SafeTensorsFile::open(path)?;
    Statistics::from_tensors(file.tensors().iter().cloned().collect(), file.metadata())
        .map_err(|source| StatisticsFailure::Format { path: path.to_owned(), source })
}

/// Writes `statistics` to `path`, which appears whole or not at all.
pub fn write(path: &Path, statistics: &Statistics) -> Result<(), StatisticsFailure> {
    let tensors = statistics.to_tensors();
    let (tensors, metadata) =
        tensors.map_err(|source| StatisticsFailure::Tensor { path: path.to_owned(), source })?;
    Ok(safetensors::write(path, &tensors, &metadata)?)
}
