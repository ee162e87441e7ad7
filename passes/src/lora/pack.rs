//! Packing: from adapters to the tensors that a module takes.
//!
//! [`bind`] lays the factors of one or several adapters out over the sites of a module: padded with zeros to the common
//! rank, adapters one behind the other along it, each with its scale times its strength. Sites that an adapter does not
//! have are zeros; a site that the module does not have is an error. [`pack`] runs `@pack` on that, which gives slots.

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::interpret::{Interpreter, NamedTensors, RunError};
use quad_ir::module::Module;
use quad_ir::tensor::{Tensor, TensorError};

use super::interface::{Interface, InterfaceError, LORA_A, LORA_B, LORA_SCALE, SiteTypes};
use crate::check::PACK;

/// The change of one layer: `scale * lora_b(lora_a(x))` is added to its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// The module's path.
    pub path: String,
    /// `[rank, in]` or `[rank, in, kernel..]`.
    pub lora_a: Tensor,
    /// `[out, rank]`.
    pub lora_b: Tensor,
    /// What each rank is multiplied with: as many numbers as there are ranks.
    pub scale: Vec<f64>,
}

/// The factors of all layers that an adapter changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// What messages call it.
    pub name: String,
    /// Its sites.
    pub sites: Vec<Factors>,
}

/// An adapter and how strongly it acts.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// What its change is multiplied with: 1 is the change that it was trained for.
    pub strength: f64,
}

/// Sites that a message lists.
const MAX_LISTED: usize = 5;

/// Elements of a factor beyond which a module is refused: sizes in a file must not exhaust the machine.
const MAX_ELEMENTS: u64 = 1 << 28;

/// Adapters do not fit a module.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The inputs of the module are not those of sites.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The module has no sites at all.
    #[error("the model takes no adapter: no layer of it is exposed")]
    NotExposed,
    /// Sites of an adapter are not those of the module.
    #[error("adapter `{adapter}`: {count} of its {total} sites are not in the model: {}", .sites.join(", "))]
    UnknownSites {
        /// The adapter.
        adapter: String,
        /// How many.
        count: usize,
        /// How many sites it has.
        total: usize,
        /// The first of them.
        sites: Vec<String>,
    },
    /// A site is there twice.
    #[error("adapter `{adapter}` has site `{path}` twice")]
    Twice {
        /// The adapter.
        adapter: String,
        /// The site.
        path: String,
    },
    /// A factor does not fit the layer.
    #[error(
        "adapter `{adapter}`, site `{path}`: {part} is {found:?}, expected {expected:?} for its rank and the layer"
    )]
    Sizes {
        /// The adapter.
        adapter: String,
        /// The site.
        path: String,
        /// Which factor.
        part: &'static str,
        /// Its sizes.
        found: Vec<usize>,
        /// Sizes that would fit.
        expected: Vec<usize>,
    },
    /// The ranks of the adapters together are larger than the common rank.
    #[error(
        "site `{path}` needs rank {needed} for {adapters}, the model has {rank}: expose it with rank {needed} or more, \
         or give it fewer adapters"
    )]
    Rank {
        /// The site.
        path: String,
        /// The adapters with their ranks.
        adapters: String,
        /// Their ranks together.
        needed: usize,
        /// The common rank.
        rank: usize,
    },
    /// A scale or strength is no number.
    #[error("adapter `{adapter}`, site `{path}`: the scale times the strength is {scale}, expected a number")]
    Scale {
        /// The adapter.
        adapter: String,
        /// The site.
        path: String,
        /// The product.
        scale: f64,
    },
    /// The module takes more than a machine should be asked for.
    #[error("site `{path}` takes {types}, which is more than {MAX_ELEMENTS} elements")]
    TooLarge {
        /// The site.
        path: String,
        /// The type of a factor.
        types: String,
    },
    /// A factor could not be read.
    #[error("adapter `{adapter}`, site `{path}`: {error}")]
    Tensor {
        /// The adapter.
        adapter: String,
        /// The site.
        path: String,
        /// Why.
        error: TensorError,
    },
    /// `@pack` did not run.
    #[error("the graph @pack could not be run: {0}")]
    Run(#[from] RunError),
}

