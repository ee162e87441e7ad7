//! Numbers in text: the shortest decimal that reads back as the same bits.

use std::fmt;

use bytes::Bytes;
use half::{bf16, f16};

use super::lex::shorten;
use crate::attr::F32Bits;
use crate::dtype::DType;
use crate::dtype::minifloat::{Codec, bf16_from_f64, f16_from_f64};
use crate::tensor::{Sizes, Tensor, TensorError};

/// Tensors of at most so many elements are written out; larger ones are named by their digest.
pub(super) const MAX_LITERAL: u64 = 16;

/// A number as it is written, before its type is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Numeral<'t> {
    pub(super) negative: bool,
    pub(super) magnitude: Magnitude<'t>,
}

/// A number without its sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Magnitude<'t> {
    /// Digits, possibly with a point and an exponent.
    Digits(&'t str),
    /// `inf`.
    Infinity,
    /// `nan`, or `nan(0x7fc1)` with all bits of the element.
    Nan(Option<&'t str>),
    /// `true` or `false`.
    Bool(bool),
}

/// Writes it as it was read.
impl fmt::Display for Numeral<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.negative { "-" } else { "" })?;
        match self.magnitude {
            Magnitude::Digits(digits) => f.write_str(&shorten(digits)),
            Magnitude::Infinity => f.write_str("inf"),
            Magnitude::Nan(None) => f.write_str("nan"),
            Magnitude::Nan(Some(bits)) => write!(f, "nan({})", shorten(bits)),
            Magnitude::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl Numeral<'_> {
    /// Whether it is written as an integer.
    pub(super) fn is_integer(self) -> bool {
        matches!(self.magnitude, Magnitude::Digits(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// The integer, when it is one and fits.
    pub(super) fn integer(self) -> Option<i128> {
        let Magnitude::Digits(digits) = self.magnitude else { return None };
        // More digits than any element has must not cost time.
        let magnitude: i128 = digits.parse().ok().filter(|_| digits.len() <= 20)?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The bits of an `f32` attribute.
    pub(super) fn float(self) -> Option<F32Bits> {
        Some(F32Bits::from(f32::from_bits(u32::try_from(self.bits(DType::F32)?).ok()?)))
    }

    /// The bits of an element of `dtype`, when it can have this value.
    pub(super) fn bits(self, dtype: DType) -> Option<u64> {
        if let Magnitude::Bool(value) = self.magnitude {
            return (dtype == DType::Bool && !self.negative).then_some(u64::from(value));
        }
        if let Some((low, high)) = dtype.integer_range() {
            let value = self.integer().filter(|value| (low..=high).contains(value))?;
            return Some(value as u64 & mask(dtype));
        }
        let unsigned = match self.magnitude {
            Magnitude::Digits(digits) => read_digits(dtype, digits, self.negative)?,
            Magnitude::Infinity => {
                let sign = if self.negative { -1.0 } else { 1.0 };
                encode(dtype, sign * f64::INFINITY).filter(|bits| decode(dtype, *bits).is_infinite())?
            }
            Magnitude::Nan(Some(bits)) => {
                let bits = u64::from_str_radix(bits.strip_prefix("0x")?, 16).ok()?;
                (bits <= mask(dtype) && decode(dtype, bits).is_nan() && !self.negative).then_some(bits)?
            }
            Magnitude::Nan(None) => {
                canonical_nan(dtype).filter(|bits| decode(dtype, *bits).is_nan() && !self.negative)?
            }
            Magnitude::Bool(_) => return None,
        };
        Some(unsigned)
    }
}

/// The elements of a small tensor, each as it is written.
pub(super) fn write_elements(tensor: &Tensor) -> Result<Vec<String>, TensorError> {
    let dtype = tensor.dtype();
    if dtype == DType::Bool {
        return Ok(tensor.to_bools()?.iter().map(ToString::to_string).collect());
    }
    if dtype == DType::U64 {
        return Ok(tensor.elements::<u64>()?.iter().map(ToString::to_string).collect());
    }
    if dtype.is_integer() {
        return Ok(tensor.to_i64()?.iter().map(ToString::to_string).collect());
    }
    Ok(element_bits(tensor).into_iter().map(|bits| write_float(dtype, bits)).collect())
}

/// A tensor of elements with these bits.
pub(super) fn tensor_of(dtype: DType, sizes: &Sizes, elements: &[u64]) -> Result<Tensor, TensorError> {
    if dtype.bits() < 8 {
        let codes: Vec<u8> = elements.iter().map(|bits| *bits as u8).collect();
        return Tensor::from_codes(dtype, sizes, &codes);
    }
    let width = dtype.bits() as usize / 8;
    let bytes: Vec<u8> =
        elements.iter().flat_map(|bits| bits.to_le_bytes().into_iter().take(width)).collect();
    Tensor::new(dtype, sizes, Bytes::from(bytes))
}

fn element_bits(tensor: &Tensor) -> Vec<u64> {
    let width = tensor.dtype().bits() as usize / 8;
    if width <= 1 {
        return tensor.to_codes().into_iter().map(u64::from).collect();
    }
    let wide = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    tensor.bytes().chunks_exact(width).map(wide).collect()
}

/// The shortest text that reads back as these bits, always with a point or an exponent.
fn write_float(dtype: DType, bits: u64) -> String {
    let value = decode(dtype, bits);
    if value.is_nan() {
        let canonical = canonical_nan(dtype) == Some(bits);
        return if canonical { "nan".to_owned() } else { format!("nan(0x{bits:x})") };
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    match dtype {
        DType::F64 => format!("{value:?}"),
        DType::F32 => format!("{:?}", value as f32),
        // Narrow types have no printer of their own: take the first precision that is enough.
        _ => (0..17)
            .filter_map(|digits| format!("{value:.digits$e}").parse::<f64>().ok())
            .find(|decimal| encode(dtype, *decimal) == Some(bits))
            .map_or_else(|| format!("{value:?}"), |decimal| format!("{decimal:?}")),
    }
}

/// Rounds decimal digits to `dtype`; `None` when they are beyond its range.
fn read_digits(dtype: DType, digits: &str, negative: bool) -> Option<u64> {
    let bits = if dtype == DType::F32 {
        let magnitude: f32 = digits.parse().ok()?;
        u64::from(if negative { -magnitude } else { magnitude }.to_bits())
    } else {
        let magnitude: f64 = digits.parse().ok()?;
        encode(dtype, if negative { -magnitude } else { magnitude })?
    };
    decode(dtype, bits).is_finite().then_some(bits)
}

fn canonical_nan(dtype: DType) -> Option<u64> {
    match dtype {
        DType::F64 => Some(f64::NAN.to_bits()),
        _ => encode(dtype, f64::NAN),
    }
}

fn encode(dtype: DType, value: f64) -> Option<u64> {
    Some(match dtype {
        DType::F64 => value.to_bits(),
        DType::F32 => u64::from((value as f32).to_bits()),
        DType::F16 => u64::from(f16_from_f64(value).to_bits()),
        DType::BF16 => u64::from(bf16_from_f64(value).to_bits()),
        _ => u64::from(Codec::of(dtype)?.encode_f64(value, false)),
    })
}

fn decode(dtype: DType, bits: u64) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(bits),
        DType::F32 => f64::from(f32::from_bits(bits as u32)),
        DType::F16 => f16::from_bits(bits as u16).to_f64(),
        DType::BF16 => bf16::from_bits(bits as u16).to_f64(),
        _ => Codec::of(dtype).map_or(f64::NAN, |codec| f64::from(codec.decode(bits as u8))),
    }
}

/// Ones where elements of `dtype` have bits.
fn mask(dtype: DType) -> u64 {
    u64::MAX >> (64 - dtype.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: DType, text: &str) -> Option<u64> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let magnitude = match magnitude {
            "inf" => Magnitude::Infinity,
            "nan" => Magnitude::Nan(None),
            text => match text.strip_prefix("nan(").and_then(|text| text.strip_suffix(')')) {
                Some(bits) => Magnitude::Nan(Some(bits)),
                None => Magnitude::Digits(text),
            },
        };
        Numeral { negative, magnitude }.bits(dtype)
    }

    #[test]
    fn every_narrow_float_reads_back() {
        for dtype in
            crate::dtype::ALL_DTYPES.iter().copied().filter(|dtype| dtype.is_float() && dtype.bits() <= 16)
        {
            for bits in 0..=mask(dtype) {
                let text = write_float(dtype, bits);
                assert_eq!(read(dtype, &text), Some(bits), "{dtype} {bits:#x} is written {text}");
                assert!(
                    text.contains(['.', 'e', 'n']),
                    "{dtype} {bits:#x} is written {text}, like an integer"
                );
            }
        }
    }

    #[test]
    fn shortest_wins() {
        let f16 = |value: f32| write_float(DType::F16, u64::from(f16::from_f32(value).to_bits()));
        assert_eq!([f16(0.1), f16(65504.0), f16(-0.0), f16(6e-8)], ["0.1", "65500.0", "-0.0", "6e-8"]);
        let f32 = |value: f32| write_float(DType::F32, u64::from(value.to_bits()));
        assert_eq!([f32(1.0), f32(1e-5), f32(f32::MAX)], ["1.0", "1e-5", "3.4028235e38"]);
        assert_eq!(write_float(DType::F64, 0.1f64.to_bits()), "0.1");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(read(DType::I8, "128"), None);
        assert_eq!(read(DType::I8, "-128"), Some(0x80));
        assert_eq!(read(DType::U4, "-1"), None);
        assert_eq!(read(DType::U64, "18446744073709551615"), Some(u64::MAX));
        assert_eq!(read(DType::I64, &"9".repeat(1000)), None);
        assert_eq!(read(DType::F32, "1e39"), None);
        assert_eq!(read(DType::F8E4M3FN, "1000.0"), None);
        assert_eq!(read(DType::F8E4M3FN, "inf"), None);
        assert_eq!(read(DType::F16, "nan(0x1)"), None);
        assert_eq!(read(DType::I32, "1.0"), None);
    }
}
