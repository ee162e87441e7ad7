//! Converting elements to another type.

use half::{bf16, f16};

use super::{Number, Tensor, TensorError, compute_dtype};
use crate::dtype::DType;
use crate::dtype::minifloat::e8m0::RoundMode;
use crate::dtype::minifloat::{Codec, bf16_from_f64, f16_from_f64};
use crate::kernels::map;
use crate::with_number;

/// How elements that the target type does not have are converted to a float of at most 8 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrowing {
    /// Whether numbers out of range become the largest one; otherwise infinity, or NaN where there is none.
    pub saturate: bool,
    /// How numbers between two powers of two become one.
    pub scale_rounding: RoundMode,
}

impl Default for Narrowing {
    fn default() -> Self {
        Self { saturate: true, scale_rounding: RoundMode::default() }
    }
}

impl Tensor {
    /// The elements converted to `dtype`.
    ///
    /// - To floats: rounded once to the nearest, ties to even. Out of range is infinity; for floats of at most 8 bits
    ///   `narrowing` decides.
    /// - Integers to integers: the low bits are kept.
    /// - Floats to integers: truncated toward zero to 64 bits, where numbers out of range saturate and NaN is 0, of which
    ///   the low bits are kept.
    /// - To truth values: whether the element is not zero. From truth values: 1 and 0.
    pub fn cast(&self, dtype: DType, narrowing: Narrowing) -> Result<Self, TensorError> {
        if dtype == self.dtype() {
            return Ok(self.clone());
        }
        if dtype == compute_dtype(self.dtype()) {
            // Decoding is all there is to do.
            return with_number!(dtype, S => Self::from_vec(self.sizes(), self.to_compute::<S>()?.into_owned()));
        }
        with_number!(self.dtype(), S => cast_from::<S>(&self.to_compute::<S>()?, self.sizes(), dtype, narrowing))
    }
}

fn cast_from<S: Number>(
    values: &[S],
    sizes: &[usize],
    dtype: DType,
    narrowing: Narrowing,
) -> Result<Tensor, TensorError> {
    match dtype {
        DType::Bool => {
            Tensor::from_elements(dtype, sizes, map::map(values, |value| u8::from(value != S::default())))
        }
        DType::F64 => Tensor::from_vec(sizes, map::map(values, Number::to_f64)),
        DType::F32 => Tensor::from_vec(sizes, map::map(values, |value| value.to_f64_odd() as f32)),
        DType::F16 | DType::BF16 if S::DTYPE == DType::F32 => {
            Tensor::from_f32(dtype, sizes, bytemuck::cast_slice(values))
        }
        DType::F16 => {
            let narrow = |value: S| f16_from_f64(value.to_f64_odd());
            Tensor::from_vec::<f16>(sizes, map::map(values, narrow))
        }
        DType::BF16 => {
            let narrow = |value: S| bf16_from_f64(value.to_f64_odd());
            Tensor::from_vec::<bf16>(sizes, map::map(values, narrow))
        }
        _ => match Codec::of(dtype) {
            Some(codec) => {
                let codec = codec.with_round_mode(narrowing.scale_rounding);
                let encode = |value: S| codec.encode_f64(value.to_f64_odd(), narrowing.saturate);
                Tensor::from_codes(dtype, sizes, &map::map(values, encode))
            }
            None => to_integers(values, sizes, dtype),
        },
    }
}