/// What `module` takes for the adapters `shares`: the inputs of the graph that runs which depend on an adapter.
pub fn pack(module: &Module, shares: &[Share<'_>]) -> Result<NamedTensors, PackError> {
    let bound = bind(&Interface::of(module)?, shares)?;
    match module.graph(PACK) {
        Some(pack) => Ok(Interpreter::new(pack).run(&bound)?),
        None => Ok(bound),
    }
}

/// The tensors of all sites of `interface`, for the adapters `shares`.
pub fn bind(interface: &Interface, shares: &[Share<'_>]) -> Result<NamedTensors, PackError> {
    if interface.sites.is_empty() && !shares.is_empty() {
        return Err(PackError::NotExposed);
    }
    let mut by_path: BTreeMap<&str, Vec<Portion<'_>>> = BTreeMap::new();
    for share in shares {
        check_sites(interface, share.adapter)?;
        for factors in &share.adapter.sites {
            let portion = Portion { adapter: &share.adapter.name, factors, strength: share.strength };
            by_path.entry(&factors.path).or_default().push(portion);
        }
    }
    let mut tensors = NamedTensors::new();
    for (path, types) in &interface.sites {
        let portions = by_path.get(path.as_str()).map_or(&[][..], Vec::as_slice);
        for (part, tensor) in [LORA_A, LORA_B, LORA_SCALE].into_iter().zip(lay_out(path, types, portions)?) {
            tensors.insert(format!("{path}.{part}"), tensor);
        }
    }
    Ok(tensors)
}

/// Every site of `adapter` is one of `interface`, and is there once.
fn check_sites(interface: &Interface, adapter: &Adapter) -> Result<(), PackError> {
    let mut paths: Vec<&str> = adapter.sites.iter().map(|factors| factors.path.as_str()).collect();
    paths.sort_unstable();
    if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(PackError::Twice { adapter: adapter.name.clone(), path: twice[0].to_owned() });
    }
    let unknown = paths.iter().filter(|path| !interface.sites.contains_key(**path));
    let (count, total) = (unknown.clone().count(), paths.len());
    if count == 0 {
        return Ok(());
    }
    let sites = unknown.take(MAX_LISTED).map(|path| format!("`{path}`")).collect();
    Err(PackError::UnknownSites { adapter: adapter.name.clone(), count, total, sites })
}

/// The factors of one site of one adapter.
#[derive(Clone, Copy)]
struct Portion<'a> {
    adapter: &'a str,
    factors: &'a Factors,
    strength: f64,
}

impl Portion<'_> {
    fn rank(&self) -> usize {
        self.factors.lora_a.sizes().first().copied().unwrap_or(0)
    }

    fn sizes(&self, part: &'static str, found: &[usize], expected: Vec<usize>) -> PackError {
        let (adapter, path) = (self.adapter.to_owned(), self.factors.path.clone());
        PackError::Sizes { adapter, path, part, found: found.to_vec(), expected }
    }

    /// The elements of both factors and the gains, once their sizes are those of a branch with `inner` elements to a rank.
    fn elements(&self, types: &SiteTypes, inner: &[usize]) -> Result<[Vec<f32>; 3], PackError> {
        let Factors { lora_a: a, lora_b: b, scale, path } = self.factors;
        let rank = self.rank();
        let expected = [&[rank], inner].concat();
        if !lies_alike(a.sizes(), &expected) {
            return Err(self.sizes(LORA_A, a.sizes(), expected));
        }
        let expected = vec![types.channels_out() as usize, rank];
        if !lies_alike(b.sizes(), &expected) {
            return Err(self.sizes(LORA_B, b.sizes(), expected));
        }
        if scale.len() != rank {
            return Err(self.sizes(LORA_SCALE, &[scale.len()], vec![rank]));
        }
        let (adapter, path) = (self.adapter, path.as_str());
        let read = |tensor: &Tensor| {
            let named =
                |error| PackError::Tensor { adapter: adapter.to_owned(), path: path.to_owned(), error };
            if tensor.dtype() == DType::F64 {
                let elements = tensor.to_f64().map_err(named)?;
                return Ok(elements.into_iter().map(|element| element as f32).collect());
            }
            tensor.to_f32().map(|elements| elements.to_vec()).map_err(named)
        };
        let gain = |scale: &f64| {
            let product = scale * self.strength;
            let (adapter, path) = (adapter.to_owned(), path.to_owned());
            let is_number = (product as f32).is_finite();
            if is_number {
                Ok(product as f32)
            } else {
                Err(PackError::Scale { adapter, path, scale: product })
            }
        };
        Ok([read(a)?, read(b)?, scale.iter().map(gain).collect::<Result<_, _>>()?])
    }
}

