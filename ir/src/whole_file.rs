//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that gets its name when it is [published](WholeFile::publish) and vanishes when it is dropped before.
///
/// It is written beside its final place, under a name of its own, and renamed: a reader sees the old file or the new
/// one, and whoever has the old one mapped keeps it.
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    published: bool,
}

impl WholeFile {
    /// Begins a file that is to be at `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(format!(".{}.part", std::process::id()));
        let temporary = path.with_file_name(name);
        Ok(Self { file: File::create(&temporary)?, temporary, path: path.to_owned(), published: false })
    }

    /// Puts the file in its place, over one that is there.
    pub fn publish(mut self) -> io::Result<()> {
        self.file.flush()?;
        fs::rename(&self.temporary, &self.path)?;
        self.published = true;
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// For writers of formats that go back to fill in a header.
impl io::Seek for WholeFile {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing is left to do about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_published_file_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.bin");
        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"half").expect("written");
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);

        let mut file = WholeFile::create(&path).expect("created");
        file.write_all(b"whole").expect("written");
        file.publish().expect("renamed");
        assert_eq!(fs::read(&path).expect("readable"), b"whole");
    }
}
