//! Brings together what paths and contents say of a site.

use std::collections::BTreeMap;

use super::content::Contents;
use super::error::{Unmatched, Why};
use super::layers::Layers;
use super::paths::{Found, Paths};
use super::{Matches, SiteRef, Target, fit};
use crate::adapter::branches::Product;
use crate::adapter::normal_form::{Adapter, AdapterSite};

/// A search at work.
pub(super) struct Search<'m, 'g> {
    layers: &'m Layers<'g>,
    paths: Paths<'m>,
    base: Option<Base<'m>>,
    /// Products of modules that only the checkpoint names, by its name for them.
    nameless: BTreeMap<String, Vec<usize>>,
    pub(super) matches: Matches,
}

/// A checkpoint.
struct Base<'m> {
    contents: &'m Contents,
    paths: Paths<'m>,
}

impl<'m, 'g> Search<'m, 'g> {
    pub(super) fn new(layers: &'m Layers<'g>, paths: Paths<'m>, contents: Option<&'m Contents>) -> Self {
        let base = contents.map(|contents| Base { contents, paths: Paths::of(contents.modules()) });
        Self { layers, paths, base, nameless: BTreeMap::new(), matches: Matches::default() }
    }

    /// The path of the module that `site` is for: the graph's name for it or, where that has none, the checkpoint's.
    pub(super) fn find(&mut self, site: &AdapterSite) -> Result<String, Why> {
        let by_path = self.paths.find(site.component, &site.path);
        let module = self.module_in_base(site, &by_path);
        let like = module.as_deref().map_or_else(Vec::new, |module| self.like(module));
        let mut alike: Vec<&str> = like.iter().map(|index| self.layers.path_of(*index)).collect();
        alike.retain(|path| !path.is_empty());
        alike.dedup();
        match by_path {
            Found::One(path) if like.is_empty() => match module {
                Some(module) if self.is_compared(&path) => Err(Why::OtherBase { module }),
                _ => Ok(path),
            },
            Found::One(path) if alike.contains(&path.as_str()) => Ok(path),
            Found::One(path) => {
                let content =
                    if alike.is_empty() { "a layer without a path".to_owned() } else { alike.join("`, `") };
                Err(Why::Conflict { path, content })
            }
            Found::Several(paths) => {
                match paths.iter().filter(|path| alike.contains(&path.as_str())).collect::<Vec<_>>()[..] {
                    [path] => Ok(path.clone()),
                    _ => Err(Why::Several { paths }),
                }
            }
            Found::None => match alike[..] {
                [path] => {
                    let note = format!("`{}` is `{path}`, by the content of its weight", site.full_name());
                    self.matches.notes.push(note);
                    Ok(path.to_owned())
                }
                [] if !like.is_empty() => self.without_path(like),
                // What is near is looked for later, for the sites that a message lists.
                _ => Err(Why::Nothing { near: Vec::new() }),
            },
        }
    }

    /// The module in the checkpoint that `site` is for; `None` where it has none.
    fn module_in_base(&mut self, site: &AdapterSite, by_path: &Found) -> Option<String> {
        let Base { contents, paths } = self.base.as_mut()?;
        let module = match (paths.find(site.component, &site.path), by_path) {
            (Found::One(module), _) => module,
            (_, Found::One(path)) => path.clone(),
            _ => return None,
        };
        contents.has(&module).then_some(module)
    }

    /// The layers that have the weight of `module` in the checkpoint.
    fn like(&self, module: &str) -> Vec<usize> {
        self.base.as_ref().map_or_else(Vec::new, |base| base.contents.layers_like(module).to_vec())
    }

    /// Whether the weights of the module at `path` could be compared with a checkpoint: one that the graph computes, from
    /// smaller elements say, has no content.
    fn is_compared(&self, path: &str) -> bool {
        let (products, _) = self.products(path);
        products.iter().all(|product| product.weight.weight().is_some())
    }

    /// The checkpoint's name for the module that `layers` are, which have no path in the graph.
    fn without_path(&mut self, layers: Vec<usize>) -> Result<String, Why> {
        let modules = self.base.as_ref().map(|base| base.contents.modules_like(&layers)).unwrap_or_default();
        match modules.as_slice() {
            [module] => {
                self.nameless.insert(module.clone(), layers);
                Ok(module.clone())
            }
            // Modules with equal weights cannot be told apart by them.
            _ => Err(Why::Several { paths: modules }),
        }
    }

    /// The layer at `path`, which `places` are for.
    pub(super) fn target(
        &mut self,
        path: &str,
        places: &[SiteRef],
        adapters: &[Adapter],
    ) -> Result<Target, Vec<Unmatched>> {
        let site = |place: SiteRef| &adapters[place.adapter].sites[place.site];
        let unmatched = |place: SiteRef, why: Why| Unmatched {
            adapter: adapters[place.adapter].name.clone(),
            site: site(place).full_name(),
            why,
        };
        let (products, calls) = self.products(path);
        // A module may hold other products too; the weights tell which of them the sites fit.
        let fits =
            |product: &&Product<'_>| places.iter().all(|place| fit::check(site(*place), product).is_ok());
        let fitting = self.with_content(path, products.iter().filter(fits).collect());
        let mut faults = Vec::new();
        for place in places.iter().filter(|_| fitting.is_empty()) {
            let misfit = products.iter().find_map(|product| fit::check(site(*place), product).err());
            faults.extend(misfit.map(|why| unmatched(*place, Why::Misfit { path: path.to_owned(), why })));
        }
        for pair in places.windows(2).filter(|pair| pair[0].adapter == pair[1].adapter) {
            let by = site(pair[0]).full_name();
            faults.push(unmatched(pair[1], Why::Taken { path: path.to_owned(), by }));
        }
        faults.extend(two_weights(path, &fitting).map(|why| unmatched(places[0], why)));
        if !faults.is_empty() {
            return Err(faults);
        }
        if calls > 0 {
            self.matches.notes.push(format!("`{path}` is called {} times, and adapted each time", calls + 1));
        }
        Ok(fit::target(path, &fitting, places))
    }

    /// The products of the module at `path`, and how many of them are further calls of it.
    fn products(&self, path: &str) -> (Vec<Product<'g>>, usize) {
        match self.nameless.get(path) {
            Some(layers) => {
                let products: Vec<_> = layers.iter().map(|index| self.layers.products()[*index]).collect();
                let calls = products.len() - 1;
                (products, calls)
            }
            None => self.layers.products_of(path, &|other| self.paths.is_wanted(other)),
        }
    }

    /// Those of `products` of the module at `path` that have its weight in the checkpoint; all of them where it says
    /// nothing of them.
    fn with_content<'p>(&self, path: &str, products: Vec<&'p Product<'g>>) -> Vec<&'p Product<'g>> {
        let Some(Base { contents, .. }) = &self.base else { return products };
        let like = contents.layers_like(path);
        let is_like = |product: &Product<'_>| {
            like.iter().any(|index| self.layers.products()[*index].node.id() == product.node.id())
        };
        let (alike, others): (Vec<_>, Vec<_>) = products.into_iter().partition(|product| is_like(product));
        if alike.is_empty() { others } else { alike }
    }
}

/// What is wrong when not all `products` of the module at `path` have one weight.
fn two_weights(path: &str, products: &[&Product<'_>]) -> Option<Why> {
    let first = products.first()?;
    let other = products.iter().find(|product| product.weight.id() != first.weight.id())?;
    let nodes = [first, other].map(|product| product.node.loc().to_string());
    Some(Why::TwoWeights { path: path.to_owned(), nodes: nodes.join(" and ") })
}
