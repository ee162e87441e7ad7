//! Element types: every numeric type that a model file can hold, with its width and its class.
//!
//! Types narrower than a byte are stored packed, the first element in the low bits of a byte.

pub mod minifloat;
pub mod packed;

use std::fmt;
use std::str::FromStr;

/// The type of one element of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// 4 exponent bits, 3 mantissa bits, no infinity, one NaN pattern per sign.
    F8E4M3FN,
    /// As `F8E4M3FN` with bias 8 and a single NaN where minus zero would be.
    F8E4M3FNUZ,
    /// 5 exponent bits, 2 mantissa bits, with infinities.
    F8E5M2,
    /// As `F8E5M2` with bias 16, no infinity and a single NaN where minus zero would be.
    F8E5M2FNUZ,
    /// A power of two, 2^(bits - 127); all ones is NaN.
    F8E8M0,
    /// 2 exponent bits, 1 mantissa bit, neither infinity nor NaN.
    F4E2M1,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Signed 4-bit integer, two to a byte.
    I4,
    /// Signed 2-bit integer, four to a byte.
    I2,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 4-bit integer, two to a byte.
    U4,
    /// Unsigned 2-bit integer, four to a byte.
    U2,
    /// A truth value in one byte, 0 or 1.
    Bool,
}

/// All element types, in declaration order.
pub const ALL_DTYPES: &[DType] = &[
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F8E4M3FN,
    DType::F8E4M3FNUZ,
    DType::F8E5M2,
    DType::F8E5M2FNUZ,
    DType::F8E8M0,
    DType::F4E2M1,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::I4,
    DType::I2,
    DType::U64,
    DType::U32,
    DType::U16,
    DType::U8,
    DType::U4,
    DType::U2,
    DType::Bool,
];

impl DType {
    /// The spelling in the text format, such as `f32` or `u4`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F8E4M3FN => "f8e4m3fn",
            Self::F8E4M3FNUZ => "f8e4m3fnuz",
            Self::F8E5M2 => "f8e5m2",
            Self::F8E5M2FNUZ => "f8e5m2fnuz",
            Self::F8E8M0 => "f8e8m0",
            Self::F4E2M1 => "f4e2m1",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::I4 => "i4",
            Self::I2 => "i2",
            Self::U64 => "u64",
            Self::U32 => "u32",
            Self::U16 => "u16",
            Self::U8 => "u8",
            Self::U4 => "u4",
            Self::U2 => "u2",
            Self::Bool => "bool",
        }
    }

    /// Width of one element in bits: 64, 32, 16, 8, 4 or 2.
    pub fn bits(self) -> u32 {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 16,
            Self::F4E2M1 | Self::I4 | Self::U4 => 4,
            Self::I2 | Self::U2 => 2,
            _ => 8,
        }
    }

    /// Bytes that `elements` packed elements take, or `None` on overflow.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        Some(elements.checked_mul(u64::from(self.bits()))?.div_ceil(8))
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16) || self.is_minifloat()
    }

    /// Whether elements are floating-point numbers of 8 bits or fewer.
    pub fn is_minifloat(self) -> bool {
        matches!(
            self,
            Self::F8E4M3FN | Self::F8E4M3FNUZ | Self::F8E5M2 | Self::F8E5M2FNUZ | Self::F8E8M0 | Self::F4E2M1
        )
    }

    /// Whether elements are integers (truth values are not).
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != Self::Bool
    }

    /// Whether elements are signed integers.
    pub fn is_signed_integer(self) -> bool {
        matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::I4 | Self::I2)
    }

    /// Smallest and largest value of an integer type, or `None` for other types.
    pub fn integer_range(self) -> Option<(i128, i128)> {
        if !self.is_integer() {
            return None;
        }
        let bits = self.bits();
        Some(if self.is_signed_integer() {
            (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
        } else {
            (0, (1i128 << bits) - 1)
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an element type")]
pub struct UnknownDType(pub String);

impl FromStr for DType {
    type Err = UnknownDType;
    fn from_str(text: &str) -> Result<Self, UnknownDType> {
        let found = ALL_DTYPES.iter().find(|dtype| dtype.name() == text);
        found.copied().ok_or_else(|| UnknownDType(text.to_owned()))
    }
}
