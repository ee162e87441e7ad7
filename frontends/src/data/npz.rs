//! Archives of named arrays, as `numpy.savez` and `numpy.savez_compressed` write them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use quad_ir::whole_file::WholeFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::error::DataError;
use super::npy::{self, Elements, Header, NpyError};

/// Deflate makes at most this many bytes of one.
const MAX_RATIO: u64 = 1032;

/// An open archive. Arrays are read one at a time.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    length: u64,
    zip: ZipArchive<BufReader<File>>,
    entries: BTreeMap<String, usize>,
}

impl Archive {
    /// Opens the archive at `path` and reads its directory.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let unreadable = |error| DataError::Unreadable { path: path.to_owned(), error };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let metadata = file.get_ref().metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let mut magic = Vec::new();
        file.by_ref().take(6).read_to_end(&mut magic).map_err(unreadable)?;
        let no_archive = |found| DataError::NoArchive { path: path.to_owned(), found };
        match magic.as_slice() {
            b"" => return Err(no_archive("the file is empty")),
            b"\x93NUMPY" => {
                return Err(no_archive("this is a single array; give it a name with `numpy.savez`"));
            }
            _ => {}
        }
        let zip = ZipArchive::new(file).map_err(|error| match error {
            zip::result::ZipError::Io(error) => unreadable(error),
            _ if !magic.starts_with(b"PK") => no_archive("this is no zip archive"),
            error => DataError::Archive { path: path.to_owned(), error },
        })?;
        if zip.has_duplicate_names() {
            let names = zip.file_names().filter_map(Result::ok).take(4).collect::<Vec<_>>().join("`, `");
            return Err(DataError::Twice { path: path.to_owned(), names });
        }
        let mut archive =
            Self { path: path.to_owned(), length: metadata.len(), zip, entries: BTreeMap::new() };
        archive.list()?;
        Ok(archive)
    }

    /// Path of the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the arrays, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is an array called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// What the array `name` says of itself.
    pub fn header(&mut self, name: &str) -> Result<Header, DataError> {
        self.with_entry(name, |from, _| Ok(Header::read(from)?.0))
    }

    /// The element type of the array `name`, when it is told.
    pub fn dtype(&mut self, name: &str) -> Result<Option<DType>, DataError> {
        Ok(match self.header(name)?.elements {
            Elements::Known(dtype) => Some(dtype),
            Elements::Unnamed => None,
        })
    }

    /// The type of the array `name` without its contents; `expected` as for [`read`](Self::read).
    pub fn ty(&mut self, name: &str, expected: Option<DType>) -> Result<TensorType, DataError> {
        self.with_entry(name, |from, _| Header::read(from)?.0.ty(expected))
    }

    /// The array `name`, where `expected` is what elements are taken for whose type NumPy did not keep.
    pub fn read(&mut self, name: &str, expected: Option<DType>) -> Result<Tensor, DataError> {
        self.with_entry(name, |from, available| npy::read(from, available, expected))
    }

    /// All arrays.
    pub fn read_all(&mut self) -> Result<NamedTensors, DataError> {
        let names: Vec<String> = self.names().map(str::to_owned).collect();
        names.into_iter().map(|name| Ok((name.clone(), self.read(&name, None)?))).collect()
    }

    fn list(&mut self) -> Result<(), DataError> {
        let failed = |error| DataError::Archive { path: self.path.clone(), error };
        for index in 0..self.zip.len() {
            let name = self.zip.by_index_raw(index).and_then(|entry| Ok(entry.name()?.into_owned()));
            let name = name.map_err(failed)?;
            let Some(stem) = name.strip_suffix(".npy") else {
                return Err(DataError::NoEntry { path: self.path.clone(), name });
            };
            self.entries.insert(stem.to_owned(), index);
        }
        Ok(())
    }

    /// Gives `read` the contents of an array and how many bytes they are, as far as that can be true.
    fn with_entry<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read, u64) -> Result<T, NpyError>,
    ) -> Result<T, DataError> {
        let path = &self.path;
        let Some(index) = self.entries.get(name) else {
            return Err(DataError::NoArray { path: path.clone(), name: name.to_owned() });
        };
        let array = |error| DataError::Array { path: path.clone(), name: name.to_owned(), error };
        let entry = self.zip.by_index(*index).map_err(|error| array(io::Error::from(error).into()))?;
        let mut entry = entry;
        let claimed = entry.size();
        let most = entry.compressed_size().min(self.length).saturating_mul(MAX_RATIO);
        if claimed > most {
            let error = format!("claims to be {claimed} bytes, more than its compressed form can hold");
            return Err(array(io::Error::new(io::ErrorKind::InvalidData, error).into()));
        }
        read(&mut entry, claimed).map_err(array)
    }
}

/// Reads all arrays of the archive at `path`.
pub fn read(path: &Path) -> Result<NamedTensors, DataError> {
    Archive::open(path)?.read_all()
}

/// Writes `tensors` to an archive at `path`, which appears whole or not at all. The same tensors give the same bytes:
/// entries are sorted, stored without compression and dated at the beginning of the format's calendar.
pub fn write(path: &Path, tensors: &NamedTensors) -> Result<(), DataError> {
    let failed = |error| DataError::Unwritable { path: path.to_owned(), error };
    let file = WholeFile::create(path).map_err(failed)?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    for (name, tensor) in tensors {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(npy::written_len(tensor) >= u64::from(u32::MAX));
        zip.start_file(format!("{name}.npy"), options).map_err(|error| failed(error.into()))?;
        npy::write(tensor, &mut zip).map_err(failed)?;
    }
    let mut file = zip.finish().map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.publish().map_err(failed)
}
