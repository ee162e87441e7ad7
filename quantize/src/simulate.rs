//! Storing one tensor with an encoding and reading it back, outside of any graph.
//!
//! The numbers are those of `quantize_linear` and `dequantize_linear`; what is beyond the codes is counted, which no
//! operation of a graph can do.

use quad_ir::tensor::{Tensor, TensorError};

use crate::encoding::Encoding;
use crate::insert::Wanted;

/// A tensor that was stored and read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The stored numbers, of the encoding's element type.
    pub codes: Tensor,
    /// The real numbers that they stand for.
    pub real: Tensor,
    /// How many elements are [clipped](is_clipped).
    pub clipped: usize,
}

/// Whether a number that would have the code `code`, rounded, is lost where `codes` are the smallest and the largest: it is more
/// than half a step beyond them, or it is none and not stored at all.
pub(crate) fn is_clipped(code: f64, codes: [f64; 2]) -> bool {
    !(codes[0]..=codes[1]).contains(&code)
}

/// A tensor cannot be stored with an encoding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The tensor has not the channels that there are scales for.
    #[error("a tensor of sizes {sizes:?} has no {scales} scales along axis {axis}")]
    Axis {
        /// Its sizes.
        sizes: Vec<usize>,
        /// Scales of the encoding.
        scales: usize,
        /// The axis that they lie along.
        axis: u8,
    },
    /// The elements could not be read or made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Stores `tensor` as `wanted` says, a weight or a slot.
pub fn store(tensor: &Tensor, wanted: &Wanted) -> Result<Stored, StoreError> {
    let encoding = &wanted.encoding;
    let channel = channels(tensor.sizes(), encoding)?;
    let quant = &encoding.quant;
    let (mut least, mut most) = encoding.stored.integer_range().unwrap_or_default();
    if let Some(limit) = wanted.limit {
        let middle = (least + most + 1) / 2;
        (least, most) = (least.max(middle - i128::from(limit)), most.min(middle + i128::from(limit)));
    }
    let (least, most) = (least as f32, most as f32);
    let numbers = tensor.to_f32()?;
    let (mut codes, mut real) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(numbers.len()));
    let mut clipped = 0;
    for (index, number) in numbers.iter().enumerate() {
        let place = channel(index);
        let (scale, zero) = (quant.scales[place].get(), quant.zero_points[place] as f32);
        let wanted = (number / scale).round_ties_even() + zero;
        clipped += usize::from(is_clipped(wanted.into(), [least.into(), most.into()]));
        // NaN is stored as 0, as the operation does.
        let code = if wanted.is_nan() { 0.0 } else { wanted.clamp(least, most) };
        codes.push(code as i64);
        real.push((code - zero) * scale);
    }
    let codes = Tensor::from_i64(encoding.stored, tensor.sizes(), codes)?;
    let real = Tensor::from_f32(tensor.dtype(), tensor.sizes(), &real)?;
    Ok(Stored { codes, real, clipped })
}

/// From the number of an element to that of its scale.
fn channels(sizes: &[usize], encoding: &Encoding) -> Result<impl Fn(usize) -> usize, StoreError> {
    let quant = &encoding.quant;
    let (inner, size, block) = match quant.axis {
        None => (1, 1, 1),
        Some(axis) => {
            let block = quant.block.map_or(1, |block| block.max(1) as usize);
            let size = sizes.get(usize::from(axis)).copied().unwrap_or(0);
            if size == 0 || size.div_ceil(block) != quant.scales.len() {
                let (sizes, scales) = (sizes.to_vec(), quant.scales.len());
                return Err(StoreError::Axis { sizes, scales, axis });
            }
            let inner: usize = sizes.iter().skip(usize::from(axis) + 1).product();
            (inner.max(1), size, block)
        }
    };
    Ok(move |index: usize| (index / inner) % size / block)
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;
    use quad_ir::types::Quant;

    use super::*;

    fn tensor(sizes: &[usize], numbers: &[f32]) -> Tensor {
        Tensor::from_vec(sizes, numbers.to_vec()).expect("as many as the sizes say")
    }

    fn codes(stored: &Stored) -> Vec<i64> {
        stored.codes.to_i64().expect("integers")
    }

    #[test]
    fn what_is_beyond_the_codes_is_clipped_and_counted() {
        let encoding = Encoding::per_tensor(DType::I8, 0.5, 0).expect("encodes");
        let stored =
            store(&tensor(&[5], &[0.25, 0.75, 63.7, 64.0, -64.0]), &encoding.into()).expect("stores");
        // Halves go to the even code; 63.7 is within half a step of the last one.
        assert_eq!(codes(&stored), [0, 2, 127, 127, -127]);
        assert_eq!(stored.real.to_f32().expect("floats").as_ref(), [0.0, 1.0, 63.5, 63.5, -63.5]);
        assert_eq!(stored.clipped, 2);
        let shifted = Encoding::per_tensor(DType::U8, 0.5, 3).expect("encodes");
        let stored = store(&tensor(&[3], &[-1.5, -2.0, f32::NAN]), &shifted.into()).expect("stores");
        assert_eq!((codes(&stored), stored.clipped), (vec![0, 0, 0], 2));
    }

    #[test]
    fn each_channel_has_its_scale() {
        let quant = |axis| Quant {
            axis: Some(axis),
            block: None,
            scales: [1.0f32, 10.0].map(Into::into).into(),
            zero_points: [0, 0].into(),
            expressed: DType::F32,
        };
        let numbers = tensor(&[2, 3], &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        let by_row = Encoding { stored: DType::I8, quant: quant(0) };
        assert_eq!(codes(&store(&numbers, &by_row.into()).expect("stores")), [10, 20, 30, 4, 5, 6]);
        let by_column = Encoding { stored: DType::I8, quant: quant(1) };
        let error = store(&numbers, &by_column.into()).expect_err("three columns");
        assert_eq!(error.to_string(), "a tensor of sizes [2, 3] has no 2 scales along axis 1");
    }
}
