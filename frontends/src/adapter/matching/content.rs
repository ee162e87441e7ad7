//! Layers by the content of their weights, compared with those of a checkpoint.

use std::collections::BTreeMap;

use quad_ir::dtype::DType;
use quad_ir::tensor::Tensor;
use quad_ir::weights::{Digest, Weights};
use rustc_hash::FxHashMap;

use super::MatchError;
use super::layers::Layers;
use crate::data::safetensors::SafeTensorsFile;

/// Which layers have the weights of a checkpoint.
pub(super) struct Contents {
    /// The layers with equal elements, by the path of the module in the checkpoint.
    layers: BTreeMap<String, Vec<usize>>,
}

impl Contents {
    /// Compares the matrices and kernels of `base` with the weights of `layers`. A checkpoint of other precision than
    /// the graph is rounded to that of the graph first.
    pub(super) fn of(layers: &Layers<'_>, base: &SafeTensorsFile) -> Result<Self, MatchError> {
        let mut by_digest: FxHashMap<Digest, Vec<usize>> = FxHashMap::default();
        let mut dtypes: Vec<DType> = Vec::new();
        for (index, product) in layers.products().iter().enumerate() {
            let Some(weight) = product.weight.weight() else { continue };
            let digest = product.node.graph().weights().digest(weight)?;
            by_digest.entry(digest).or_default().push(index);
            let dtype = product.weight.ty().dtype;
            if !dtypes.contains(&dtype) {
                dtypes.push(dtype);
            }
        }
        let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (name, tensor) in base.tensors() {
            let Some(module) = name.strip_suffix(".weight").filter(|_| tensor.rank() >= 2) else { continue };
            let wrong = |found: String| MatchError::Base {
                path: base.path().to_owned(),
                tensor: name.clone(),
                found,
            };
            let mut like = Vec::new();
            for dtype in &dtypes {
                for candidate in forms(tensor, *dtype).map_err(|error| wrong(error.to_string()))? {
                    like.extend(by_digest.get(&digest(&candidate)?).into_iter().flatten());
                }
            }
            like.sort_unstable();
            like.dedup();
            found.insert(module.to_owned(), like);
        }
        Ok(Self { layers: found })
    }

    /// The paths of the modules in the checkpoint.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// The layers with the weight that the checkpoint has for `module`; none where it has no such module.
    pub(super) fn layers_like(&self, module: &str) -> &[usize] {
        self.layers.get(module).map_or(&[], Vec::as_slice)
    }

    /// Whether the checkpoint has `module`.
    pub(super) fn has(&self, module: &str) -> bool {
        self.layers.contains_key(module)
    }

    /// The modules whose weights these layers have.
    pub(super) fn modules_like(&self, layers: &[usize]) -> Vec<String> {
        let same = self.layers.iter().filter(|(_, of)| *of == layers);
        same.map(|(module, _)| module.clone()).collect()
    }
}

/// `tensor` in elements of type `dtype`, and transposed where it is a matrix.
fn forms(tensor: &Tensor, dtype: DType) -> Result<Vec<Tensor>, quad_ir::tensor::TensorError> {
    let same = if tensor.dtype() == dtype {
        tensor.clone()
    } else {
        Tensor::from_f32(dtype, tensor.sizes(), &tensor.to_f32()?)?
    };
    let &[rows, columns] = same.sizes() else { return Ok(vec![same]) };
    let each = dtype.bits() as usize / 8;
    let mut bytes = Vec::with_capacity(same.bytes().len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * each;
            bytes.extend_from_slice(&same.bytes()[at..at + each]);
        }
    }
    let transposed = Tensor::new(dtype, &[columns, rows], bytes.into())?;
    Ok(vec![same, transposed])
}

fn digest(tensor: &Tensor) -> Result<Digest, MatchError> {
    let mut weights = Weights::default();
    let weight = weights.add_memory(tensor.ty(), tensor.bytes().clone())?;
    Ok(weights.digest(weight)?)
}