/// Whether elements lie in the same order under both sizes, apart from how axes of a kernel are told apart: axes of size 1
/// at the end may be there or not, and a matrix may have all places of a kernel on its second axis.
fn lies_alike(found: &[usize], expected: &[usize]) -> bool {
    fn trimmed(sizes: &[usize]) -> &[usize] {
        let kept = sizes.iter().skip(2).rposition(|size| *size != 1).map_or(2, |last| last + 3);
        &sizes[..kept.min(sizes.len())]
    }
    let flat = |sizes: &[usize]| sizes.iter().product::<usize>();
    let is_flat = found.len() == 2 && found.first() == expected.first() && flat(found) == flat(expected);
    is_flat || trimmed(found) == trimmed(expected)
}

/// The three tensors of a site.
fn lay_out(path: &str, types: &SiteTypes, portions: &[Portion<'_>]) -> Result<[Tensor; 3], PackError> {
    for ty in [&types.lora_a, &types.lora_b] {
        // Four bytes to an element.
        if ty.byte_len().is_none_or(|bytes| bytes / 4 > MAX_ELEMENTS) {
            return Err(PackError::TooLarge { path: path.to_owned(), types: ty.to_string() });
        }
    }
    let rank = types.rank() as usize;
    let inner: Vec<usize> =
        std::iter::once(types.channels_in()).chain(types.kernel()).map(|size| size as usize).collect();
    let (length, out) = (inner.iter().product::<usize>(), types.channels_out() as usize);
    let needed: usize = portions.iter().map(Portion::rank).sum();
    if needed > rank {
        let list: Vec<String> =
            portions.iter().map(|portion| format!("`{}` ({})", portion.adapter, portion.rank())).collect();
        return Err(PackError::Rank { path: path.to_owned(), adapters: list.join(", "), needed, rank });
    }
    let (mut a, mut b, mut scale) = (vec![0.0; rank * length], vec![0.0; out * rank], vec![0.0; rank]);
    let mut at = 0;
    for portion in portions {
        let ranks = portion.rank();
        let [from_a, from_b, gains] = portion.elements(types, &inner)?;
        a[at * length..(at + ranks) * length].copy_from_slice(&from_a);
        for row in 0..out {
            let into = row * rank + at;
            b[into..into + ranks].copy_from_slice(&from_b[row * ranks..(row + 1) * ranks]);
        }
        scale[at..at + ranks].copy_from_slice(&gains);
        at += ranks;
    }
    let tensor = |sizes: &[usize], elements| {
        let named = |error| PackError::Tensor { adapter: String::new(), path: path.to_owned(), error };
        Tensor::from_vec(sizes, elements).map_err(named)
    };
    Ok([tensor(&[&[rank], &inner[..]].concat(), a)?, tensor(&[out, rank], b)?, tensor(&[rank], scale)?])
}

#[cfg(test)]
mod tests;