/// Elements converted to the integer type `dtype`.
fn to_integers<S: Number>(values: &[S], sizes: &[usize], dtype: DType) -> Result<Tensor, TensorError> {
    let unsigned = dtype == DType::U64;
    with_number!(dtype, D => {
        let convert = |value: S| {
            // Only unsigned 64-bit integers hold what is beyond the signed ones.
            if S::IS_FLOAT && unsigned && value > S::default() {
                return D::from_i64((value.to_f64() as u64).cast_signed());
            }
            D::from_i64(value.to_i64())
        };
        Tensor::from_compute::<D>(dtype, sizes, map::map(values, convert))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::ALL_DTYPES;
    use crate::tensor::Element;

    fn vector<T: Element>(values: &[T]) -> Tensor {
        Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector")
    }

    fn cast(tensor: &Tensor, dtype: DType) -> Tensor {
        tensor.cast(dtype, Narrowing::default()).expect("every pair of types")
    }

    #[test]
    fn every_pair_of_types_keeps_zero_and_one() {
        for from in ALL_DTYPES {
            let zero_one = cast(&vector(&[0i64, 1, 1]), *from);
            for to in ALL_DTYPES {
                let back = cast(&zero_one, *to).to_f64().expect("numbers");
                // f8e8m0 has no zero; its smallest number takes the place.
                assert!(
                    back[0].abs() < 1e-30 || [*from, *to].contains(&DType::F8E8M0),
                    "{from} to {to}: {back:?}"
                );
                assert_eq!(back[1..], [1.0, 1.0], "{from} to {to}");
            }
        }
    }

    #[test]
    fn integers_keep_their_low_bits() {
        let x = vector(&[200i64, -1, 1 << 40, i64::MIN]);
        assert_eq!(cast(&x, DType::I8).to_i64().expect("integers"), [-56, -1, 0, 0]);
        assert_eq!(cast(&x, DType::U4).to_i64().expect("integers"), [8, 15, 0, 0]);
        assert_eq!(cast(&x, DType::I2).to_i64().expect("integers"), [0, -1, 0, 0]);
        assert_eq!(&*cast(&x, DType::U64).elements::<u64>().expect("u64"), [200, u64::MAX, 1 << 40, 1 << 63]);
        assert_eq!(cast(&vector(&[u64::MAX]), DType::I32).to_i64().expect("integers"), [-1]);
    }

    #[test]
    fn floats_are_truncated() {
        let x = vector(&[1.9f32, -1.9, 300.0, f32::NAN, f32::INFINITY, -3.0]);
        assert_eq!(cast(&x, DType::I32).to_i64().expect("integers"), [1, -1, 300, 0, -1, -3]);
        assert_eq!(cast(&x, DType::U8).to_i64().expect("integers"), [1, 255, 44, 0, 255, 253]);
        let large = vector(&[1.2e19f64, -1.0, f64::INFINITY]);
        let expected = [12_000_000_000_000_000_000, u64::MAX, u64::MAX];
        assert_eq!(&*cast(&large, DType::U64).elements::<u64>().expect("u64"), expected);
        assert_eq!(cast(&x, DType::Bool).to_bools().expect("truth values"), [true; 6]);
        assert_eq!(
            cast(&vector(&[0.0f32, -0.0, 0.1]), DType::Bool).to_bools().expect("truth"),
            [false, false, true]
        );
    }

    #[test]
    fn numbers_are_rounded_once() {
        // Just above the middle of two neighbors, which rounding to `f32` or `f64` on the way would hit.
        let above_tie = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(cast(&vector(&[above_tie]), DType::F16).to_f64().expect("f16"), [1.0 + 2f64.powi(-10)]);
        let integer = (1i64 << 62) + (1 << 54) + 1;
        assert_eq!(
            cast(&vector(&[integer]), DType::BF16).to_f64().expect("bf16"),
            [2f64.powi(62) + 2f64.powi(55)]
        );
        let unsigned = (1u64 << 63) + (1 << 39) + 1;
        assert_eq!(
            cast(&vector(&[unsigned]), DType::F32).to_f64().expect("f32"),
            [2f64.powi(63) + 2f64.powi(40)]
        );
        assert_eq!(
            cast(&vector(&[-integer]), DType::BF16).to_f64().expect("bf16"),
            [-2f64.powi(62) - 2f64.powi(55)]
        );
    }

    #[test]
    fn out_of_range_is_as_narrowing_says() {
        let x = vector(&[1e6f32, -1e6]);
        assert_eq!(cast(&x, DType::F16).to_f64().expect("f16"), [f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(cast(&x, DType::F8E5M2).to_f64().expect("f8"), [57344.0, -57344.0]);
        let open = Narrowing { saturate: false, ..Narrowing::default() };
        let unbounded = x.cast(DType::F8E5M2, open).expect("floats").to_f64().expect("f8");
        assert_eq!(unbounded, [f64::INFINITY, f64::NEG_INFINITY]);
        let scale = |scale_rounding| {
            let narrowing = Narrowing { scale_rounding, ..Narrowing::default() };
            vector(&[3.0f32, 2.5]).cast(DType::F8E8M0, narrowing).expect("floats").to_f64().expect("f8")
        };
        assert_eq!(scale(RoundMode::Up), [4.0, 4.0]);
        assert_eq!(scale(RoundMode::Down), [2.0, 2.0]);
        assert_eq!(scale(RoundMode::Nearest), [4.0, 2.0]);
    }
}
