//! Adapters: read, matched with the layers of a model, and bound to its inputs.
//!
//! Readers and matching are in `quad-frontends`, the graph's side in `quad-passes`; this is where they meet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quad_frontends::adapter::branches;
use quad_frontends::adapter::matching::{self, MatchError, MatchOptions, Matches, SiteRef};
use quad_frontends::adapter::{self, AdapterError, AdapterSite, Component, ReadOptions};
use quad_frontends::data::safetensors::{SafeTensorsError, SafeTensorsFile};
use quad_ir::graph::Graph;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::tensor::TensorError;
use quad_passes::check::PACK;
use quad_passes::context::Context;
use quad_passes::lora::expose::{self, Options, Site};
use quad_passes::lora::hoist::HoistAdapter;
use quad_passes::lora::interface::{self, Interface, InterfaceError};
use quad_passes::lora::lift::{self, Branch};
use quad_passes::lora::pack::{self, Adapter, Factors, PackError, Share};
use quad_passes::pass::{Pass, PassError};
use quad_quantize::slots::{self, Clipping, FillError, Filled};

use crate::model::OpenError;

/// An adapter on disk and its strength.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// File or folder.
    pub path: PathBuf,
    /// What its change is multiplied with.
    pub strength: f64,
}

/// Which rank the sites of a model get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Room for any one of the adapters: the same everywhere.
    Largest,
    /// Room for all adapters together.
    Sum,
    /// So much.
    Fixed(u64),
}

/// How a model is made to take adapters.
#[derive(Debug)]
pub struct Settings<'s> {
    /// The rank of every site.
    pub rank: Rank,
    /// The form of the branches.
    pub options: Options,
    /// Patterns of sites that may have no layer.
    pub allow_unused: &'s [String],
    /// The checkpoint that the model was exported from.
    pub base: Option<&'s SafeTensorsFile>,
}

/// A model that takes adapters.
#[derive(Debug)]
pub struct Prepared {
    /// The model.
    pub module: Module,
    /// The adapters that were given, in their order, with the paths of the model.
    pub adapters: Vec<Adapter>,
    /// The adapter that the model was exported with.
    pub lifted: Option<Adapter>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// Clipped slots that a message names.
const MAX_CLIPPED: usize = 5;

/// A model and adapters do not come together.
#[derive(Debug, thiserror::Error)]
pub enum AdapterFailure {
    /// An adapter could not be read.
    #[error(transparent)]
    Read(#[from] AdapterError),
    /// A checkpoint could not be read.
    #[error(transparent)]
    File(#[from] SafeTensorsError),
    /// A layer was not found.
    #[error(transparent)]
    Match(#[from] MatchError),
    /// What a model takes could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The inputs for adapters are not what they should be.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A pass failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Slots could not be filled.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// A factor is not what its layer needs.
    #[error("adapter `{adapter}`, site `{site}`: {error}")]
    Tensor {
        /// The adapter.
        adapter: String,
        /// The layer.
        site: String,
        /// What is wrong with the factor.
        error: TensorError,
    },
    /// The model could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no graph that runs.
    #[error("no graph of the model runs: there are several, and none is called @main")]
    NoMain,
    /// A branch stands beside a layer without a name.
    #[error(
        "the branch of an adapter in the model stands beside {0}, of which nobody says which module it is"
    )]
    Nameless(String),
    /// A site has no room for an adapter.
    #[error("rank {given} is too little: site `{path}` needs {needed}")]
    Rank {
        /// The rank of all sites.
        given: u64,
        /// The site.
        path: String,
        /// The rank that an adapter has there.
        needed: u64,
    },
    /// The model has no inputs for adapters.
    #[error("the model takes no adapter yet: `quad lora expose` makes a model that does")]
    NotExposed,
    /// A checkpoint was given for a model that needs none.
    #[error(
        "--base: the model takes adapters already; the checkpoint is compared with the weights of a model that does not, \
         when `quad lora expose` makes it do so"
    )]
    BaseTooLate,
}

/// Reads `PATH` or `PATH=STRENGTH`.
pub fn given(text: &str) -> Result<Given, String> {
    let plain = || Given { path: text.into(), strength: 1.0 };
    let Some((path, strength)) = text.rsplit_once('=') else { return Ok(plain()) };
    match strength.trim().parse::<f64>() {
        Ok(strength) if strength.is_finite() => Ok(Given { path: path.into(), strength }),
        Ok(_) => Err("expected a strength that is a number, such as 0.7".to_owned()),
        // A path may have an equals sign itself.
        Err(_) if PathBuf::from(text).exists() => Ok(plain()),
        Err(_) => Err("expected PATH or PATH=STRENGTH, such as style.safetensors=0.7".to_owned()),
    }
}

/// Reads the adapters at `paths`; what is odd about them is added to `notes`.
pub fn read<'p>(
    paths: impl IntoIterator<Item = &'p PathBuf>,
    notes: &mut Vec<String>,
) -> Result<Vec<adapter::Adapter>, AdapterError> {
    let mut adapters = Vec::new();
    for path in paths {
        let adapter = adapter::read(path, &ReadOptions::default())?;
        notes.extend(adapter.warnings.iter().map(|warning| format!("adapter `{}`: {warning}", adapter.name)));
        adapters.push(adapter);
    }
    Ok(adapters)
}

