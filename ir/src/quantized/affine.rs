//! Between real numbers and stored ones, element by element: equation (4), `real = scale * (stored - zero_point)`, and its
//! inverse, `stored = clamp(round(real / scale) + zero_point)`, halves rounded to even.

use half::{bf16, f16};

use crate::attr::F32Bits;
use crate::dtype::DType;
use crate::dtype::minifloat::Codec;
use crate::ops::EvalError;
use crate::ops::granularity::Granularity;
use crate::tensor::{Number, Tensor, TensorError};
use crate::types::Quant;
use crate::with_number;

/// Scales and zero points, and which elements they are for.
#[derive(Clone, Debug)]
pub(crate) struct Affine {
    /// The scales.
    pub(crate) scales: Vec<f32>,
    /// As many zero points.
    pub(crate) zeros: Vec<f64>,
    /// The scale of each element.
    pub(crate) places: Granularity,
}

impl Affine {
    /// What `quant` says of a tensor of sizes `sizes`, which fits it.
    pub(crate) fn of(quant: &Quant, sizes: &[usize]) -> Self {
        Self {
            scales: quant.scales.iter().copied().map(F32Bits::get).collect(),
            zeros: quant.zero_points.iter().map(|zero| f64::from(*zero)).collect(),
            places: Granularity::of(quant, sizes),
        }
    }

    /// The real numbers that `stored` stands for: differences are exact, products formed in `f32` and rounded to
    /// `expressed`.
    pub(crate) fn real(&self, stored: &Tensor, expressed: DType) -> Result<Tensor, EvalError> {
        with_number!(stored.dtype(), T => self.real_of::<T>(stored, expressed))
    }

    /// The real numbers `real` as elements of `dtype`. Quotients are formed in `precision`, `f32`, `f16` or `bf16`; those
    /// to be stored in more bits than `f32` holds exactly in `f64`. Numbers out of the range of an 8-bit float become its
    /// largest where they `saturate`, else infinity or NaN. NaN becomes the integer 0.
    pub(crate) fn store(
        &self,
        real: &Tensor,
        precision: DType,
        (dtype, saturate): (DType, bool),
    ) -> Result<Tensor, EvalError> {
        if let Some(codec) = Codec::of(dtype) {
            let narrow = rounder(precision);
            let encode = |value: &f32, place: usize| {
                let (quotient, zero) = (narrow(value / self.scales[place]), self.zeros[place]);
                // Adding 0 would lose the sign of a zero.
                let shifted = if zero == 0.0 { quotient } else { quotient + zero as f32 };
                codec.encode_f32(shifted, saturate)
            };
            let values = rounded(real, precision)?;
            let mut codes = vec![0u8; values.len()];
            self.places.map(&values, &mut codes, encode);
            return Ok(Tensor::from_codes(dtype, real.sizes(), &codes)?);
        }
        with_number!(dtype, T => self.store_as::<T>(real, precision, dtype))
    }

    /// What is stored less its zero points: integers, exact in `f64` where `stored` has at most 32 bits.
    pub(crate) fn centered(&self, stored: &Tensor) -> Result<Vec<f64>, EvalError> {
        let elements = stored.to_f64()?;
        let mut centered = vec![0.0; elements.len()];
        self.places.map(&elements, &mut centered, |element, place| element - self.zeros[place]);
        Ok(centered)
    }

    /// The real numbers that `stored` stands for, in `f64`: exact where it has at most 16 bits.
    pub(crate) fn wide(&self, stored: &Tensor) -> Result<Vec<f64>, EvalError> {
        let elements = stored.to_f64()?;
        let mut values = vec![0.0; elements.len()];
        self.places.map(&elements, &mut values, |element, place| {
            (element - self.zeros[place]) * f64::from(self.scales[place])
        });
        Ok(values)
    }

    fn real_of<T: Number>(&self, stored: &Tensor, expressed: DType) -> Result<Tensor, EvalError> {
        let elements = stored.to_compute::<T>()?;
        let mut values = vec![0.0f32; elements.len()];
        self.places.map(&elements, &mut values, |element: &T, place| {
            (element.to_f64() - self.zeros[place]) as f32 * self.scales[place]
        });
        Ok(Tensor::from_f32(expressed, stored.sizes(), &values)?)
    }

    fn store_as<T: Number>(
        &self,
        real: &Tensor,
        precision: DType,
        dtype: DType,
    ) -> Result<Tensor, EvalError> {
        let (lowest, highest) = dtype.integer_range().unwrap_or_default();
        let (lowest, highest) = (lowest as f64, highest as f64);
        let shifted = |quotient: f64, place: usize| {
            T::from_f64((quotient.round_ties_even() + self.zeros[place]).clamp(lowest, highest))
        };
        let mut stored = vec![T::default(); real.len()];
        if dtype.bits() > 16 {
            let scale = |place: usize| f64::from(self.scales[place]);
            self.places
                .map(&real.to_f64()?, &mut stored, |value, place| shifted(value / scale(place), place));
        } else {
            let narrow = rounder(precision);
            self.places.map(&rounded(real, precision)?, &mut stored, |value: &f32, place| {
                shifted(f64::from(narrow(value / self.scales[place])), place)
            });
        }
        Ok(Tensor::from_compute(dtype, real.sizes(), stored)?)
    }
}

/// The elements of `tensor` rounded to `precision`.
pub(crate) fn rounded(tensor: &Tensor, precision: DType) -> Result<Vec<f32>, TensorError> {
    let narrow = rounder(precision);
    Ok(tensor.to_f32()?.iter().map(|value| narrow(*value)).collect())
}

/// What rounds to `precision`. A quotient of two `f16` or `bf16` formed in `f32` rounds to the right one of its type.
fn rounder(precision: DType) -> fn(f32) -> f32 {
    match precision {
        DType::F16 => |value| f16::from_f32(value).to_f32(),
        DType::BF16 => |value| bf16::from_f32(value).to_f32(),
        // Scales that are powers of two, of 8 bits, leave the precision of `x`.
        _ => |value| value,
    }
}
