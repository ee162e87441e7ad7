//! A folder of what stages made, each under a key of everything that it was made from.
//!
//! A product is a folder of files. It is made under another name and renamed when it is whole, so that a build which is cut
//! off at any point leaves either nothing of a stage or all of it. What a product is made from is named by digests of
//! contents: where a stage comes to the same bytes from other inputs, those after it are not made again.
//!
//! Digests of files that are given are remembered by path, size and time of change, so that large files are not read again
//! in every build.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use quad_ir::whole_file::WholeFile;
use serde::{Deserialize, Serialize};

/// What is known of a product, in its folder.
const RECORD: &str = "stage.json";
/// Digests of files that were given.
const MEMO: &str = "files.json";
/// What is being made, and is not whole.
const PART: &str = "part";
/// The file that a build locks.
const LOCK: &str = "lock";

/// The cache of a build, which no other build uses at the same time.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    /// What names the program: products of another one are made again.
    program: String,
    memo: Mutex<BTreeMap<PathBuf, Known>>,
    /// Locked until the cache is dropped.
    _lock: File,
}

/// What a stage made.
#[derive(Clone, Debug)]
pub struct Product {
    /// Where the files are.
    pub folder: PathBuf,
    /// A digest of all files.
    pub digest: String,
}

/// The cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct CacheError {
    /// The file or folder.
    pub path: PathBuf,
    /// What went wrong.
    pub error: io::Error,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    /// Nanoseconds since 1970.
    changed: u64,
    digest: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    stage: String,
    digest: String,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    |error| CacheError { path, error }
}

impl Cache {
    /// The cache in the folder `root`, which is made where it is not there. Waits until no other build uses it; `waiting` is
    /// called where there is one.
    pub fn open(root: &Path, waiting: impl FnOnce()) -> Result<Self, CacheError> {
        fs::create_dir_all(root).map_err(at(root))?;
        let lock_path = root.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                lock.lock().map_err(at(&lock_path))?;
            }
            Err(TryLockError::Error(error)) => return Err(at(&lock_path)(error)),
        }
        let part = root.join(PART);
        // What a build left that was cut off.
        remove(&part).map_err(at(&part))?;
        fs::create_dir(&part).map_err(at(&part))?;
        let memo = fs::read(root.join(MEMO)).ok();
        // A memo that cannot be read costs time, and nothing else.
        let memo = memo.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Self { root: root.to_owned(), program: program(), memo: Mutex::new(memo), _lock: lock })
    }

    /// The key of the stage `stage` with these `inputs`.
    pub fn key(&self, stage: &str, inputs: &impl Serialize) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.program, stage] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        // Values of jobs have no keys but strings, so that they are always JSON.
        hasher.update(&serde_json::to_vec(inputs).unwrap_or_default());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// What was made under `key` already.
    pub fn find(&self, key: &str) -> Option<Product> {
        let folder = self.root.join(key);
        let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
        Some(Product { folder, digest: record.digest })
    }

    /// Makes what `key` stands for: `make` writes files into the folder that it is given.
    pub fn make<E: From<CacheError>>(
        &self,
        stage: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Product, E> {
        let part = self.root.join(PART).join(key);
        remove(&part).map_err(at(&part))?;
        fs::create_dir(&part).map_err(at(&part))?;
        make(&part)?;
        let folder = self.root.join(key);
        let publish = || {
            let digest = digest_of_folder(&part)?;
            let record = Record { stage: stage.to_owned(), digest: digest.clone() };
            fs::write(part.join(RECORD), serde_json::to_vec(&record)?)?;
            // One that is there could not be read, or it would have been found.
            remove(&folder)?;
            fs::rename(&part, &folder)?;
            Ok(digest)
        };
        let digest = publish().map_err(at(&folder))?;
        Ok(Product { folder, digest })
    }

    /// A place beside products for what a stage has so far.
    pub fn beside(&self, key: &str, what: &str) -> PathBuf {
        self.root.join(format!("{key}.{what}"))
    }

    /// A digest of the file or folder at `path`, from its contents: of all files in it, with their names.
    pub fn digest(&self, path: &Path) -> Result<String, CacheError> {
        if !path.is_dir() {
            return self.digest_of_file(path);
        }
        let mut hasher = blake3::Hasher::new();
        for (name, file) in files(path).map_err(at(path))? {
            add(&mut hasher, &name, &self.digest_of_file(&file)?);
        }
        Ok(hasher.finalize().to_hex()[..32].to_owned())
    }

    fn digest_of_file(&self, path: &Path) -> Result<String, CacheError> {
        let file = fs::canonicalize(path).map_err(at(path))?;
        let known = |digest: String| -> io::Result<Known> {
            let meta = fs::metadata(&file)?;
            let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            Ok(Known { size: meta.len(), changed: changed as u64, digest })
        };
        let now = known(String::new()).map_err(at(path))?;
        let memo = || self.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) =
            memo().get(&file).filter(|found| found.size == now.size && found.changed == now.changed)
        {
            return Ok(found.digest.clone());
        }
        let digest = hash(&file).map_err(at(path))?;
        memo().insert(file, Known { digest: digest.clone(), ..now });
        Ok(digest)
    }

    /// Writes down what is known of files.
    pub fn remember(&self) -> Result<(), CacheError> {
        let path = self.root.join(MEMO);
        let write = || {
            let memo = self.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut file = WholeFile::create(&path)?;
            file.write_all(&serde_json::to_vec(&*memo)?)?;
            file.publish()
        };
        write().map_err(at(&path))
    }
}

/// A digest of several, in their order.
pub fn digest_of(digests: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for digest in digests {
        add(&mut hasher, "", digest);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A digest of the contents of all files in `folder`, with their names.
pub fn digest_of_folder(folder: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    for (name, file) in files(folder)? {
        add(&mut hasher, &name, &hash(&file)?);
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn add(hasher: &mut blake3::Hasher, name: &str, digest: &str) {
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(digest.as_bytes());
}

/// All files in `folder` and those in it, by their names with slashes, in the order of these.
pub fn files(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut left = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // Of what a link leads to.
            if fs::metadata(entry.path())?.is_dir() {
                left.push((format!("{name}/"), entry.path()));
            } else {
                found.insert(name, entry.path());
            }
        }
    }
    Ok(found)
}

/// A digest of the contents of the file `path`.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().to_hex()[..32].to_owned());
        }
        hasher.update(&buffer[..count]);
    }
}

/// Removes a file or folder, when it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The version, and size and time of the program: another build of the same version may compute something else.
fn program() -> String {
    let file = std::env::current_exe().and_then(fs::metadata);
    let stamp = file.and_then(|meta| Ok((meta.len(), meta.modified()?)));
    let changed =
        stamp.ok().map(|(len, at)| (len, at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()));
    format!("{} {changed:?}", env!("CARGO_PKG_VERSION"))
}
