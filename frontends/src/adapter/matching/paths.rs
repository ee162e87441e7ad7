//! From the path of a site to that of a module of the graph or of a checkpoint.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::adapter::names::{Lookup, Spellings};
use crate::adapter::normal_form::{Component, ModulePath};

/// The paths of modules.
pub(super) struct Paths<'m> {
    all: BTreeSet<&'m str>,
    /// What all paths begin with, in whole segments, shortest first: one of them may be a wrapper around the model.
    wrappers: Vec<&'m str>,
    /// Names with underscores for each wrapper, made when they are asked for.
    spellings: BTreeMap<Component, Vec<Spellings>>,
    /// Paths that sites have by themselves, however they are found.
    wanted: RefCell<BTreeSet<String>>,
}

/// What was found for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    One(String),
    Several(Vec<String>),
    None,
}

/// Segments that a path must have to be found by its end.
const MIN_SEGMENTS: usize = 2;

/// Wrappers that are tried.
const MAX_WRAPPERS: usize = 8;

impl<'m> Paths<'m> {
    pub(super) fn of(all: impl Iterator<Item = &'m str>) -> Self {
        let all: BTreeSet<&str> = all.collect();
        let wrappers = common_prefixes(&all);
        Self { all, wrappers, spellings: BTreeMap::new(), wanted: RefCell::default() }
    }

    /// The module that a site at `path` of `component` is for.
    pub(super) fn find(&mut self, component: Component, path: &ModulePath) -> Found {
        let found = match path {
            ModulePath::Dotted(path) => self.dotted(path),
            ModulePath::Mangled(name) => self.mangled(component, name),
        };
        if let Found::One(path) = &found {
            self.wanted.borrow_mut().insert(path.clone());
        }
        found
    }

    /// Whether a site was found to be for the module at `path`.
    pub(super) fn is_wanted(&self, path: &str) -> bool {
        self.wanted.borrow().contains(path)
    }

    fn dotted(&self, path: &str) -> Found {
        let inner = match path.strip_prefix("text_model.") {
            Some(rest) => rest.to_owned(),
            None => format!("text_model.{path}"),
        };
        for wrapper in &self.wrappers {
            let exact = [path, &inner].map(|path| format!("{wrapper}{path}"));
            if let Some(path) = exact.into_iter().find(|path| self.all.contains(path.as_str())) {
                return Found::One(path);
            }
        }
        let is_end = |whole: &str, end: &str| {
            end.split('.').count() >= MIN_SEGMENTS
                && whole.strip_suffix(end).is_some_and(|before| before.ends_with('.'))
        };
        let ends: Vec<String> = self
            .all
            .iter()
            .filter(|known| is_end(known, path) || is_end(path, known))
            .map(|known| (*known).to_owned())
            .collect();
        match ends.as_slice() {
            [] => Found::None,
            [one] => Found::One(one.clone()),
            _ => Found::Several(ends),
        }
    }

    fn mangled(&mut self, component: Component, name: &str) -> Found {
        let (all, wrappers) = (&self.all, &self.wrappers);
        let spellings = self.spellings.entry(component).or_insert_with(|| {
            let inner = |wrapper: &&str| all.iter().map(|path| &path[wrapper.len()..]).collect::<Vec<_>>();
            wrappers.iter().map(|wrapper| Spellings::of(component, &inner(wrapper))).collect()
        });
        for (spellings, wrapper) in spellings.iter().zip(wrappers) {
            match spellings.find(name) {
                Lookup::One(path) => return Found::One(format!("{wrapper}{path}")),
                Lookup::Two(paths) => {
                    return Found::Several(paths.map(|path| format!("{wrapper}{path}")).to_vec());
                }
                Lookup::None => {}
            }
        }
        Found::None
    }
}

/// What all of several paths begin with, shortest first: nothing, the first segment with its dot, and so on.
fn common_prefixes<'p>(paths: &BTreeSet<&'p str>) -> Vec<&'p str> {
    let (Some(first), Some(last)) = (paths.first(), paths.last()) else { return Vec::new() };
    // What the first and the last in order have in common, all between them have.
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let dots = first.match_indices('.').map(|(dot, _)| dot + 1).take_while(|end| *end <= same);
    std::iter::once(0).chain(dots).take(MAX_WRAPPERS).map(|end| &first[..end]).collect()
}
