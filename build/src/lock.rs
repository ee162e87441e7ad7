//! What a build came to, kept in version control, so that a change shows as a difference in text.
//!
//! A lock is a folder with the page of the bundle, the graph before quantization, and graph and profile of each target.
//! Weights and files are in them as digests; files are left out that someone else's library writes the time into.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quad_ir::whole_file::WholeFile;
use similar::TextDiff;

use crate::bundle::{GRAPH, MANIFEST, Manifest, PROFILE};
use crate::cache;
use crate::job::TargetKind;
use crate::stages::Built;

/// The name of a lock where nobody says another.
pub const FOLDER: &str = "quad.lock";

/// The end of the names of files that differ in every build: QNN's library writes the time into them.
const TIMED: &str = ".dlc";

/// Lines of a difference that are shown.
const LINES: usize = 40;
/// What is looked for in the time of a short wait may be longer than need be.
const PATIENCE: Duration = Duration::from_secs(2);

/// A file of a lock that is not what the build came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file, by its path in the lock.
    pub file: String,
    /// What differs, line by line: the lock's with a minus, the build's with a plus.
    pub text: String,
}

/// A lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {error}", path.display())]
pub struct LockError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    |error| LockError { path, error }
}

/// What a lock of `built`, whose bundle is at `output`, has: texts by their paths in it.
fn texts(built: &Built, output: &Path) -> Result<BTreeMap<String, Vec<u8>>, LockError> {
    let mut files = BTreeMap::from([(GRAPH.to_owned(), built.graph.clone())]);
    for target in built.manifest.targets.keys() {
        for file in [GRAPH, PROFILE] {
            files.insert(format!("{target}/{file}"), output.join(target).join(file));
        }
    }
    let read = |(name, path): (String, PathBuf)| Ok((name, fs::read(&path).map_err(at(&path))?));
    let mut texts = files.into_iter().map(read).collect::<Result<BTreeMap<_, _>, LockError>>()?;
    let mut page: Manifest = built.manifest.clone();
    page.files.retain(|file, _| !file.ends_with(TIMED));
    texts.insert(MANIFEST.to_owned(), page.to_bytes());
    Ok(texts)
}

/// What the lock in `folder` and `built`, whose bundle is at `output`, differ in.
pub fn compare(folder: &Path, built: &Built, output: &Path) -> Result<Vec<Difference>, LockError> {
    let mut differences = Vec::new();
    let wanted = texts(built, output)?;
    // What says most in the fewest lines comes first.
    let mut order: Vec<(&String, &Vec<u8>)> = wanted.iter().collect();
    order.sort_by_key(|(file, _)| (file.ends_with(GRAPH), file.as_str() == MANIFEST));
    for (file, new) in order {
        let new = String::from_utf8_lossy(new);
        let locked = folder.join(file);
        let old = match fs::read_to_string(&locked) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = "is not in the lock\n".to_owned();
                differences.push(Difference { file: file.clone(), text });
                continue;
            }
            Err(error) => return Err(at(&locked)(error)),
        };
        if old != new {
            differences.push(Difference { file: file.clone(), text: unified(&old, &new) });
        }
    }
    for file in no_longer(folder, &wanted)?.into_keys() {
        differences.push(Difference { file, text: "is no longer built\n".to_owned() });
    }
    Ok(differences)
}

/// Makes the lock in `folder` that of `built`, whose bundle is at `output`.
pub fn update(folder: &Path, built: &Built, output: &Path) -> Result<(), LockError> {
    let wanted = texts(built, output)?;
    let rest = no_longer(folder, &wanted)?;
    for (file, text) in &wanted {
        let locked = folder.join(file);
        if let Some(parent) = locked.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        let write = || {
            let mut out = WholeFile::create(&locked)?;
            out.write_all(text)?;
            out.publish()
        };
        write().map_err(at(&locked))?;
    }
    for path in rest.into_values() {
        fs::remove_file(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// The files in `folder` that a lock has of targets that are no longer built. Whatever else is there is someone else's.
fn no_longer(
    folder: &Path,
    wanted: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, PathBuf>, LockError> {
    let mut there = if folder.is_dir() { cache::files(folder).map_err(at(folder))? } else { BTreeMap::new() };
    let names = TargetKind::ALL.map(TargetKind::name);
    let is_ours = |file: &str| {
        let parts = file.split_once('/');
        parts.is_some_and(|(target, file)| names.contains(&target) && [GRAPH, PROFILE].contains(&file))
    };
    there.retain(|file, _| is_ours(file) && !wanted.contains_key(file));
    Ok(there)
}

/// The lines in which two texts differ, with those around them.
fn unified(old: &str, new: &str) -> String {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, new);
    let unified = diff.unified_diff().context_radius(1).to_string();
    let lines: Vec<&str> = unified.lines().collect();
    let mut text = String::new();
    for line in lines.iter().take(LINES) {
        // A weight that is written out may be long.
        let _ = writeln!(text, "{}", line.chars().take(160).collect::<String>());
    }
    if let Some(more) = lines.len().checked_sub(LINES + 1) {
        let _ = writeln!(text, "... and {} more lines", more + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_and_cut_short() {
        assert_eq!(unified("a\nb\nc\n", "a\nx\nc\n"), "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        let long = "line\n".repeat(200);
        assert!(unified("", &long).ends_with("more lines\n"));
    }
}
