//! Files mapped into memory: the one place of this crate that maps files, and its only `unsafe`.
//!
//! A model of several gigabytes must not be copied to be read. A [`MappedFile`] gives two ways in.
//! [`MappedFile::bytes`] hands out slices of the map that share it and keep it alive; it is for data that
//! is looked at. [`MappedFile::read_at`] reads into a buffer of the caller; it is for data that is only
//! passed on, because pages touched through a map count as resident memory of the process and pages read
//! the ordinary way do not.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use memmap2::Mmap;

/// A regular file, mapped read-only for as long as this value, or any [`Bytes`] taken from it, lives.
///
/// The file must not be changed in that time. Other processes cannot be kept from it: if one shortens
/// the file, touching the map beyond the new end kills this process with a bus error, while
/// [`MappedFile::read_at`] reports the change as an ordinary error.
///
/// No descriptor is held. Some exporters write one file for each tensor, and a model has more tensors
/// than a process may have open files.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    /// `path` made absolute, so that reading does not depend on the working directory of the moment.
    absolute: PathBuf,
    state: State,
    map: Bytes,
}

/// What tells that a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    length: u64,
    /// `None` where the system keeps no such time.
    modified: Option<SystemTime>,
}

impl MappedFile {
    /// Opens and maps the file at `path`.
    ///
    /// Fails with the error of the operating system when the file cannot be opened or mapped, and with
    /// [`io::ErrorKind::InvalidInput`] when `path` names something other than a regular file. An empty
    /// file is accepted and has no bytes.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Arc<Self>> {
        let path = path.into();
        let absolute = path::absolute(&path)?;
        // Asked before opening, because opening a named pipe waits for a writer that may never come.
        require_regular(&fs::metadata(&absolute)?)?;
        let file = File::open(&absolute)?;
        let metadata = file.metadata()?;
        require_regular(&metadata)?;
        let map = match metadata.len() {
            // The operating system refuses to map nothing.
            0 => Bytes::new(),
            _ => Bytes::from_owner(map_file(&file)?),
        };
        Ok(Arc::new(Self { path, absolute, state: State::of(&metadata), map }))
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of bytes in the file when it was mapped.
    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether the file had no bytes when it was mapped.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The whole file, sharing the map.
    pub fn all(&self) -> Bytes {
        self.map.clone()
    }

    /// The bytes of `range`, sharing the map, or `None` when `range` is reversed or ends behind the end of the file.
    pub fn bytes(&self, range: Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        (start <= end && end <= self.map.len()).then(|| self.map.slice(start..end))
    }

    /// Where in the file `part` lies, or `None` when it is no part of this map.
    ///
    /// This finds the place again of a slice that a decoder took from [`MappedFile::all`]. The place of
    /// an empty slice is not known, since it need not point into the map.
    pub fn range_of(&self, part: &[u8]) -> Option<Range<u64>> {
        let start = part.as_ptr().addr().checked_sub(self.map.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (!part.is_empty() && end <= self.map.len()).then_some(start as u64..end as u64)
    }

    /// Fills `buffer` with the bytes that start at `offset`, without touching the map.
    ///
    /// The file is opened anew for each call; read pieces of some hundred kilobytes or more. Fails with
    /// [`io::ErrorKind::UnexpectedEof`] when the range ends behind the end of the file, and with
    /// [`io::ErrorKind::InvalidData`] when the file was changed or replaced since it was mapped.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(self.behind_end(offset, buffer.len()));
        }
        let mut file = File::open(&self.absolute)?;
        if State::of(&file.metadata()?) != self.state {
            return Err(self.changed());
        }
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer).map_err(|error| match error.kind() {
            // It was shortened between the check and the reading.
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => error,
        })
    }

    fn behind_end(&self, offset: u64, length: usize) -> io::Error {
        let (path, end) = (self.path.display(), self.len());
        let message = format!("{length} bytes at offset {offset} end behind the end of `{path}` at {end}");
        io::Error::new(io::ErrorKind::UnexpectedEof, message)
    }

    fn changed(&self) -> io::Error {
        let path = self.path.display();
        let message =
            format!("`{path}` was changed while it was in use; run again when nothing writes to it");
        io::Error::new(io::ErrorKind::InvalidData, message)
    }
}

