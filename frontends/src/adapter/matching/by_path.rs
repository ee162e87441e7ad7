//! Sites matched by path alone: for a model whose layers have their branches already, so that only the names of modules
//! are left to compare with.

use quad_ir::graph::Graph;

use super::error::{Unmatched, Why};
use super::paths::{Found, Paths};
use super::{MatchError, MatchOptions, SiteRef, Unused, fit, patterns, sites};
use crate::adapter::names::nearest;
use crate::adapter::normal_form::{Adapter, Component};

/// The modules that sites are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMatches {
    /// Sites with the paths of their modules, in the order of the adapters.
    pub found: Vec<(SiteRef, String)>,
    /// Sites without a module that a pattern allows.
    pub unused: Vec<Unused>,
    /// Sites of other components than the one that the model is.
    pub elsewhere: Vec<SiteRef>,
}

/// Finds the modules that the sites of `adapters` are for among `known`, all modules of a model. Whether an adapter's site
/// can be used there is for the caller to say: a module may have no branch, or one of other sizes. Only the groups of a
/// convolution are looked up in `graph`, because no branch tells them.
pub fn match_paths(
    graph: &Graph,
    known: &[String],
    adapters: &[Adapter],
    options: &MatchOptions<'_>,
) -> Result<PathMatches, MatchError> {
    let allowed = patterns(&options.allow_unused)?;
    let mut paths = Paths::of(known.iter().map(String::as_str));
    let (mut matches, mut unmatched) = (PathMatches::default(), Vec::new());
    for (place, site) in sites(adapters) {
        let is_elsewhere = |wanted| site.component != Component::Unnamed && site.component != wanted;
        if options.component.is_some_and(is_elsewhere) {
            matches.elsewhere.push(place);
            continue;
        }
        let why = match paths.find(site.component, &site.path) {
            Found::One(path) => match fit::check_groups_at(site, graph, &path) {
                Ok(()) => {
                    matches.found.push((place, path));
                    continue;
                }
                Err(why) => Why::Misfit { path, why },
            },
            Found::Several(paths) => Why::Several { paths },
            Found::None => {
                Why::Nothing { near: nearest(site.path.as_str(), known.iter().map(String::as_str)) }
            }
        };
        let name = site.full_name();
        if let Some((pattern, _)) = allowed.iter().find(|(_, pattern)| pattern.is_match(&name)) {
            matches.unused.push(Unused { site: place, pattern: pattern.clone() });
        } else {
            let adapter = adapters[place.adapter].name.clone();
            unmatched.push(Unmatched { adapter, site: name, why });
        }
    }
    if unmatched.is_empty() { Ok(matches) } else { Err(MatchError::Unmatched(unmatched)) }
}
