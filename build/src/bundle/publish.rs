//! Putting a bundle together, and in its place at once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::manifest::FORMAT;
use super::summary::Shown;
use super::{
    ADAPTERS, AdapterPage, BundleError, FileEntry, MANIFEST, Manifest, REPORT, SourcePage, TargetPage, at,
};
use crate::cache::{self, Cache};
use crate::job::{Job, TargetJob};
use crate::stages::{Figures, FrozenFacts, Made, PACKED, Slots, Sources};

/// What is to be in a bundle.
pub(crate) struct Contents {
    manifest: Manifest,
    /// What the report shows and the manifest does not have.
    pub(crate) report: Shown,
    /// Where files are, by their paths in the bundle.
    files: BTreeMap<String, PathBuf>,
}

/// Whether a bundle may be put at `output`: nothing is there, or a bundle, or an empty folder.
pub fn check_output(output: &Path) -> Result<(), BundleError> {
    match fs::read_dir(output) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(BundleError::Occupied(output.to_owned()))
        }
        Err(error) => Err(at(output)(error)),
        Ok(mut entries) => {
            let is_free = output.join(MANIFEST).is_file() || entries.next().is_none();
            if is_free { Ok(()) } else { Err(BundleError::Occupied(output.to_owned())) }
        }
    }
}

fn named(path: &Path, digest: &str) -> SourcePage {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    SourcePage { name, digest: digest.to_owned() }
}

impl Contents {
    /// What `job` comes to, without a target yet.
    pub(crate) fn new(job: &Job, frozen: &FrozenFacts, sources: &Sources) -> Self {
        let adapters = job
            .adapters
            .iter()
            .map(|(name, adapter)| (name.clone(), named(&adapter.path, &sources.adapters[name])));
        let manifest = Manifest {
            format: FORMAT,
            quad: env!("CARGO_PKG_VERSION").to_owned(),
            model: named(&job.model, &sources.model),
            graph: frozen.digest.clone(),
            pipeline: frozen.pipeline.clone(),
            precision: job.precision.default.value.to_string(),
            allow_unused: job.expose.allow_unused.clone(),
            adapters: adapters.collect(),
            targets: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let report = Shown { passes: frozen.changes.clone(), ..Shown::default() };
        Self { manifest, report, files: BTreeMap::new() }
    }

    /// Adds what became of `target`.
    pub(crate) fn add(
        &mut self,
        target: &TargetJob,
        made: &Made,
        packed: BTreeMap<String, (Slots, Figures)>,
    ) -> Result<(), BundleError> {
        let name = target.kind.name();
        let files = made.files();
        for (file, path) in cache::files(&files).map_err(at(&files))? {
            self.files.insert(format!("{name}/{file}"), path);
        }
        let mut adapters = BTreeMap::new();
        for (adapter, (slots, figures)) in packed {
            let file = format!("{name}/{ADAPTERS}/{adapter}.safetensors");
            let path = slots.product.folder.join(PACKED);
            let bytes = fs::metadata(&path).map_err(at(&path))?.len();
            let page =
                AdapterPage { file: file.clone(), bytes, packing: slots.packing, figures: Some(figures) };
            adapters.insert(adapter, page);
            self.files.insert(file, path);
        }
        let (arch, rules) = (target.arch.clone(), target.rules.clone());
        let page = TargetPage { arch, rules, facts: made.facts.clone(), adapters };
        self.manifest.targets.insert(name.to_owned(), page);
        Ok(())
    }

    /// Puts the bundle at `output`, over one that is there. Whether it was written: one with the same contents is left.
    pub(crate) fn publish(mut self, output: &Path, cache: &Cache) -> Result<(Manifest, bool), BundleError> {
        let report = super::summary::report(&self.manifest, &self.report).html()?;
        for (file, path) in &self.files {
            let bytes = fs::metadata(path).map_err(at(path))?.len();
            self.manifest.files.insert(file.clone(), FileEntry { bytes, digest: cache.digest(path)? });
        }
        let digest = blake3::hash(report.as_bytes()).to_hex()[..32].to_owned();
        self.manifest.files.insert(REPORT.to_owned(), FileEntry { bytes: report.len() as u64, digest });
        let part = beside(output, "part");
        // What a build left that was cut off.
        cache::remove(&part).map_err(at(&part))?;
        if self.is_there(output, cache) {
            return Ok((self.manifest, false));
        }
        fs::create_dir_all(&part).map_err(at(&part))?;
        let written = self.write(&part, &report).and_then(|()| swap(&part, output).map_err(at(output)));
        if written.is_err() {
            // Nothing half-written stays, as far as it can be removed.
            let _ = cache::remove(&part);
        }
        written?;
        Ok((self.manifest, true))
    }

    /// Whether the bundle at `output` is this one already, to the last file.
    fn is_there(&self, output: &Path, cache: &Cache) -> bool {
        let holds = |(file, entry): (&String, &FileEntry)| {
            cache.digest(&output.join(file)).is_ok_and(|digest| digest == entry.digest)
        };
        fs::read(output.join(MANIFEST)).is_ok_and(|bytes| bytes == self.manifest.to_bytes())
            && self.manifest.files.iter().all(holds)
    }

    fn write(&self, part: &Path, report: &str) -> Result<(), BundleError> {
        for (file, path) in &self.files {
            let to = part.join(file);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(at(folder))?;
            }
            fs::copy(path, &to).map_err(at(&to))?;
        }
        for (file, bytes) in [(REPORT, report.as_bytes()), (MANIFEST, &self.manifest.to_bytes())] {
            let to = part.join(file);
            fs::write(&to, bytes).map_err(at(&to))?;
        }
        Ok(())
    }
}

/// `path` with a dot and `end` appended.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(format!(".{end}"));
    path.with_file_name(name)
}

/// Puts `part` in the place of `output`, and removes what was there.
fn swap(part: &Path, output: &Path) -> io::Result<()> {
    if !output.exists() {
        return fs::rename(part, output);
    }
    if !exchange(part, output) {
        // Not every system exchanges two names at once: for a moment neither is there.
        let old = beside(output, "old");
        cache::remove(&old)?;
        fs::rename(output, &old)?;
        fs::rename(part, output)?;
        return cache::remove(&old);
    }
    cache::remove(part)
}

/// Exchanges two folders at once, where the system can.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}
