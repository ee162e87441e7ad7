//! The adapter that a model was exported with, as a file that adapters are read from.
//!
//! Names are diffusers': `<module path>.lora_A.weight` and `.lora_B.weight`, with an `.alpha` beside them, so that the scale
//! is alpha over rank.

use std::collections::BTreeMap;
use std::path::Path;

use quad_frontends::data::safetensors::{self, WriteError};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::{Tensor, TensorError};
use quad_passes::lora::pack::{Adapter, Factors};

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LiftedError {
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A factor has other elements than floats.
    #[error("site `{site}`: {error}")]
    Tensor {
        /// The layer.
        site: String,
        /// What is wrong with the factor.
        error: TensorError,
    },
}

/// Writes `adapter` to the file `path`.
pub fn write(path: &Path, adapter: &Adapter) -> Result<(), LiftedError> {
    let mut tensors = NamedTensors::new();
    for site in &adapter.sites {
        let [a, b, alpha] =
            stored(site).map_err(|error| LiftedError::Tensor { site: site.path.clone(), error })?;
        tensors.insert(format!("{}.lora_A.weight", site.path), a);
        tensors.insert(format!("{}.lora_B.weight", site.path), b);
        tensors.insert(format!("{}.alpha", site.path), alpha);
    }
    Ok(safetensors::write(path, &tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]))?)
}

/// Both factors and alpha of a site. Where ranks have different scales, as those of several adapters have, they are
/// multiplied into the second factor.
fn stored(site: &Factors) -> Result<[Tensor; 3], TensorError> {
    let rank = site.scale.len();
    let (out, first) = (site.lora_b.sizes()[0], site.scale.first().copied().unwrap_or(1.0));
    let is_uniform = site.scale.iter().all(|scale| *scale == first);
    let (elements, alpha) = if is_uniform {
        (site.lora_b.to_f32()?.to_vec(), first * rank as f64)
    } else {
        let scaled = |(at, element): (usize, &f32)| (f64::from(*element) * site.scale[at % rank]) as f32;
        (site.lora_b.to_f32()?.iter().enumerate().map(scaled).collect(), rank as f64)
    };
    // The second factor of a convolution is one by one.
    let ones = vec![1; site.lora_a.rank() - 2];
    let lora_b = Tensor::from_vec(&[&[out, rank], &ones[..]].concat(), elements)?;
    Ok([site.lora_a.clone(), lora_b, Tensor::scalar(alpha as f32)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_become_alpha_or_part_of_the_second_factor() {
        let tensor =
            |sizes: &[usize], elements: &[f32]| Tensor::from_vec(sizes, elements.to_vec()).expect("as many");
        let mut site = Factors {
            path: "fc".to_owned(),
            lora_a: tensor(&[2, 1, 1, 1], &[1.0, 2.0]),
            lora_b: tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            scale: vec![0.5, 0.5],
        };
        let [_, b, alpha] = stored(&site).expect("floats");
        assert_eq!((b, alpha), (tensor(&[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0]), Tensor::scalar(1f32)));
        site.scale = vec![0.5, -1.0];
        let [_, b, alpha] = stored(&site).expect("floats");
        assert_eq!((b, alpha), (tensor(&[2, 2, 1, 1], &[0.5, -2.0, 1.5, -4.0]), Tensor::scalar(2f32)));
    }
}