/// Makes `module` take `adapters`, unless it does already.
pub fn prepare(
    mut module: Module,
    adapters: &[adapter::Adapter],
    settings: &Settings<'_>,
) -> Result<Prepared, AdapterFailure> {
    let interface = Interface::of(&module)?;
    if !interface.sites.is_empty() {
        return by_path(module, &interface, adapters, settings);
    }
    let graph = main_mut(&mut module).ok_or(AdapterFailure::NoMain)?;
    let mut cx = Context::default();
    let lifted = lift_branches(graph, &mut cx)?;
    let matches = matching::match_sites(graph, adapters, &match_options(settings))?;
    let mut notes = matches.notes.clone();
    notes.extend(matches.unused.iter().map(|unused| unused_note(adapters, unused.site, &unused.pattern)));
    let found = lifted.as_ref().map_or(&[][..], |lifted| &lifted.sites);
    let sites = sites(found, &matches, adapters, settings.rank)?;
    let modules = matching::modules(graph, Component::Unnamed);
    expose::expose(graph, &sites, settings.options, &mut cx)?;
    interface::set_modules(graph, modules.paths(Component::Unnamed));
    graph.compact();
    let adapters = fitted(&matches, adapters)?;
    Ok(Prepared { module, adapters, lifted: lifted.map(|lifted| lifted.adapter), notes })
}

/// The graph of `module` that runs.
fn main_mut(module: &mut Module) -> Option<&mut Graph> {
    let only = module.graphs.len() == 1;
    module.graphs.iter_mut().find(|graph| only || &**graph.name() == "main")
}

/// The sites of a model: those `found` in it and those that adapters match, by path.
fn sites(
    found: &[Site],
    matches: &Matches,
    adapters: &[adapter::Adapter],
    rank: Rank,
) -> Result<Vec<Site>, AdapterFailure> {
    let mut sites: BTreeMap<&str, Site> =
        found.iter().map(|site| (site.path.as_str(), site.clone())).collect();
    for target in &matches.targets {
        let ranks = target.sites.iter().map(|place| adapters[place.adapter].sites[place.site].rank() as u64);
        let needed = match rank {
            Rank::Sum => ranks.sum(),
            Rank::Largest | Rank::Fixed(_) => ranks.max().unwrap_or(0),
        };
        let layers = target.nodes.iter().map(|product| product.node).collect();
        let site = sites.entry(&target.path).or_insert(Site { path: target.path.clone(), layers, rank: 0 });
        site.rank = site.rank.max(needed);
    }
    let mut sites: Vec<Site> = sites.into_values().collect();
    set_ranks(&mut sites, rank)?;
    Ok(sites)
}

/// The adapters with the paths of the model, and with factors that lie as its layers need them.
fn fitted(matches: &Matches, adapters: &[adapter::Adapter]) -> Result<Vec<Adapter>, AdapterFailure> {
    let mut fitted: Vec<Adapter> = adapters.iter().map(|adapter| empty(&adapter.name)).collect();
    for target in &matches.targets {
        for place in &target.sites {
            let adapter = &adapters[place.adapter];
            let site = &adapter.sites[place.site];
            let (lora_a, lora_b) =
                matching::fitted(target, site).map_err(|error| tensor_failure(&adapter.name, site, error))?;
            let (path, scale) = (target.path.clone(), vec![site.scale; site.rank()]);
            fitted[place.adapter].sites.push(Factors { path, lora_a, lora_b, scale });
        }
    }
    Ok(fitted)
}

/// Moves what depends on the adapter alone into `@pack`.
pub fn hoist(module: &mut Module) -> Result<(), PassError> {
    HoistAdapter.run_module(module, &mut Context::default())?;
    for graph in &mut module.graphs {
        graph.compact();
    }
    Ok(())
}

/// What the graph of `prepared` that runs takes for some of its adapters, given by number and strength.
pub fn bind(
    prepared: &Prepared,
    shares: impl IntoIterator<Item = (usize, f64)>,
) -> Result<NamedTensors, PackError> {
    pack::pack(&prepared.module, &chosen(prepared, shares))
}

/// As [`bind`], with what was clipped of slots that store integers.
pub fn fill(
    prepared: &Prepared,
    shares: impl IntoIterator<Item = (usize, f64)>,
) -> Result<Filled, AdapterFailure> {
    let interface = Interface::of(&prepared.module)?;
    let bound = pack::bind(&interface, &chosen(prepared, shares))?;
    match prepared.module.graph(PACK) {
        Some(pack) => Ok(slots::fill(pack, &bound)?),
        None => Ok(Filled { slots: bound, clipping: Vec::new() }),
    }
}

