//! Elements as bit patterns, for operations that move elements without looking at them.

use std::borrow::Cow;

use super::{Element, Tensor, TensorError};
use crate::dtype::DType;

/// A bit pattern as wide as an element. Elements narrower than a byte take a byte each.
pub(crate) trait Lane: Element + Default + From<u8> {
    /// The pattern of an element of at most 8 bits.
    fn code(self) -> u8;
}

macro_rules! lanes {
    ($($lane:ty),*) => {$(
        impl Lane for $lane {
            #[expect(clippy::allow_attributes, reason = "the lint fires for one of the types only")]
            #[allow(clippy::unnecessary_cast, reason = "generated for all widths")]
            fn code(self) -> u8 { self as u8 }
        }
    )*};
}
lanes!(u8, u16, u32, u64);

/// Evaluates `$body` with `$L` naming the [`Lane`] that holds an element of `$dtype`.
macro_rules! with_lane {
    ($dtype:expr, $L:ident => $body:expr) => {
        match $dtype.bits() {
            64 => {
                type $L = u64;
                $body
            }
            32 => {
                type $L = u32;
                $body
            }
            16 => {
                type $L = u16;
                $body
            }
            // What is left takes a byte per element: packed types are unpacked.
            _ => {
                type $L = u8;
                $body
            }
        }
    };
}
pub(crate) use with_lane;

impl Tensor {
    /// The elements as bit patterns; `L` must be the one that [`with_lane!`] names for this element type.
    pub(crate) fn lanes<L: Lane>(&self) -> Cow<'_, [L]> {
        if self.dtype().bits() < 8 {
            return Cow::Owned(self.to_codes().into_iter().map(L::from).collect());
        }
        self.stored()
    }

    /// A tensor of `dtype` from bit patterns; `L` as in [`lanes`](Self::lanes).
    pub(crate) fn from_lanes<L: Lane>(
        dtype: DType,
        sizes: &[usize],
        lanes: Vec<L>,
    ) -> Result<Self, TensorError> {
        if dtype.bits() < 8 {
            let codes: Vec<u8> = lanes.into_iter().map(Lane::code).collect();
            // The count is checked against the codes, as packing hides up to three elements too many.
            return match super::element_count(sizes) {
                Some(count) if count == codes.len() => Self::from_codes(dtype, sizes, &codes),
                _ => Self::new(dtype, sizes, bytes::Bytes::new()),
            };
        }
        Self::from_elements(dtype, sizes, lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::ALL_DTYPES;

    #[test]
    fn every_type_survives_a_round_trip() {
        for dtype in ALL_DTYPES {
            let length = dtype.byte_len(8).expect("small") as usize;
            let bytes: Vec<u8> = (0..length as u8).map(|byte| byte.wrapping_mul(37)).collect();
            let tensor = Tensor::new(*dtype, &[8], bytes.into()).expect("the bytes of 8 elements");
            let again =
                with_lane!(dtype, L => Tensor::from_lanes(*dtype, &[8], tensor.lanes::<L>().into_owned()));
            assert_eq!(again, Ok(tensor), "{dtype}");
        }
    }

    #[test]
    fn a_wrong_count_is_an_error_for_packed_types() {
        assert!(Tensor::from_lanes(DType::I4, &[3], vec![1u8, 2, 3]).is_ok());
        assert!(Tensor::from_lanes(DType::I4, &[3], vec![1u8, 2, 3, 4]).is_err());
    }
}
