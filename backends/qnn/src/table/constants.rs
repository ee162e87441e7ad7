//! Constants as QNN stores them.

use quad_backends::legality::Reason;
use quad_ir::dtype::DType;
use quad_ir::tensor::Tensor as Elements;

use crate::model::{DataType, Encoding, ScaleOffset};

/// The largest code of 16 bits that the tensor processor takes in a second operand: larger ones are cut off. Observed on
/// the libraries of API 5.47 and 5.51.
pub(crate) const LARGEST_CODE: i64 = 32640;

/// The bytes of `elements` as elements of `data_type`: packed ones one to a byte, integers of 64 bits in 32.
pub(super) fn bytes(elements: &Elements, data_type: DataType) -> Result<Vec<u8>, Reason> {
    let dtype = elements.dtype();
    if dtype.bits() as usize == data_type.bytes() * 8 {
        return Ok(elements.bytes().to_vec());
    }
    let integers = elements.to_i64().map_err(|error| Reason::new(error.to_string()))?;
    if matches!(dtype, DType::I64 | DType::U64) {
        let lost = integers.iter().find(|number| i32::try_from(**number).is_err());
        if let Some(number) = lost {
            return Err(Reason::new(format!("the constant {number} does not fit 32 bits")));
        }
    }
    Ok(pack(data_type, integers.into_iter()))
}

/// Integers as little-endian elements of `data_type`.
pub(super) fn pack(data_type: DataType, integers: impl Iterator<Item = i64>) -> Vec<u8> {
    let width = data_type.bytes();
    integers.flat_map(|number| number.to_le_bytes().into_iter().take(width)).collect()
}

/// Real numbers in steps of a scale that fits their range, 0 included: all of `data_type` is used. A single number, or
/// one and 0, is stored exactly.
pub(super) fn spread(data_type: DataType, elements: &Elements) -> (Encoding, Vec<u8>) {
    let (low, high) = data_type.fixed_range().unwrap_or((0, 255));
    let values = elements.to_f64().unwrap_or_default();
    let min = values.iter().copied().fold(0.0, f64::min);
    let max = values.iter().copied().fold(0.0, f64::max);
    let range = if max > min { max - min } else { 1.0 };
    let scale = (range / (high - low) as f64) as f32;
    let zero = (low as f64 - min / f64::from(scale)).round().clamp(low as f64, high as f64);
    let codes = values.iter().map(|value| stored(*value, scale, zero, (low, high)));
    let bytes = pack(data_type, codes);
    (Encoding::Tensor(ScaleOffset::new(scale, zero as i32)), bytes)
}

/// Real numbers in steps of a scale that fits their largest magnitude, symmetric around `zero`, with codes that a second
/// operand may have.
pub(super) fn symmetric(data_type: DataType, elements: &Elements) -> (Encoding, Vec<u8>) {
    let (low, high) = data_type.fixed_range().unwrap_or((0, 255));
    let zero = (low + high + 1) / 2;
    let steps = if data_type.bytes() == 2 { LARGEST_CODE - 1 } else { high - zero };
    let values = elements.to_f64().unwrap_or_default();
    let magnitude = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let scale = if magnitude > 0.0 { (magnitude / steps as f64) as f32 } else { 1.0 };
    let range = (zero - steps, zero + steps);
    let codes = values.iter().map(|value| stored(*value, scale, zero as f64, range));
    let bytes = pack(data_type, codes);
    (Encoding::Tensor(ScaleOffset::new(scale, zero as i32)), bytes)
}

/// A real number in steps of `scale`, halves to even, within `range`.
fn stored(value: f64, scale: f32, zero: f64, range: (i64, i64)) -> i64 {
    ((value / f64::from(scale)).round_ties_even() + zero).clamp(range.0 as f64, range.1 as f64) as i64
}

/// The elements of a tensor of sizes `dims` with its axes in another order: axis `i` of the result is axis `order[i]`.
pub fn permute(bytes: &[u8], width: usize, dims: &[u32], order: &[usize]) -> Vec<u8> {
    let mut strides = vec![width; dims.len()];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1] as usize;
    }
    let sizes: Vec<usize> = order.iter().map(|axis| dims[*axis] as usize).collect();
    let steps: Vec<usize> = order.iter().map(|axis| strides[*axis]).collect();
    let mut result = Vec::with_capacity(bytes.len());
    let mut place = vec![0; dims.len()];
    let mut from = 0;
    while result.len() < bytes.len() {
        result.extend_from_slice(&bytes[from..from + width]);
        // Counts up like an odometer, the last axis fastest.
        for axis in (0..place.len()).rev() {
            place[axis] += 1;
            from += steps[axis];
            if place[axis] < sizes[axis] {
                break;
            }
            from -= steps[axis] * sizes[axis];
            place[axis] = 0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        // [2, 3] of two bytes each becomes [3, 2].
        let bytes: Vec<u8> = (0..12).collect();
        assert_eq!(permute(&bytes, 2, &[2, 3], &[1, 0]), [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
        let bytes: Vec<u8> = (0..24).collect();
        let there = permute(&bytes, 1, &[2, 3, 4, 1], &[1, 2, 3, 0]);
        assert_eq!(permute(&there, 1, &[3, 4, 1, 2], &[3, 0, 1, 2]), bytes);
    }

    #[test]
    fn ranges_hold_zero_and_their_ends() {
        let numbers = Elements::from_vec(&[3], vec![-1.0f32, 0.0, 3.0]).expect("three numbers");
        let (encoding, bytes) = spread(DataType::Ufixed8, &numbers);
        assert_eq!(bytes, [0, 64, 255]);
        assert_eq!(encoding.parts()[0].zero_point(), 64);
        let (encoding, bytes) = symmetric(DataType::Ufixed16, &numbers);
        let codes: Vec<u16> = bytes.chunks(2).map(|code| u16::from_le_bytes([code[0], code[1]])).collect();
        assert_eq!((codes[1], codes[2]), (32768, 32768 + 32639));
        assert_eq!(encoding.parts()[0].offset, -32768);
        let one = Elements::from_vec(&[1], vec![0.125f32]).expect("a number");
        let (encoding, bytes) = spread(DataType::Ufixed16, &one);
        assert_eq!((bytes, encoding.parts()[0].scale), (vec![255, 255], 0.125 / 65535.0));
    }
}
