//! Floating-point formats of sixteen bits and fewer, as pure functions on their bit patterns.
//!
//! One [`Format`] describes a type with a sign bit by its field widths, its bias and where it keeps
//! infinity and NaN; one decoder and one encoder serve them all. The unsigned power-of-two type
//! float8e8m0 rounds by other rules and has its own module, [`e8m0`]. [`Codec`] picks the conversions of
//! an element type.
//!
//! Rounding is to nearest, ties to even, and always happens once: an `f64` is never narrowed to
//! `f32` on the way, because a value just above a tie would then land on it and round the wrong way.
//! Special values follow the tables of the ONNX `Cast` operator for both settings of `saturate`.

mod codec;
pub mod e8m0;

use half::{bf16, f16};

pub use self::codec::Codec;
use super::DType;

/// Fraction bits of an `f64`.
const F64_FRACTION_BITS: u32 = 52;

/// Exponent bias of an `f64`.
const F64_BIAS: i32 = 1023;

/// A binary floating-point type of one sign bit, `exponent_bits` and `mantissa_bits`.
///
/// Codes travel as `u16` with the type's bits at the low end; higher bits are zero in a result and
/// ignored in an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

/// Which codes of a format stand for infinity and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Specials {
    /// The largest exponent holds infinity (mantissa zero) and NaN (the rest), as in IEEE 754.
    Ieee,
    /// No infinity; NaN is the one code per sign with every bit set (suffix "fn").
    NanAllOnes,
    /// No infinity and no negative zero, whose code is the only NaN (suffix "fnuz").
    NanNegativeZero,
    /// Every code is a finite number.
    None,
}

impl Format {
    /// 8-bit float with 4 exponent bits, without infinity; largest value 448.
    pub const F8E4M3FN: Self = Self::new(4, 3, 7, Specials::NanAllOnes);
    /// 8-bit float with 4 exponent bits, without infinity and negative zero; largest value 240.
    pub const F8E4M3FNUZ: Self = Self::new(4, 3, 8, Specials::NanNegativeZero);
    /// 8-bit float with 5 exponent bits and IEEE 754 special values; largest value 57344.
    pub const F8E5M2: Self = Self::new(5, 2, 15, Specials::Ieee);
    /// 8-bit float with 5 exponent bits, without infinity and negative zero; largest value 57344.
    pub const F8E5M2FNUZ: Self = Self::new(5, 2, 16, Specials::NanNegativeZero);
    /// 4-bit float (a nibble) without infinity and NaN; largest value 6.
    pub const F4E2M1: Self = Self::new(2, 1, 1, Specials::None);
    /// IEEE 754 half precision; largest value 65504.
    pub const F16: Self = Self::new(5, 10, 15, Specials::Ieee);
    /// The upper half of an `f32`.
    pub const BF16: Self = Self::new(8, 7, 127, Specials::Ieee);