impl State {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

#[expect(unsafe_code, reason = "the bytes of a mapped file cannot be had without it")]
fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is private to this module's readers and only ever read. That no other process
    // changes the file meanwhile is the documented duty of the caller; no system offers a way to enforce it.
    unsafe { Mmap::map(file) }
}

fn require_regular(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let found = if metadata.is_dir() { "a directory" } else { "a pipe, socket or device" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("expected a regular file, found {found}")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_with(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content).expect("writing it");
        file
    }

    #[test]
    fn bytes_are_the_map_itself_and_outlive_the_file_value() {
        let file = file_with(b"0123456789");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        let whole = mapped.all();
        let part = mapped.bytes(2..5).expect("within the file");
        assert_eq!(part.as_ptr(), whole[2..].as_ptr(), "no copy was made");
        drop((mapped, whole));
        assert_eq!(&part[..], b"234");
    }

    #[test]
    fn ranges_outside_the_file_have_no_bytes() {
        let file = file_with(b"0123");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        assert_eq!(mapped.bytes(4..4).as_deref(), Some(&b""[..]));
        assert!(mapped.bytes(3..5).is_none());
        assert!(mapped.bytes(u64::MAX - 1..u64::MAX).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "a file may state such a range")]
        let reversed = 3..2;
        assert!(mapped.bytes(reversed).is_none());
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        let file = file_with(b"");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        assert!(mapped.is_empty());
        assert_eq!(mapped.len(), 0);
        assert_eq!(mapped.bytes(0..0).as_deref(), Some(&b""[..]));
        assert!(mapped.bytes(0..1).is_none());
        mapped.read_at(0, &mut []).expect("nothing to read");
    }

    #[test]
    fn a_slice_of_the_map_is_found_again() {
        let file = file_with(b"0123456789");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        let part = mapped.all().slice(3..7);
        assert_eq!(mapped.range_of(&part), Some(3..7));
        assert_eq!(mapped.range_of(b"elsewhere"), None);
        assert_eq!(mapped.range_of(&part[..0]), None);
    }

    #[test]
    fn reading_fills_the_buffer_or_fails() {
        let file = file_with(b"0123456789");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        let mut buffer = [0; 4];
        mapped.read_at(6, &mut buffer).expect("within the file");
        assert_eq!(&buffer, b"6789");
        for offset in [7, u64::MAX] {
            let error = mapped.read_at(offset, &mut buffer).expect_err("behind the end");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_file_shortened_after_mapping_is_an_error_and_not_a_crash() {
        let file = file_with(&vec![7; 100_000]);
        let mapped = MappedFile::open(file.path()).expect("mapping");
        file.as_file().set_len(10).expect("shortening");
        let error = mapped.read_at(90_000, &mut [0; 16]).expect_err("the bytes are gone");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("was changed"), "{error}");
    }

    #[test]
    fn a_file_rewritten_after_mapping_is_an_error() {
        let mut file = file_with(b"before");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        file.as_file().set_modified(SystemTime::UNIX_EPOCH).expect("an older time");
        file.flush().expect("flushing");
        let error = mapped.read_at(0, &mut [0; 6]).expect_err("the bytes may be others");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_descriptor_is_held() {
        let file = file_with(b"content");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        mapped.read_at(0, &mut [0; 7]).expect("reading");
        let path = file.path().canonicalize().expect("the file is there");
        let holders = fs::read_dir("/proc/self/fd")
            .expect("the descriptors of this process")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|open| *open == path);
        assert_eq!(holders.count(), 1, "only the test's own");
    }

    #[test]
    fn directories_and_missing_files_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = MappedFile::open(folder.path()).expect_err("a directory");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("a directory"), "{error}");
        let error = MappedFile::open(folder.path().join("absent")).expect_err("missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused_without_being_opened() {
        let error = MappedFile::open("/dev/zero").expect_err("a device");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
