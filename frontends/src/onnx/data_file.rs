//! The file beside a model that its weights are written to.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use quad_ir::types::TensorType;
use quad_ir::weights::{WeightError, WeightId, Weights};
use quad_ir::whole_file::WholeFile;

use super::proto::StringStringEntryProto;

/// Where contents start: multiples of this, so that readers may map them.
const ALIGNMENT: u64 = 4096;

/// The file beside a model that holds its weights.
pub(super) struct DataFile {
    part: BufWriter<WholeFile>,
    name: String,
    end: u64,
}

impl DataFile {
    /// Begins the file at `path`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { part: BufWriter::new(WholeFile::create(path)?), name, end: 0 })
    }

    /// Writes a weight at the next aligned place and returns where it is and how long.
    pub(super) fn append(&mut self, weights: &Weights, weight: WeightId) -> Result<(u64, u64), WeightError> {
        let io = |error| WeightError::Io { path: PathBuf::from(&self.name), error };
        let padding = self.end.next_multiple_of(ALIGNMENT) - self.end;
        io::copy(&mut io::Read::take(io::repeat(0), padding), &mut self.part).map_err(io)?;
        let start = self.end + padding;
        weights.stream(weight, &mut self.part)?;
        let length = weights.ty(weight).and_then(TensorType::byte_len).unwrap_or(0);
        self.end = start + length;
        Ok((start, length))
    }

    /// The external data entries of a weight at the place that `append` returned.
    pub(super) fn entries(&self, (start, length): (u64, u64)) -> Vec<StringStringEntryProto> {
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        vec![
            entry("location", self.name.clone()),
            entry("offset", start.to_string()),
            entry("length", length.to_string()),
        ]
    }

    /// The whole file, to be published.
    pub(super) fn finish(self) -> io::Result<WholeFile> {
        self.part.into_inner().map_err(io::IntoInnerError::into_error)
    }
}
