//! Making what a stage stands for, or finding it in the cache.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BuildError, Failed, Observer, Options};
use crate::cache::{Cache, Product};
use crate::job::Job;

/// Where a stage leaves what is worth knowing, to be told again when it is not made again.
const NOTES: &str = "notes.json";

/// The name of a stage: what it does, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageName {
    /// What it does.
    pub what: &'static str,
    /// An adapter, a target, or both with a slash between; empty where there is only one.
    pub of: String,
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.of.is_empty() { Ok(()) } else { write!(f, " {}", self.of) }
    }
}

/// Where a stage is being made.
pub(super) struct Place<'p> {
    /// The folder for its files.
    pub(super) folder: &'p Path,
    /// Its key.
    pub(super) key: &'p str,
    pub(super) name: &'p StageName,
    pub(super) notes: Vec<String>,
}

impl Place<'_> {
    /// Tells the observer of `total` runs, one by one.
    pub(super) fn counter<'c>(&'c self, run: &'c Runner<'_>, total: usize) -> impl Fn() + Sync + 'c {
        let done = AtomicUsize::new(0);
        let (observer, name) = (run.observer, self.name);
        move || observer.progress(name, done.fetch_add(1, Ordering::Relaxed) + 1, total)
    }

    /// Writes `value` to the file `name`.
    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Failed> {
        Ok(fs::write(self.folder.join(name), serde_json::to_vec_pretty(value)?)?)
    }
}

/// A job that is being built.
pub(super) struct Runner<'b> {
    pub(super) job: &'b Job,
    pub(super) options: &'b Options,
    pub(super) cache: &'b Cache,
    pub(super) observer: &'b dyn Observer,
    stages: RefCell<Vec<(StageName, Option<Duration>)>>,
}

impl<'b> Runner<'b> {
    pub(super) fn new(
        job: &'b Job,
        options: &'b Options,
        cache: &'b Cache,
        observer: &'b dyn Observer,
    ) -> Self {
        Self { job, options, cache, observer, stages: RefCell::new(Vec::new()) }
    }

    /// All stages until now.
    pub(super) fn stages(&self) -> Vec<(StageName, Option<Duration>)> {
        self.stages.borrow().clone()
    }

    /// A digest of the contents of something that was given.
    pub(super) fn digest(&self, path: &Path) -> Result<String, BuildError> {
        self.cache.digest(path).map_err(BuildError::Input)
    }

    /// The product of the stage that does `what` to `of`, which depends on `inputs` and nothing else.
    pub(super) fn stage(
        &self,
        what: &'static str,
        of: impl Into<String>,
        inputs: &impl Serialize,
        make: impl FnOnce(&mut Place<'_>) -> Result<(), Failed>,
    ) -> Result<Product, BuildError> {
        let name = StageName { what, of: of.into() };
        let key = self.cache.key(what, inputs);
        let (product, time) = match self.cache.find(&key) {
            Some(product) => (product, None),
            None => self.make(&name, &key, make)?,
        };
        for note in read::<Vec<String>>(&product, NOTES).unwrap_or_default() {
            self.observer.note(&note);
        }
        self.observer.ended(&name, time);
        self.stages.borrow_mut().push((name, time));
        Ok(product)
    }

    fn make(
        &self,
        name: &StageName,
        key: &str,
        make: impl FnOnce(&mut Place<'_>) -> Result<(), Failed>,
    ) -> Result<(Product, Option<Duration>), BuildError> {
        self.observer.begins(name);
        let started = Instant::now();
        let made = self.cache.make(&name.to_string(), key, |folder| -> Result<(), Failed> {
            let mut place = Place { folder, key, name, notes: Vec::new() };
            make(&mut place)?;
            if !place.notes.is_empty() {
                place.write(NOTES, &place.notes)?;
            }
            Ok(())
        });
        let product = made.map_err(|source| failed(name, source))?;
        self.cache.remember()?;
        Ok((product, Some(started.elapsed())))
    }

    /// What is read of the product of the stage that does `what`.
    pub(super) fn reading<T>(what: &'static str, read: Result<T, Failed>) -> Result<T, BuildError> {
        read.map_err(|source| failed(&StageName { what, of: String::new() }, source))
    }
}

/// What a stage wrote to its file `name`.
pub(super) fn read<T: DeserializeOwned>(product: &Product, name: &str) -> Result<T, Failed> {
    Ok(serde_json::from_slice(&fs::read(product.folder.join(name))?)?)
}

fn failed(name: &StageName, source: Failed) -> BuildError {
    BuildError::Stage { stage: name.clone(), source }
}
