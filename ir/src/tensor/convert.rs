//! Decoding elements into the type they are computed in, and rounding results back.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{Number, Tensor, TensorError, compute_dtype};
use crate::dtype::DType;
use crate::dtype::minifloat::Codec;
use crate::dtype::packed::PackedWidth;
use crate::kernels::map;

impl Tensor {
    /// The elements in the type `T` they are computed in; `T` must be the one that
    /// [`with_number!`](crate::with_number) names for this tensor's element type.
    pub fn to_compute<T: Number>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if compute_dtype(self.dtype()) != T::DTYPE {
            return Err(TensorError::DType {
                found: self.dtype(),
                expected: format!("one computed in {}", T::DTYPE),
            });
        }
        if self.dtype() == T::DTYPE {
            return Ok(self.stored());
        }
        Ok(Cow::Owned(match T::DTYPE {
            DType::F32 => bytemuck::cast_vec(self.decode_f32()),
            _ => bytemuck::cast_vec(self.unpack()),
        }))
    }

    /// Elements computed in `T`, rounded to `dtype`: floats to nearest even, saturating where the type has no
    /// infinity; integers keep their low bits; truth values are `!= 0`.
    pub fn from_compute<T: Number>(
        dtype: DType,
        sizes: &[usize],
        values: Vec<T>,
    ) -> Result<Self, TensorError> {
        if dtype == T::DTYPE {
            return Self::from_elements(dtype, sizes, values);
        }
        if compute_dtype(dtype) != T::DTYPE {
            return Err(TensorError::DType { found: T::DTYPE, expected: compute_dtype(dtype).to_string() });
        }
        if T::DTYPE == DType::F32 {
            return Self::from_f32(dtype, sizes, bytemuck::cast_slice(&values));
        }
        // What is left is computed in bytes, signed or not.
        let codes: Vec<u8> = bytemuck::cast_vec(values);
        match dtype {
            DType::Bool => {
                Self::from_elements(dtype, sizes, codes.into_iter().map(|c| u8::from(c != 0)).collect())
            }
            _ => Self::from_codes(dtype, sizes, &codes),
        }
    }

    /// The elements as `f32`: floats of at most 32 bits exactly, other types to the nearest.
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        match self.dtype() {
            DType::F32 => Ok(self.stored()),
            dtype if dtype.is_float() && dtype != DType::F64 => Ok(Cow::Owned(self.decode_f32())),
            _ => Ok(Cow::Owned(self.to_f64()?.iter().map(|value| *value as f32).collect())),
        }
    }

    /// The elements as `f64`; exact but for 64-bit integers beyond 2^53. Truth values are 0 and 1.
    pub fn to_f64(&self) -> Result<Vec<f64>, TensorError> {
        Ok(crate::with_number!(self.dtype(), T => {
            map::map(&self.to_compute::<T>()?, Number::to_f64)
        }))
    }

    /// The elements of an integer or truth-value tensor; `u64` beyond the range of `i64` wrap.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        if self.dtype().is_float() {
            return Err(TensorError::DType { found: self.dtype(), expected: "an integer type".to_owned() });
        }
        Ok(crate::with_number!(self.dtype(), T => {
            map::map(&self.to_compute::<T>()?, Number::to_i64)
        }))
    }

    /// The elements as truth values: `!= 0`.
    pub fn to_bools(&self) -> Result<Vec<bool>, TensorError> {
        Ok(crate::with_number!(self.dtype(), T => {
            self.to_compute::<T>()?.iter().map(|value| *value != T::default()).collect()
        }))
    }

    /// Integer or truth-value elements; integers keep their low bits.
    pub fn from_i64(dtype: DType, sizes: &[usize], values: Vec<i64>) -> Result<Self, TensorError> {
        if dtype.is_float() {
            return Err(TensorError::DType { found: dtype, expected: "an integer type".to_owned() });
        }
        if dtype == DType::Bool {
            return Self::from_bools(sizes, values.into_iter().map(|value| value != 0).collect());
        }
        crate::with_number!(dtype, T => {
            Self::from_compute::<T>(dtype, sizes, values.into_iter().map(T::from_i64).collect())
        })
    }

    /// Elements of a floating-point type, rounded to nearest even; finite values beyond the range of a type without
    /// infinity saturate.
    pub fn from_f32(dtype: DType, sizes: &[usize], values: &[f32]) -> Result<Self, TensorError> {
        match dtype {
            DType::F64 => Self::from_vec(sizes, values.iter().map(|value| f64::from(*value)).collect()),
            DType::F32 => Self::from_vec(sizes, values.to_vec()),
            DType::F16 => Self::from_vec(sizes, convert(values, <[f16]>::convert_from_f32_slice)),
            DType::BF16 => Self::from_vec(sizes, convert(values, <[bf16]>::convert_from_f32_slice)),
            _ => match Codec::of(dtype) {
                Some(codec) => {
                    let codes = map::map(values, |value| codec.encode_f32(value, true));
                    Self::from_codes(dtype, sizes, &codes)
                }
                None => {
                    Err(TensorError::DType { found: dtype, expected: "a floating-point type".to_owned() })
                }
            },
        }
    }

    /// Elements of at most 8 bits from one code per byte, packed where the type is narrower.
    pub fn from_codes(dtype: DType, sizes: &[usize], codes: &[u8]) -> Result<Self, TensorError> {
        let packed = match dtype.bits() {
            4 => PackedWidth::Four.pack_unsigned(codes),
            2 => PackedWidth::Two.pack_unsigned(codes),
            8 => codes.to_vec(),
            _ => {
                return Err(TensorError::DType {
                    found: dtype,
                    expected: "a type of at most 8 bits".to_owned(),
                });
            }
        };
        Self::from_elements(dtype, sizes, packed)
    }

    /// One code per element of a type of at most 8 bits, not sign-extended.
    pub fn to_codes(&self) -> Vec<u8> {
        match self.dtype().bits() {
            4 => PackedWidth::Four.codes(self.bytes()).take(self.len()).collect(),
            2 => PackedWidth::Two.codes(self.bytes()).take(self.len()).collect(),
            _ => self.bytes().to_vec(),
        }
    }

    fn decode_f32(&self) -> Vec<f32> {
        match self.dtype() {
            DType::F16 => convert(&self.stored::<f16>(), |part, halves| halves.convert_to_f32_slice(part)),
            DType::BF16 => convert(&self.stored::<bf16>(), |part, halves| halves.convert_to_f32_slice(part)),
            dtype => match Codec::of(dtype) {
                Some(codec) => {
                    let values = codec.values();
                    map::map(&self.to_codes(), |code| values[usize::from(code)])
                }
                None => self.stored::<f32>().into_owned(),
            },
        }
    }

    /// Codes of integers and truth values of at most 8 bits, sign-extended where the type is signed.
    fn unpack(&self) -> Vec<u8> {
        let codes = self.to_codes();
        let spare = 8 - self.dtype().bits().min(8);
        if !self.dtype().is_signed_integer() || spare == 0 {
            return codes;
        }
        codes.into_iter().map(|code| (((code << spare) as i8) >> spare) as u8).collect()
    }
}

/// All of `values` by `part`, which converts as many as its first operand has room for.
fn convert<A: Sync, B: Clone + Default + Send>(values: &[A], part: impl Fn(&mut [B], &[A]) + Sync) -> Vec<B> {
    map::fill(values.len(), &|start, result: &mut [B]| part(result, &values[start..start + result.len()]))
}
