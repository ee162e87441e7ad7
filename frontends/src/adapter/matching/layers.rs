//! The products of a graph that could be adapted, by the module they belong to.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeRef, ValueId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::adapter::branches::{self, Product};

/// The products with weights, branches of adapters left out.
pub(super) struct Layers<'g> {
    products: Vec<Product<'g>>,
    /// The module of each product; empty where nobody says.
    modules: Vec<String>,
    by_path: BTreeMap<String, Vec<usize>>,
    by_weight: FxHashMap<ValueId, Vec<usize>>,
}

impl<'g> Layers<'g> {
    pub(super) fn of(graph: &'g Graph) -> Self {
        let branches = branches::find(graph);
        let in_branch: FxHashSet<_> = branches.iter().flat_map(|branch| [branch.down, branch.up]).collect();
        let mut layers = Self {
            products: Vec::new(),
            modules: Vec::new(),
            by_path: BTreeMap::new(),
            by_weight: FxHashMap::default(),
        };
        for product in graph.nodes().filter_map(Product::of) {
            let path = path(&product);
            if in_branch.contains(&product.node.id()) {
                continue;
            }
            let index = layers.products.len();
            if !path.is_empty() {
                layers.by_path.entry(path.clone()).or_default().push(index);
            }
            layers.by_weight.entry(product.weight.id()).or_default().push(index);
            layers.products.push(product);
            layers.modules.push(path);
        }
        layers
    }

    /// The products in the order of the graph.
    pub(super) fn products(&self) -> &[Product<'g>] {
        &self.products
    }

    /// The path of the module of the product at `index`; empty where nobody says.
    pub(super) fn path_of(&self, index: usize) -> &str {
        &self.modules[index]
    }

    /// The paths of all modules, each once, sorted.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(String::as_str)
    }

    /// The products of the module at `path`, and how many of them are further calls of it.
    ///
    /// One exporter names the second call of a module `a` as if it were in a module `a_1`, even if there is one. A
    /// product at such a path with the weight of a product at `path` is a call of `path`, unless it is the only thing
    /// that a module with this path could be and an adapter is `wanted` to have it.
    pub(super) fn products_of(&self, path: &str, wanted: &dyn Fn(&str) -> bool) -> (Vec<Product<'g>>, usize) {
        let at = |path: &str| self.by_path.get(path).map_or(&[][..], Vec::as_slice);
        let own = |path: &str| -> Vec<usize> {
            let not_called = at(path).iter().copied().filter(|index| !self.is_call_of_another(*index));
            let own: Vec<usize> = not_called.collect();
            if own.is_empty() { at(path).to_vec() } else { own }
        };
        let mut indices = own(path);
        let first = indices.len();
        let weights: FxHashSet<ValueId> =
            indices.iter().map(|index| self.products[*index].weight.id()).collect();
        for index in weights.iter().filter_map(|weight| self.by_weight.get(weight)).flatten() {
            let other = &self.modules[*index];
            let is_own = wanted(other) && own(other).contains(index);
            if is_call(other, path) && !is_own {
                indices.push(*index);
            }
        }
        let calls = indices.len() - first;
        indices.sort_unstable();
        (indices.into_iter().map(|index| self.products[index]).collect(), calls)
    }

    /// Whether a product is a further call of a module elsewhere, by its path and its weight.
    fn is_call_of_another(&self, index: usize) -> bool {
        let path = &self.modules[index];
        let same_weight = &self.by_weight[&self.products[index].weight.id()];
        same_weight.iter().any(|other| is_call(path, &self.modules[*other]))
    }
}

/// The path of the module that `node` belongs to, when it is a product and somebody says.
pub(super) fn module_of(node: NodeRef<'_>) -> Option<String> {
    Product::of(node).map(|product| path(&product)).filter(|path| !path.is_empty())
}

/// The path of the module that a product belongs to; empty when nobody says.
fn path(product: &Product<'_>) -> String {
    let weight = product.weight;
    let of_weight = || weight.producer().loc().path().or(weight.name())?.strip_suffix(".weight");
    let path = product.node.loc().path().map(|path| &**path).or_else(of_weight);
    without_wrapper(path.unwrap_or_default()).to_owned()
}

/// `path` without what PEFT calls the layer inside of an adapted one: `base_layer`, and `base_layer_1` for another call.
fn without_wrapper(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((outer, inner)) if inner == "base_layer" || is_numbered(inner, "base_layer") => outer,
        _ => path,
    }
}

/// Whether `path` is how a further call of the module at `original` is named: with numbers after some segments.
fn is_call(path: &str, original: &str) -> bool {
    path != original
        && path.split('.').count() == original.split('.').count()
        && path
            .split('.')
            .zip(original.split('.'))
            .all(|(segment, of)| segment == of || is_numbered(segment, of))
}

/// Whether `segment` is `of`, an underscore and a number.
fn is_numbered(segment: &str, of: &str) -> bool {
    let number = segment.strip_prefix(of).and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
