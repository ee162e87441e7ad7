//! Making slots of an adapter with what a bundle has: the graph that packs, and the graph that runs without its weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::text;
use quad_quantize::rules::graph;
use serde::{Deserialize, Serialize};

use super::{BundleError, GRAPH, PACK_FILE, at};
use crate::adapters::{self, AdapterFailure, Prepared, Rank, Settings};
use crate::packed;
use crate::stages::TargetFacts;

/// The key under which a packed adapter names the encodings that it was packed by.
const ENCODINGS_KEY: &str = "quad.encodings";
/// The key under which it names the adapter that it was made of, by a digest of its contents.
const SOURCE_KEY: &str = "quad.source";

/// What packs adapters for one target.
#[derive(Debug)]
pub struct Packer {
    module: Module,
    /// What names the model in packed adapters.
    digest: String,
    /// What names its encodings.
    encodings: String,
}

/// What was cut off of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Packing {
    /// Numbers in all slots that are stored as integers.
    pub elements: u64,
    /// Those that are beyond what their slot can store.
    pub clipped: u64,
    /// The share of each slot that is cut off; those that are whole are left out.
    pub slots: BTreeMap<String, f64>,
}

impl Packing {
    /// The share that is cut off of all numbers.
    pub fn share(&self) -> f64 {
        self.clipped as f64 / self.elements.max(1) as f64
    }
}

impl Packer {
    /// What packs for the target in `folder`, of which `facts` are known.
    pub fn open(folder: &Path, facts: &TargetFacts) -> Result<Self, BundleError> {
        let path = folder.join(GRAPH);
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        // Weights without elements are zeros here: of this graph, only names and types are read.
        let main = graph::read(text.strip_prefix("quad 1\n\n").unwrap_or(&text))?;
        let pack = text::read_files(&folder.join(PACK_FILE))?;
        let graphs = std::iter::once(main).chain(pack.graphs).collect();
        Ok(Self {
            module: Module { graphs },
            digest: facts.model.clone(),
            encodings: facts.encodings.clone(),
        })
    }

    /// Packs the adapter at `path`, whose contents have the digest `source`, into the file `out`, under the name `name`.
    pub fn pack(
        &self,
        name: &str,
        path: &Path,
        source: &str,
        allow_unused: &[String],
        out: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Packing, BundleError> {
        let path = path.to_owned();
        let mut read = adapters::read([&path], notes).map_err(AdapterFailure::Read)?;
        for adapter in &mut read {
            name.clone_into(&mut adapter.name);
        }
        let mut prepared = self.prepared(&read, allow_unused)?;
        notes.append(&mut prepared.notes);
        let filled = adapters::fill(&prepared, [(0, 1.0)])?;
        let sources = format!("{name}=1");
        let more = [(ENCODINGS_KEY, self.encodings.as_str()), (SOURCE_KEY, source)];
        packed::write_for(out, &self.digest, &filled, &sources, &more)?;
        let cut = filled.clipping.iter().filter(|slot| slot.clipped > 0);
        Ok(Packing {
            elements: filled.clipping.iter().map(|slot| slot.elements as u64).sum(),
            clipped: filled.clipping.iter().map(|slot| slot.clipped as u64).sum(),
            slots: cut.map(|slot| (slot.slot.clone(), slot.share())).collect(),
        })
    }

    /// What the model takes for no adapter.
    pub fn base(&self) -> Result<NamedTensors, BundleError> {
        Ok(adapters::fill(&self.prepared(&[], &[])?, [])?.slots)
    }

    fn prepared(
        &self,
        read: &[quad_frontends::adapter::Adapter],
        allow_unused: &[String],
    ) -> Result<Prepared, AdapterFailure> {
        let settings = Settings { rank: Rank::Largest, options: <_>::default(), allow_unused, base: None };
        adapters::prepare(self.module.clone(), read, &settings)
    }
}
