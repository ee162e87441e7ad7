//! Finds the layers of a graph that adapters are for.
//!
//! What says which module a product belongs to, best first:
//!
//! 1. the path that its exporter noted ([`Loc::path`](quad_ir::loc::Loc::path)), which for one exporter are the names of
//!    nodes;
//! 2. the name of its weight, where it still is that of a parameter (`mid_block.conv.weight`), or the path noted for it;
//! 3. the content of its weight, when the caller has the checkpoint: equal elements, transposed or not. It confirms the
//!    path or contradicts it, and decides where there is no path.
//!
//! Names are never matched by pieces. A path must be that of a module as a whole; a wrapper around the whole model may
//! stand before it, `text_model` may be missing or added, and a path of at least two segments may be the unique end of
//! another (containers that exporters leave out). Shapes must fit. Whatever finds no layer is an error with the nearest
//! modules, unless a pattern of the caller allows it.
//!
//! A module that is called twice is several products with one weight; all of them are its layer.

mod by_path;
mod content;
mod error;
mod fit;
mod layers;
mod paths;
mod search;

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeId, NodeRef};
use regex::Regex;

pub use by_path::{PathMatches, match_paths};
pub use error::{MatchError, Unmatched, Why};
pub use fit::fitted;

use self::content::Contents;
use self::layers::Layers;
use self::paths::Paths;
use self::search::Search;
use super::names::{Modules, nearest};
use super::normal_form::{Adapter, AdapterSite, Component, SiteKind};
use crate::data::safetensors::SafeTensorsFile;

/// What a caller decides about matching.
#[derive(Clone, Debug, Default)]
pub struct MatchOptions<'o> {
    /// The component that the graph is. Sites of other named components are left out and listed; without it every site
    /// must find its layer.
    pub component: Option<Component>,
    /// Patterns of sites that may have no layer, with `*` for any text: `text_encoder.*`.
    pub allow_unused: Vec<String>,
    /// The checkpoint that the graph was exported from.
    pub base: Option<&'o SafeTensorsFile>,
}

/// The layers of a graph that adapters are for.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    /// The layers, ordered by path.
    pub targets: Vec<Target>,
    /// Sites without a layer that a pattern allows.
    pub unused: Vec<Unused>,
    /// Sites of other components than the one that the graph is.
    pub elsewhere: Vec<SiteRef>,
    /// What was decided that is worth knowing.
    pub notes: Vec<String>,
}

/// A layer and the sites that adapt it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The path of the module as the graph has it.
    pub path: String,
    /// Its products: more than one when it is called several times. In the order of the graph.
    pub nodes: Vec<TargetNode>,
    /// Whether the products are matrix products or convolutions.
    pub kind: SiteKind,
    /// Channels that go in; over all groups of a convolution.
    pub channels_in: usize,
    /// Channels that come out.
    pub channels_out: usize,
    /// The kernel of a convolution; empty for a matrix product.
    pub kernel: Vec<usize>,
    /// The sites, at most one of each adapter.
    pub sites: Vec<SiteRef>,
}

/// A product of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetNode {
    /// The product: `matmul`, `gemm` or `conv`.
    pub node: NodeId,
    /// The number of the operand that is the weight.
    pub weight_operand: usize,
    /// How the weight lies there.
    pub layout: WeightLayout,
}

/// How a weight lies in the operand of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// Channels in, channels out.
    InOut,
    /// Channels out, channels in, as PyTorch keeps them; then the kernel.
    OutIn,
}

/// A site of one of the adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteRef {
    /// The index of the adapter.
    pub adapter: usize,
    /// The index of the site in it.
    pub site: usize,
}

/// A site without a layer that a pattern allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// The site.
    pub site: SiteRef,
    /// The pattern.
    pub pattern: String,
}

/// The paths of the modules of `graph` that an adapter could be for.
pub fn modules(graph: &Graph, component: Component) -> Modules {
    Modules::new().with(component, Layers::of(graph).paths().map(str::to_owned))
}

/// The path of the module that the product `node` belongs to; `None` when it is no product or nobody says.
pub fn module_of(node: NodeRef<'_>) -> Option<String> {
    layers::module_of(node)
}

/// Finds the layers of `graph` that the sites of `adapters` are for.
pub fn match_sites(
    graph: &Graph,
    adapters: &[Adapter],
    options: &MatchOptions<'_>,
) -> Result<Matches, MatchError> {
    let allowed = patterns(&options.allow_unused)?;
    let layers = Layers::of(graph);
    let contents = options.base.map(|base| Contents::of(&layers, base)).transpose()?;
    let paths = Paths::of(layers.paths());
    let mut search = Search::new(&layers, paths, contents.as_ref());
    let (mut found, mut unmatched) = (BTreeMap::<String, Vec<SiteRef>>::new(), Vec::new());
    for (place, site) in sites(adapters) {
        let is_elsewhere = |wanted| site.component != Component::Unnamed && site.component != wanted;
        if options.component.is_some_and(is_elsewhere) {
            search.matches.elsewhere.push(place);
            continue;
        }
        let mut why = match search.find(site) {
            Ok(path) => {
                found.entry(path).or_default().push(place);
                continue;
            }
            Err(why) => why,
        };
        let name = site.full_name();
        if let Some((pattern, _)) = allowed.iter().find(|(_, pattern)| pattern.is_match(&name)) {
            search.matches.unused.push(Unused { site: place, pattern: pattern.clone() });
            continue;
        }
        if let (Why::Nothing { near }, true) = (&mut why, unmatched.len() < error::MAX_LISTED) {
            *near = nearest(site.path.as_str(), layers.paths());
        }
        unmatched.push(Unmatched { adapter: adapters[place.adapter].name.clone(), site: name, why });
    }
    for (path, places) in found {
        match search.target(&path, &places, adapters) {
            Ok(target) => search.matches.targets.push(target),
            Err(more) => unmatched.extend(more),
        }
    }
    if unmatched.is_empty() { Ok(search.matches) } else { Err(MatchError::Unmatched(unmatched)) }
}

/// All sites with their places.
fn sites(adapters: &[Adapter]) -> impl Iterator<Item = (SiteRef, &AdapterSite)> {
    adapters.iter().enumerate().flat_map(|(adapter, of)| {
        of.sites.iter().enumerate().map(move |(index, site)| (SiteRef { adapter, site: index }, site))
    })
}

/// Patterns with their meaning.
fn patterns(patterns: &[String]) -> Result<Vec<(String, Regex)>, MatchError> {
    let meaning = |pattern: &String| {
        let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
        let regex = Regex::new(&format!("^{}$", parts.join(".*")));
        regex.map(|regex| (pattern.clone(), regex)).map_err(|_| MatchError::Pattern(pattern.clone()))
    };
    patterns.iter().map(meaning).collect()
}

#[cfg(test)]
mod tests;
