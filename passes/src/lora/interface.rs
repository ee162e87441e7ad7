//! What a module takes of an adapter: the sites that are exposed, read off the inputs.
//!
//! The inputs of `@pack`, or of the graph that runs where there is no `@pack` yet, tell everything: their names hold the
//! module paths, their sizes channels, kernel and rank.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, ValueRef};
use quad_ir::module::Module;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::types::TensorType;

use crate::check::PACK;

/// The end of the name of the factor that reduces to the rank.
pub const LORA_A: &str = "lora_A";
/// The end of the name of the factor that leads back to the layer's channels.
pub const LORA_B: &str = "lora_B";
/// The end of the name of what each rank is multiplied with.
pub const LORA_SCALE: &str = "lora_scale";

/// The entry of a graph's metadata that lists the paths of all modules that an adapter could be for, with spaces between.
/// Names with underscores for dots, which some files have, can only be told apart by all modules of a model.
const MODULES: &str = "lora.modules";

/// Notes the paths of all modules of the model that `graph` was made from.
pub fn set_modules<'p>(graph: &mut Graph, paths: impl IntoIterator<Item = &'p str>) {
    let paths: Vec<&str> = paths.into_iter().collect();
    graph.metadata_mut().insert(MODULES.to_owned(), paths.join(" "));
}

/// The paths of all modules that `module` was made from, as far as that is noted, and those of its sites.
pub fn modules(module: &Module, interface: &Interface) -> Vec<String> {
    let noted = module.main().and_then(|main| main.metadata().get(MODULES));
    let noted = noted.into_iter().flat_map(|paths| paths.split(' ')).filter(|path| !path.is_empty());
    let mut paths: Vec<String> =
        noted.chain(interface.sites.keys().map(String::as_str)).map(str::to_owned).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// The sites of a module, by module path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The sites.
    pub sites: BTreeMap<String, SiteTypes>,
}

/// What one site takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteTypes {
    /// `[rank, in]`, or `[rank, in, kernel..]` for a convolution.
    pub lora_a: TensorType,
    /// `[out, rank]`.
    pub lora_b: TensorType,
    /// `[rank]`.
    pub scale: TensorType,
}

/// The inputs of a module are not those of sites.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// The name says of no site what it is.
    #[error(
        "adapter input `{0}` is of no site: names end with `.lora_A`, `.lora_B` or `.lora_scale` before an adapter is \
         packed"
    )]
    Name(String),
    /// An input is missing.
    #[error("site `{path}` has no input `{path}.{part}`")]
    Missing {
        /// The module path.
        path: String,
        /// The end of the name.
        part: &'static str,
    },
    /// The sizes do not fit together.
    #[error("site `{path}`: inputs of types {found} are not those of a low-rank branch")]
    Sizes {
        /// The module path.
        path: String,
        /// The types.
        found: String,
    },
}

/// The graph of `module` that takes the tensors of an adapter: `@pack`, or the one that runs.
pub fn adapter_graph(module: &Module) -> Option<&Graph> {
    module.graph(PACK).or_else(|| module.main())
}

/// The inputs of `graph` that depend on an adapter.
pub fn adapter_inputs(graph: &Graph) -> impl Iterator<Item = ValueRef<'_>> {
    let is_adapter = |input: &ValueRef<'_>| {
        input.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Adapter)
    };
    graph.inputs().filter(is_adapter)
}

impl Interface {
    /// The sites of `module`; none where nothing is exposed.
    pub fn of(module: &Module) -> Result<Self, InterfaceError> {
        let mut parts: BTreeMap<String, [Option<TensorType>; 3]> = BTreeMap::new();
        for input in adapter_graph(module).into_iter().flat_map(adapter_inputs) {
            let name = input.name().map_or("", |name| &**name);
            let split = name.rsplit_once('.');
            let part = split.and_then(|(path, part)| {
                let index = [LORA_A, LORA_B, LORA_SCALE].iter().position(|known| *known == part)?;
                Some((path, index))
            });
            let (path, index) = part.ok_or_else(|| InterfaceError::Name(name.to_owned()))?;
            parts.entry(path.to_owned()).or_default()[index] = Some(input.ty().clone());
        }
        let sites: Result<BTreeMap<String, SiteTypes>, InterfaceError> =
            parts.into_iter().map(|(path, parts)| Ok((path.clone(), SiteTypes::of(&path, parts)?))).collect();
        Ok(Self { sites: sites? })
    }

    /// The smallest rank that adapters are padded to; `None` without sites.
    pub fn rank(&self) -> Option<u64> {
        self.sites.values().map(SiteTypes::rank).min()
    }
}

impl SiteTypes {
    fn of(path: &str, [a, b, scale]: [Option<TensorType>; 3]) -> Result<Self, InterfaceError> {
        let part = |ty: Option<TensorType>, part| {
            ty.ok_or_else(|| InterfaceError::Missing { path: path.to_owned(), part })
        };
        let site =
            Self { lora_a: part(a, LORA_A)?, lora_b: part(b, LORA_B)?, scale: part(scale, LORA_SCALE)? };
        let sizes = |ty: &TensorType| ty.shape.as_known().map(|sizes| sizes.to_vec());
        let fits = match (sizes(&site.lora_a), sizes(&site.lora_b), sizes(&site.scale)) {
            (Some(a), Some(b), Some(scale)) => {
                a.len() >= 2 && b.len() == 2 && scale.len() == 1 && a[0] == b[1] && a[0] == scale[0]
            }
            _ => false,
        };
        let found = || format!("{}, {} and {}", site.lora_a, site.lora_b, site.scale);
        if fits { Ok(site) } else { Err(InterfaceError::Sizes { path: path.to_owned(), found: found() }) }
    }

    /// The rank that adapters are padded to.
    pub fn rank(&self) -> u64 {
        self.scale.shape.as_known().and_then(|sizes| sizes.first().copied()).unwrap_or(0)
    }

    /// Channels that go into the layer.
    pub fn channels_in(&self) -> u64 {
        self.lora_a.shape.as_known().map_or(0, |sizes| sizes[1])
    }

    /// Channels that come out of it.
    pub fn channels_out(&self) -> u64 {
        self.lora_b.shape.as_known().map_or(0, |sizes| sizes[0])
    }

    /// Sizes of its kernel; none for a matrix product.
    pub fn kernel(&self) -> Vec<u64> {
        self.lora_a.shape.as_known().map_or_else(Vec::new, |sizes| sizes[2..].to_vec())
    }
}
