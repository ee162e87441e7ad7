//! The conversions of one element type of at most eight bits, chosen by its [`DType`].

use super::e8m0::{self, RoundMode};
use super::{DType, Format};

/// Converts between the codes of a floating-point element type of at most eight bits and its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signed(Format),
    Scale(RoundMode),
}

impl Codec {
    /// The codec of `dtype`, or `None` if it is not a floating-point type of at most eight bits.
    ///
    /// Scales (float8e8m0) round up, as `Cast` does unless told otherwise.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        let format = match dtype {
            DType::F8E4M3FN => Format::F8E4M3FN,
            DType::F8E4M3FNUZ => Format::F8E4M3FNUZ,
            DType::F8E5M2 => Format::F8E5M2,
            DType::F8E5M2FNUZ => Format::F8E5M2FNUZ,
            DType::F4E2M1 => Format::F4E2M1,
            DType::F8E8M0 => return Some(Self(Kind::Scale(RoundMode::default()))),
            _ => return None,
        };
        Some(Self(Kind::Signed(format)))
    }

    /// The same codec with another rounding of scales; signed types always round to nearest even.
    #[must_use]
    pub fn with_round_mode(self, mode: RoundMode) -> Self {
        match self.0 {
            Kind::Signed(_) => self,
            Kind::Scale(_) => Self(Kind::Scale(mode)),
        }
    }

    /// Exact value of `code`; bits above the type's width are ignored.
    #[must_use]
    pub fn decode(self, code: u8) -> f32 {
        match self.0 {
            Kind::Signed(format) => format.decode(u16::from(code)),
            Kind::Scale(_) => e8m0::decode(code),
        }
    }

    /// The values of all codes, for decoding a whole tensor by lookup.
    #[must_use]
    pub fn values(self) -> [f32; 256] {
        std::array::from_fn(|code| self.decode(code as u8))
    }

    /// Code of `value`, rounded once; see [`Format::encode_f64`] and [`e8m0::encode_f64`].
    #[must_use]
    pub fn encode_f32(self, value: f32, saturate: bool) -> u8 {
        match self.0 {
            Kind::Signed(format) => format.encode_f32(value, saturate) as u8,
            Kind::Scale(mode) => e8m0::encode_f32(value, saturate, mode),
        }
    }

    /// Code of `value`, rounded once; see [`Format::encode_f64`] and [`e8m0::encode_f64`].
    #[must_use]
    pub fn encode_f64(self, value: f64, saturate: bool) -> u8 {
        match self.0 {
            Kind::Signed(format) => format.encode_f64(value, saturate) as u8,
            Kind::Scale(mode) => e8m0::encode_f64(value, saturate, mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::ALL_DTYPES;

    #[test]
    fn every_type_of_at_most_eight_bits_has_a_codec() {
        for &dtype in ALL_DTYPES {
            let codec = Codec::of(dtype);
            assert_eq!(codec.is_some(), dtype.is_minifloat(), "{dtype}");
            let Some(codec) = codec else { continue };
            for code in 0..1u16 << dtype.bits() {
                let value = codec.decode(code as u8);
                if value.is_nan() {
                    assert!(codec.decode(codec.encode_f32(value, true)).is_nan(), "{dtype}");
                    continue;
                }
                assert_eq!(value.to_bits(), codec.values()[usize::from(code)].to_bits(), "{dtype}");
                assert_eq!(u16::from(codec.encode_f32(value, false)), code, "{dtype}");
                assert_eq!(u16::from(codec.encode_f64(value.into(), false)), code, "{dtype}");
            }
        }
    }

    #[test]
    fn the_round_mode_applies_to_scales_only() {
        let encode =
            |dtype, mode| Codec::of(dtype).map(|codec| codec.with_round_mode(mode).encode_f32(1.1, true));
        assert_eq!(encode(DType::F8E8M0, RoundMode::Up), Some(0x80));
        assert_eq!(encode(DType::F8E8M0, RoundMode::Down), Some(0x7F));
        assert_eq!(encode(DType::F8E4M3FN, RoundMode::Up), Some(0x39));
        assert_eq!(encode(DType::F8E4M3FN, RoundMode::Down), Some(0x39));
    }
}
