//! Where commands write: looked at before any work is done, so that nothing that is read is written over, and nobody
//! waits for a result that then has no place.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quad_ir::whole_file::WholeFile;

use crate::exit::Failure;

/// What a picture may be: one that browsers show, or a page with it and the figures.
pub(crate) const PICTURES: [&str; 2] = ["svg", "html"];
/// What the files of adapters that are folders are called.
const OF_ADAPTERS: [&str; 3] =
    ["adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_config.json"];
/// What names of files of data end in.
const OF_DATA: [&str; 2] = [".npz", ".safetensors"];

/// What a command reads and where it writes.
#[derive(Debug, Default)]
pub(crate) struct Files {
    read: Vec<Read>,
    written: Vec<Written>,
}

/// A file or folder that is read.
#[derive(Debug)]
struct Read {
    /// What it is to the command.
    what: String,
    path: PathBuf,
    /// What the names of those of its files end in that are read, if it is a folder.
    files: &'static [&'static str],
}

/// A file that is written.
#[derive(Debug)]
struct Written {
    path: PathBuf,
    /// What its name may end in; empty where it may be called anything.
    extensions: &'static [&'static str],
}

impl Files {
    /// The command reads the file `path`, which is `what` to it.
    pub(crate) fn reads(mut self, what: impl Into<String>, path: &Path) -> Self {
        self.read.push(Read { what: what.into(), path: path.to_owned(), files: &[] });
        self
    }

    /// The command reads `path`, which is `what` to it, if it was given.
    pub(crate) fn reads_given(self, what: &str, path: Option<&PathBuf>) -> Self {
        match path {
            Some(path) => self.reads(what, path),
            None => self,
        }
    }

    /// The command reads the model at `path`, with the weights that lie beside it.
    pub(crate) fn reads_model(self, path: &Path) -> Self {
        match beside(path) {
            Some(weights) => self.reads("the model", path).reads("the weights of the model", &weights),
            None => self.reads("the model", path),
        }
    }

    /// The command reads adapters, files or folders.
    pub(crate) fn reads_adapters<'p>(self, paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        self.reads_all("an adapter", paths, &OF_ADAPTERS)
    }

    /// The command reads data, files or folders.
    pub(crate) fn reads_data<'p>(self, paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        self.reads_all("the data", paths, &OF_DATA)
    }

    fn reads_all<'p>(
        mut self,
        what: &str,
        paths: impl IntoIterator<Item = &'p PathBuf>,
        files: &'static [&'static str],
    ) -> Self {
        let read = paths.into_iter().map(|path| Read { what: what.to_owned(), path: path.clone(), files });
        self.read.extend(read);
        self
    }

    /// The command writes all of `paths`, such as an output that was not asked for, or was.
    pub(crate) fn writes<'p>(self, paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        self.writes_as(paths, &[])
    }

    /// As [`writes`](Self::writes), with names that end in one of `extensions`.
    pub(crate) fn writes_as<'p>(
        mut self,
        paths: impl IntoIterator<Item = &'p PathBuf>,
        extensions: &'static [&'static str],
    ) -> Self {
        let written = paths.into_iter().map(|path| Written { path: path.clone(), extensions });
        self.written.extend(written);
        self
    }

    /// Whether all that is written has a place, and none of it is written over what is read.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for (at, Written { path, extensions }) in self.written.iter().enumerate() {
            check_extension(path, extensions)?;
            self.check_apart(path, path)?;
            if let Some(weights) = beside(path) {
                self.check_apart(&weights, path)?;
            }
            if self.written[..at].iter().any(|other| is_same(&other.path, path)) {
                return Err(Failure::message(format!(
                    "`{}` would be written twice: give each output a name of its own",
                    path.display()
                )));
            }
            check_place(path)?;
        }
        Ok(())
    }

    /// Whether `path`, which is written as or beside `output`, is apart from all that is read.
    fn check_apart(&self, path: &Path, output: &Path) -> Result<(), Failure> {
        let is_read = |read: &&Read| is_same(&read.path, path) || is_in(&read.path, read.files, path);
        let Some(Read { what, .. }) = self.read.iter().find(is_read) else {
            return Ok(());
        };
        let (path, output) = (path.display().to_string(), output.display().to_string());
        let by =
            if path == output { String::new() } else { format!(", and may be written beside `{output}`") };
        Err(Failure::message(format!(
            "`{path}` is an input of this command ({what}){by}: name another output"
        )))
    }
}

/// The file beside the model at `path` that may have its weights.
fn beside(path: &Path) -> Option<PathBuf> {
    let suffix = match path.extension().and_then(OsStr::to_str) {
        Some("quad") => ".safetensors",
        Some("onnx") => ".data",
        _ => return None,
    };
    let mut name = OsString::from(path);
    name.push(suffix);
    Some(name.into())
}

