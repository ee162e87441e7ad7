//! Names with underscores for dots, turned back into paths.
//!
//! Which underscores were dots cannot be told from a name: `time_embedding_linear_1`. So all modules of the model are
//! spelled the way of such files, and names are looked up. Nothing is replaced in the other direction.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::normal_form::{Adapter, AdapterSite, Component, ModulePath};
use super::{AdapterError, sgm};
use crate::data::shown;

/// The paths of a model's modules, by component: what an adapter can adapt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    by_component: BTreeMap<Component, Vec<String>>,
}

/// Names that a message shows.
const MAX_LISTED: usize = 5;

/// Bytes of a name that distances are measured over.
const MAX_MEASURED: usize = 256;

impl Modules {
    /// No modules.
    pub fn new() -> Self {
        Self::default()
    }

    /// These modules and those at `paths` of `component`.
    #[must_use]
    pub fn with(mut self, component: Component, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.by_component.entry(component).or_default().extend(paths.into_iter().map(Into::into));
        self
    }

    /// The paths of `component`. Names that belong to no component are looked for in all of them.
    pub fn paths(&self, component: Component) -> Vec<&str> {
        match component {
            Component::Unnamed => self.by_component.values().flatten().map(String::as_str).collect(),
            _ => self.by_component.get(&component).into_iter().flatten().map(String::as_str).collect(),
        }
    }
}

/// What a name with underscores stands for.
enum Meaning {
    Path(String),
    /// Two modules are spelled alike.
    Ambiguous([String; 2]),
}

/// What a look-up of such a name gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup<'s> {
    One(&'s str),
    /// Two modules are spelled alike.
    Two([&'s str; 2]),
    None,
}

/// Modules by the names that files may have for them.
pub(super) struct Spellings(FxHashMap<String, Meaning>);

impl Spellings {
    /// The names of the modules at `paths` of `component`.
    pub(super) fn of(component: Component, paths: &[&str]) -> Self {
        let mut spellings = Self(FxHashMap::default());
        let layout = sgm::Layout::of(paths);
        for path in paths {
            spellings.add(path, path);
            if component.is_text_encoder() {
                // Whether the encoder is wrapped in a `text_model` differs between versions of transformers.
                match path.strip_prefix("text_model.") {
                    Some(rest) => spellings.add(rest, path),
                    None => spellings.add(&format!("text_model.{path}"), path),
                }
            } else if let Some(original) = layout.name(path) {
                spellings.add(&original, path);
            }
        }
        spellings
    }

    /// The module called `name`.
    pub(super) fn find(&self, name: &str) -> Lookup<'_> {
        match self.0.get(name) {
            Some(Meaning::Path(path)) => Lookup::One(path),
            Some(Meaning::Ambiguous([one, two])) => Lookup::Two([one, two]),
            None => Lookup::None,
        }
    }

    fn add(&mut self, spelled: &str, path: &str) {
        let entry = self.0.entry(mangled(spelled));
        entry
            .and_modify(|meaning| match meaning {
                Meaning::Path(known) if known != path => {
                    *meaning = Meaning::Ambiguous([known.clone(), path.to_owned()]);
                }
                _ => {}
            })
            .or_insert_with(|| Meaning::Path(path.to_owned()));
    }
}

/// `path` with underscores for dots.
pub(super) fn mangled(path: &str) -> String {
    path.replace('.', "_")
}

/// Gives the sites of `adapter` that have names with underscores their paths. Components that `modules` has nothing of
/// are left as they are; a name that fits no module, or several, is an error.
pub fn resolve(adapter: &mut Adapter, modules: &Modules) -> Result<(), AdapterError> {
    let paths = resolved(&adapter.sites, modules)
        .map_err(|found| AdapterError::Names { path: adapter.source.clone(), found })?;
    for (site, path) in adapter.sites.iter_mut().zip(paths) {
        site.path = path;
    }
    adapter.sites.sort_by(|a, b| (a.component, &a.path).cmp(&(b.component, &b.path)));
    let same =
        |pair: &&[AdapterSite]| (pair[0].component, &pair[0].path) == (pair[1].component, &pair[1].path);
    match adapter.sites.windows(2).find(same) {
        Some(pair) => Err(AdapterError::Names {
            path: adapter.source.clone(),
            found: format!("`{}` is there twice, under two names", pair[0].full_name()),
        }),
        None => Ok(()),
    }
}

/// The paths of `sites`, in their order.
fn resolved(sites: &[AdapterSite], modules: &Modules) -> Result<Vec<ModulePath>, String> {
    let mut spellings: BTreeMap<Component, Spellings> = BTreeMap::new();
    let (mut paths, mut lost) = (Vec::with_capacity(sites.len()), Vec::new());
    for site in sites {
        let known = modules.paths(site.component);
        let name = match &site.path {
            ModulePath::Mangled(name) if !known.is_empty() => name,
            path => {
                paths.push(path.clone());
                continue;
            }
        };
        let table = spellings.entry(site.component).or_insert_with(|| Spellings::of(site.component, &known));
        match table.find(name) {
            Lookup::One(path) => paths.push(ModulePath::Dotted(path.to_owned())),
            Lookup::Two([one, two]) => return Err(format!("`{}` may be `{one}` or `{two}`", shown(name))),
            Lookup::None => lost.push((name.as_str(), site.component)),
        }
    }
    let Some((first, component)) = lost.first() else { return Ok(paths) };
    let near = nearest(first, modules.paths(*component).into_iter());
    Err(format!(
        "{} of its modules are not in the model: {}; near `{}` the model has {}",
        lost.len(),
        quoted(lost.iter().map(|(name, _)| *name)),
        shown(first),
        quoted(near.iter().map(String::as_str)),
    ))
}

/// The names most like `name`, best first; dots and underscores count as equal.
pub(super) fn nearest<'n>(name: &str, candidates: impl Iterator<Item = &'n str>) -> Vec<String> {
    let measured = |text: &str| -> String { mangled(text).chars().take(MAX_MEASURED).collect() };
    let wanted = measured(name);
    let distance = |known: &str| {
        let known = measured(known);
        // A name without what stands before it is nearer than any that is spelled differently.
        let is_end = known.ends_with(&wanted) || wanted.ends_with(&known);
        if is_end { 0 } else { strsim::levenshtein(&wanted, &known) }
    };
    let mut ranked: Vec<(usize, &str)> = candidates.map(|known| (distance(known), known)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, known)| known.to_owned()).collect()
}

/// The first of `names` in quotes, and how many there are more.
pub(super) fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let first: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{}`", shown(name))).collect();
    match names.len().checked_sub(MAX_LISTED + 1) {
        Some(more) => format!("{} and {} more", first.join(", "), more + 1),
        None if names.is_empty() => "none".to_owned(),
        None => first.join(", "),
    }
}

#[cfg(test)]
mod tests;
