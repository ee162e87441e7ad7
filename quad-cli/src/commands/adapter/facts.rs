//! What there is to say about an adapter, in the form that `--json` prints.

use std::collections::BTreeMap;

use quad_frontends::adapter::{Adapter, AdapterSite};
use serde::Serialize;

/// Everything about one adapter.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    /// Path of the file or folder.
    pub(super) file: String,
    pub(super) dialect: &'static str,
    /// Number of sites by component; the empty name where the file does not say.
    pub(super) components: BTreeMap<&'static str, usize>,
    pub(super) elements: u64,
    pub(super) bytes: u64,
    pub(super) sites: Vec<Site>,
    pub(super) warnings: Vec<String>,
}

/// One site.
#[derive(Debug, Serialize)]
pub(super) struct Site {
    component: &'static str,
    path: String,
    pub(super) kind: &'static str,
    pub(super) form: &'static str,
    pub(super) dtype: &'static str,
    pub(super) rank: usize,
    pub(super) alpha: Option<f64>,
    pub(super) scale: f64,
    /// Shape of the factor that reduces to the rank.
    lora_a: Vec<usize>,
    /// Shape of the factor that leads back.
    lora_b: Vec<usize>,
    /// The largest magnitudes of their elements.
    pub(super) lora_a_absmax: f32,
    pub(super) lora_b_absmax: f32,
}

impl Facts {
    pub(super) fn of(adapter: &Adapter) -> Self {
        let mut components = BTreeMap::new();
        let (mut elements, mut bytes) = (0, 0);
        for site in &adapter.sites {
            *components.entry(site.component.name()).or_default() += 1;
            for factor in [&site.lora_a, &site.lora_b] {
                elements += factor.len() as u64;
                bytes += factor.bytes().len() as u64;
            }
        }
        Self {
            file: adapter.source.display().to_string(),
            dialect: adapter.dialect.name(),
            components,
            elements,
            bytes,
            sites: adapter.sites.iter().map(Site::of).collect(),
            warnings: adapter.warnings.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Site {
    fn of(site: &AdapterSite) -> Self {
        let (lora_a_absmax, lora_b_absmax) = site.absmax();
        Self {
            component: site.component.name(),
            path: site.path.to_string(),
            kind: site.kind.name(),
            form: site.form.name(),
            dtype: site.lora_a.dtype().name(),
            rank: site.rank(),
            alpha: site.alpha,
            scale: site.scale,
            lora_a: site.lora_a.sizes().to_vec(),
            lora_b: site.lora_b.sizes().to_vec(),
            lora_a_absmax,
            lora_b_absmax,
        }
    }
}