/// Whether both are the same file, by whatever name, or would be.
fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(_), Ok(_)) => identity(a).is_some_and(|a| Some(a) == identity(b)),
        _ => place(a).is_some_and(|a| Some(a) == place(b)),
    }
}

/// Whether the file `path` is one of those of `folder` whose names end in one of `files`, or what a link among them leads to.
fn is_in(folder: &Path, files: &[&str], path: &Path) -> bool {
    if files.is_empty() || !folder.is_dir() || !path.is_file() {
        return false;
    }
    let is_read = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        files.iter().any(|end| name.to_string_lossy().ends_with(end))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(is_read).any(|entry| is_same(&entry.path(), path))
}

/// What tells a file that is there from all others: links, also hard ones, are what they lead to.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// What tells a file that is there from all others.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// The one path of a file that may not be there yet.
fn place(path: &Path) -> Option<PathBuf> {
    let whole = fs::canonicalize(path);
    whole
        .or_else(|_| {
            Ok::<_, io::Error>(fs::canonicalize(folder(path))?.join(path.file_name().unwrap_or_default()))
        })
        .ok()
}

/// The folder that `path` lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check_extension(path: &Path, extensions: &[&str]) -> Result<(), Failure> {
    let found = path.extension().and_then(OsStr::to_str);
    if extensions.is_empty() || found.is_some_and(|found| extensions.contains(&found)) {
        return Ok(());
    }
    let known: Vec<String> = extensions.iter().map(|extension| format!(".{extension}")).collect();
    Err(Failure::message(format!(
        "`{}`: expected a name that ends in {}",
        path.display(),
        known.join(" or ")
    )))
}

/// Whether a file can be written at `path`. Asks by beginning one, which vanishes.
fn check_place(path: &Path) -> Result<(), Failure> {
    let cannot = |why: &str| Failure::message(format!("`{}` cannot be written: {why}", path.display()));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(cannot("it is a folder; name a file")),
        Ok(found) if !found.is_file() => {
            return Err(cannot("it is no ordinary file, which would be replaced by one"));
        }
        _ => {}
    }
    match WholeFile::create(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(cannot(&format!("{error}; make the folder `{}` first", folder(path).display())))
        }
        Err(error) => Err(cannot(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(files: &Files) -> String {
        files.check().map_or_else(|failure| failure.to_string(), |()| String::new())
    }

    #[test]
    fn what_is_read_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("data")).expect("made");
        for name in ["m.onnx", "m.onnx.data", "data/a.npz", "stats"] {
            fs::write(path(name), "x").expect("written");
        }
        let files = || Files::default().reads_model(&path("m.onnx")).reads_data([&path("data")]);
        assert_eq!(said(&files().writes([&path("out"), &path("stats"), &path("data/out.stats")])), "");
        assert!(
            said(&files().writes([&path("m.onnx")]))
                .contains("is an input of this command (the model): name")
        );
        assert!(said(&files().writes([&path("data/../m.onnx")])).contains("(the model)"));
        assert!(said(&files().writes([&path("m.onnx.data")])).contains("(the weights of the model)"));
        assert!(said(&files().writes([&path("data/a.npz")])).contains("(the data)"));
        let files = || Files::default().reads_adapters([&path("new.quad.safetensors")]);
        assert!(said(&files().writes([&path("new.quad")])).contains("beside `"));
        let files = || Files::default().reads_adapters([&path("data")]);
        fs::write(path("data/adapter_model.safetensors"), "x").expect("written");
        fs::write(path("data/other.safetensors"), "x").expect("written");
        assert!(said(&files().writes([&path("data/adapter_model.safetensors")])).contains("(an adapter)"));
        assert_eq!(said(&files().writes([&path("data/other.safetensors")])), "");
        assert!(said(&Files::default().writes([&path("new"), &path("data/../new")])).contains("twice"));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_what_they_lead_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("data")).expect("made");
        fs::write(path("a.npz"), "x").expect("written");
        std::os::unix::fs::symlink(path("a.npz"), path("data/soft.npz")).expect("linked");
        fs::hard_link(path("a.npz"), path("hard.npz")).expect("linked");
        let data = || Files::default().reads_data([&path("data")]);
        for name in ["a.npz", "hard.npz", "data/soft.npz"] {
            assert!(said(&data().writes([&path(name)])).contains("(the data)"), "{name}");
        }
    }

    #[test]
    fn places_are_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        assert!(said(&Files::default().writes([&path("none/out")])).contains("make the folder `"));
        assert!(said(&Files::default().writes([&folder.path().to_owned()])).contains("it is a folder"));
        let picture = |name: &str| said(&Files::default().writes_as([&path(name)], &PICTURES));
        assert!(picture("a.png").contains("ends in .svg or .html"), "{}", picture("a.png"));
        assert_eq!(picture("a.svg"), "");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "nothing is left");
    }
}
