//! What tests of adapters share.

#![allow(dead_code, clippy::allow_attributes, reason = "each test uses some of it")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use quad_frontends::adapter::{Adapter, AdapterSite};
use quad_ir::tensor::Tensor;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// The folder with the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// `scale * lora_b lora_a` of a site, with one row for each channel out.
pub(crate) fn delta(site: &AdapterSite) -> Vec<f64> {
    let elements = |tensor: &Tensor| tensor.to_f64().expect("floating-point numbers");
    let (a, b, rank) = (elements(&site.lora_a), elements(&site.lora_b), site.rank());
    let columns = a.len() / rank;
    let mut delta = Vec::with_capacity(b.len() / rank * columns);
    for row in b.chunks(rank) {
        for column in 0..columns {
            let sum: f64 = row.iter().enumerate().map(|(k, b)| b * a[k * columns + column]).sum();
            delta.push(site.scale * sum);
        }
    }
    delta
}

/// The differences of all sites by path.
pub(crate) fn deltas(adapter: &Adapter) -> BTreeMap<String, Vec<f64>> {
    adapter.sites.iter().map(|site| (site.path.to_string(), delta(site))).collect()
}

/// The largest difference between two adapters' differences relative to the largest element; the paths must be equal.
pub(crate) fn distance(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let mut worst = 0.0f64;
    for (path, a) in a {
        let b = &b[path];
        assert_eq!(a.len(), b.len(), "{path}");
        let largest = a.iter().fold(f64::MIN_POSITIVE, |largest, element| largest.max(element.abs()));
        let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        worst = worst.max(difference / largest);
    }
    worst
}

/// A safetensors file under construction.
#[derive(Default)]
pub(crate) struct Bundle {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Bundle {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor of `f32`.
    pub(crate) fn tensor(self, name: &str, sizes: &[usize], elements: &[f32]) -> Self {
        let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        self.raw(name, Dtype::F32, sizes, bytes)
    }

    /// Adds a tensor of `f32` with elements that differ.
    pub(crate) fn drawn(self, name: &str, sizes: &[usize]) -> Self {
        let element = |index: usize| ((index * 37 + name.len()) % 97) as f32 / 97.0 - 0.4;
        let elements: Vec<f32> = (0..sizes.iter().product()).map(element).collect();
        self.tensor(name, sizes, &elements)
    }

    /// Adds a tensor by its bytes.
    pub(crate) fn raw(mut self, name: &str, dtype: Dtype, sizes: &[usize], bytes: Vec<u8>) -> Self {
        self.tensors.push((name.to_owned(), dtype, sizes.to_vec(), bytes));
        self
    }

    /// The two factors `[rank, 6]` and `[5, rank]` of a linear layer, named by `down` and `up`.
    pub(crate) fn pair(self, down: &str, up: &str, rank: usize) -> Self {
        self.drawn(down, &[rank, 6]).drawn(up, &[5, rank])
    }

    pub(crate) fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) {
        let views = self.tensors.iter().map(|(name, dtype, sizes, bytes)| {
            (name, TensorView::new(*dtype, sizes.clone(), bytes).expect("as many bytes as the sizes say"))
        });
        let metadata = (!self.metadata.is_empty()).then(|| self.metadata.clone());
        std::fs::write(path, safetensors::serialize(views, metadata).expect("sound")).expect("written");
    }
}