    /// Number of bits of a code, the sign included.
    #[must_use]
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits + self.mantissa_bits
    }

    /// Largest finite value.
    #[must_use]
    pub const fn max(self) -> f32 {
        self.decode(self.max_code())
    }

    /// Value of `code`. It is exact: `f32` holds every value of these formats.
    ///
    /// A NaN keeps the sign bit of its code and nothing else.
    #[must_use]
    pub const fn decode(self, code: u16) -> f32 {
        let negative = code & self.sign_bit() != 0;
        let magnitude = code & (self.sign_bit() - 1);
        let unsigned = if self.is_nan(negative, magnitude) {
            f32::NAN
        } else if magnitude > self.max_code() {
            f32::INFINITY
        } else {
            self.finite(magnitude)
        };
        if negative { -unsigned } else { unsigned }
    }

    /// Code of `value`, rounded to nearest with ties to even.
    ///
    /// See [`Self::encode_f64`] for `saturate` and the special values.
    #[must_use]
    pub fn encode_f32(self, value: f32, saturate: bool) -> u16 {
        // Widening is exact. The sign is taken first because widening a NaN may lose it.
        self.encode(value.is_sign_negative(), f64::from(value.abs()), saturate)
    }

    /// Code of `value`, rounded once, to nearest with ties to even.
    ///
    /// A value is out of range when it exceeds the largest finite value *after* rounding to the
    /// mantissa width, as in the ONNX `Cast` tables. Such a value and infinity become
    ///
    /// * with `saturate`, the largest finite value of that sign;
    /// * without, infinity where the format has it, else NaN, else the largest finite value.
    ///
    /// NaN becomes NaN of the same sign where the format has two of them. In float4e2m1, which has
    /// none, it becomes negative zero: the ONNX conformance cases expect that code.
    #[must_use]
    pub fn encode_f64(self, value: f64, saturate: bool) -> u16 {
        self.encode(value.is_sign_negative(), value.abs(), saturate)
    }

    const fn new(exponent_bits: u32, mantissa_bits: u32, bias: i32, specials: Specials) -> Self {
        Self { exponent_bits, mantissa_bits, bias, specials }
    }

    const fn sign_bit(self) -> u16 {
        1 << (self.bits() - 1)
    }

    /// Code of positive infinity in a format with IEEE 754 special values.
    const fn infinity_code(self) -> u16 {
        ((1 << self.exponent_bits) - 1) << self.mantissa_bits
    }

    /// Code of the largest finite value.
    const fn max_code(self) -> u16 {
        match self.specials {
            Specials::Ieee => self.infinity_code() - 1,
            Specials::NanAllOnes => self.sign_bit() - 2,
            Specials::NanNegativeZero | Specials::None => self.sign_bit() - 1,
        }
    }

    const fn is_nan(self, negative: bool, magnitude: u16) -> bool {
        match self.specials {
            Specials::Ieee => magnitude > self.infinity_code(),
            Specials::NanAllOnes => magnitude > self.max_code(),
            Specials::NanNegativeZero => negative && magnitude == 0,
            Specials::None => false,
        }
    }

    /// Value of a finite code without its sign.
    const fn finite(self, magnitude: u16) -> f32 {
        let exponent_field = magnitude >> self.mantissa_bits;
        let fraction = magnitude & ((1 << self.mantissa_bits) - 1);
        let (significand, exponent) = if exponent_field == 0 {
            (fraction, 1)
        } else {
            (fraction | (1 << self.mantissa_bits), exponent_field as i32)
        };
        // In `f64` the unit is a normal number even for the smallest bfloat16, so both steps are exact.
        let unit = exponent - self.bias - self.mantissa_bits as i32;
        (significand as f64 * power_of_two(unit)) as f32
    }

    /// `magnitude` is the absolute value of the operand; only a NaN's sign bit is not to be relied on.
    fn encode(self, negative: bool, magnitude: f64, saturate: bool) -> u16 {
        let sign = if negative { self.sign_bit() } else { 0 };
        if magnitude.is_nan() {
            return self.nan_code(sign);
        }
        let rounded = self.round(magnitude);
        if rounded > u32::from(self.max_code()) {
            return self.out_of_range_code(sign, saturate);
        }
        if rounded == 0 && self.specials == Specials::NanNegativeZero {
            return 0;
        }
        sign | rounded as u16
    }

    /// Rounds to the mantissa width and returns the code without its sign.
    ///
    /// The exponent is not bounded above: a result beyond [`Self::max_code`] is out of range, and an
    /// infinity always is, because its exponent field counts as one above the largest of `f64`.
    fn round(self, magnitude: f64) -> u32 {
        let bits = magnitude.to_bits();
        let exponent = (bits >> F64_FRACTION_BITS) as i32 - F64_BIAS;
        let fraction = bits & ((1 << F64_FRACTION_BITS) - 1);
        let significand = fraction | (1 << F64_FRACTION_BITS);

        // Below the smallest normal exponent the spacing of the codes stops shrinking.
        let smallest = 1 - self.bias;
        let spacing = exponent.max(smallest);
        let dropped = F64_FRACTION_BITS - self.mantissa_bits + spacing.abs_diff(exponent);
        if dropped > F64_FRACTION_BITS + 1 {
            // Less than half the smallest code. Zero and subnormal `f64` operands end here, too.
            return 0;
        }
        let quotient = significand >> dropped;
        let remainder = significand & ((1 << dropped) - 1);
        let half = 1 << (dropped - 1);
        let up = remainder > half || (remainder == half && quotient & 1 == 1);

        // The quotient holds the leading one of a normal number, which counts as one exponent step;
        // a carry out of the mantissa moves on to the next exponent by the same addition.
        let steps = spacing.abs_diff(smallest) << self.mantissa_bits;
        steps + quotient as u32 + u32::from(up)
    }

    const fn nan_code(self, sign: u16) -> u16 {
        match self.specials {
            Specials::Ieee => sign | self.infinity_code() | (1 << (self.mantissa_bits - 1)),
            Specials::NanAllOnes => sign | (self.sign_bit() - 1),
            Specials::NanNegativeZero | Specials::None => self.sign_bit(),
        }
    }

    const fn out_of_range_code(self, sign: u16, saturate: bool) -> u16 {
        match self.specials {
            Specials::Ieee if !saturate => sign | self.infinity_code(),
            Specials::NanAllOnes | Specials::NanNegativeZero if !saturate => self.nan_code(sign),
            _ => sign | self.max_code(),
        }
    }
}

/// Half-precision number nearest to `value`, ties to even; infinity where out of range.
///
/// `f16::from_f64` is not used because on common processors it narrows to `f32` first, and elsewhere
/// it ignores the low half of the fraction when it tells a tie: both round some values wrongly.
#[must_use]
pub fn f16_from_f64(value: f64) -> f16 {
    f16::from_bits(Format::F16.encode_f64(value, false))
}

/// Bfloat16 number nearest to `value`, ties to even; infinity where out of range.
///
/// `bf16::from_f64` is not used because it ignores the low half of the fraction when it tells a tie.
#[must_use]
pub fn bf16_from_f64(value: f64) -> bf16 {
    bf16::from_bits(Format::BF16.encode_f64(value, false))
}

/// `2^exponent`, for exponents of normal `f64` numbers.
const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + F64_BIAS) as u64) << F64_FRACTION_BITS)
}

#[cfg(test)]
mod tests;