fn chosen(prepared: &Prepared, shares: impl IntoIterator<Item = (usize, f64)>) -> Vec<Share<'_>> {
    let share = |(index, strength)| Share { adapter: &prepared.adapters[index], strength };
    shares.into_iter().map(share).collect()
}

/// What to tell of slots that are clipped, those of which most is lost first; `None` where none is.
pub fn clipped(clipping: &[Clipping]) -> Option<String> {
    let mut clipped: Vec<&Clipping> = clipping.iter().filter(|slot| slot.clipped > 0).collect();
    clipped.sort_by(|a, b| b.share().total_cmp(&a.share()).then_with(|| a.slot.cmp(&b.slot)));
    let more = clipped.len().saturating_sub(MAX_CLIPPED);
    let shown = clipped.iter().take(MAX_CLIPPED);
    let shown: Vec<String> =
        shown.map(|slot| format!("{:.2} % of `{}`", 100.0 * slot.share(), slot.slot)).collect();
    let more = if more > 0 { format!(" and of {more} more slots") } else { String::new() };
    (!clipped.is_empty()).then(|| {
        format!(
            "the adapter is beyond what the model can store, and is cut off there: {}{more}; the model was quantized for \
             smaller adapters",
            shown.join(", ")
        )
    })
}

/// A model whose layers have branches already: modules are found by their paths alone.
fn by_path(
    module: Module,
    interface: &Interface,
    adapters: &[adapter::Adapter],
    settings: &Settings<'_>,
) -> Result<Prepared, AdapterFailure> {
    if settings.base.is_some() {
        return Err(AdapterFailure::BaseTooLate);
    }
    let known = interface::modules(&module, interface);
    let main = module.main().ok_or(AdapterFailure::NoMain)?;
    let matches = matching::match_paths(main, &known, adapters, &match_options(settings))?;
    let notes =
        matches.unused.iter().map(|unused| unused_note(adapters, unused.site, &unused.pattern)).collect();
    let mut given: Vec<Adapter> = adapters.iter().map(|adapter| empty(&adapter.name)).collect();
    for (place, path) in matches.found {
        let site = &adapters[place.adapter].sites[place.site];
        let scale = vec![site.scale; site.rank()];
        let (lora_a, lora_b) = (site.lora_a.clone(), site.lora_b.clone());
        given[place.adapter].sites.push(Factors { path, lora_a, lora_b, scale });
    }
    Ok(Prepared { module, adapters: given, lifted: None, notes })
}

/// Takes the branches out of `graph` that it was exported with.
fn lift_branches(graph: &mut Graph, cx: &mut Context) -> Result<Option<lift::Lifted>, AdapterFailure> {
    let mut found = Vec::new();
    for branch in branches::find(graph) {
        let layer = graph.node(branch.layer);
        let path =
            matching::module_of(layer).ok_or_else(|| AdapterFailure::Nameless(layer.loc().to_string()))?;
        let branches::Branch { join, layer, down, up, scale, .. } = branch;
        found.push(Branch { path, join, layer, down, up, scale });
    }
    if found.is_empty() { Ok(None) } else { Ok(Some(lift::lift(graph, &found, cx)?)) }
}

/// One rank for all sites, unless each has room for what it needs alone.
fn set_ranks(sites: &mut [Site], rank: Rank) -> Result<(), AdapterFailure> {
    let largest = sites.iter().map(|site| site.rank).max().unwrap_or(0);
    let common = match rank {
        Rank::Sum => return Ok(()),
        Rank::Largest => largest,
        Rank::Fixed(given) => given,
    };
    for site in sites {
        if site.rank > common {
            let (path, needed) = (site.path.clone(), site.rank);
            return Err(AdapterFailure::Rank { given: common, path, needed });
        }
        site.rank = common;
    }
    Ok(())
}

fn match_options<'s>(settings: &Settings<'s>) -> MatchOptions<'s> {
    let allow_unused = settings.allow_unused.to_vec();
    MatchOptions { allow_unused, base: settings.base, ..MatchOptions::default() }
}

fn empty(name: &str) -> Adapter {
    Adapter { name: name.to_owned(), sites: Vec::new() }
}

fn unused_note(adapters: &[adapter::Adapter], site: SiteRef, pattern: &str) -> String {
    let adapter = &adapters[site.adapter];
    let name = adapter.sites[site.site].full_name();
    format!("adapter `{}`: `{name}` is not in the model, which `{pattern}` allows", adapter.name)
}

fn tensor_failure(adapter: &str, site: &AdapterSite, error: TensorError) -> AdapterFailure {
    AdapterFailure::Tensor { adapter: adapter.to_owned(), site: site.full_name(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_strengths() {
        let read = |text: &str| given(text).map(|given| (given.path, given.strength));
        assert_eq!(read("a/b.safetensors"), Ok(("a/b.safetensors".into(), 1.0)));
        assert_eq!(read("a.safetensors=0.5"), Ok(("a.safetensors".into(), 0.5)));
        assert_eq!(read("a=b=-2"), Ok(("a=b".into(), -2.0)));
        for wrong in ["a.safetensors=much", "a=inf", "a=nan"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
