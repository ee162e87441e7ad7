//! An encoding: how the real numbers of one tensor are stored, `real = scale * (stored - zero_point)`.
//!
//! The range of real numbers that is asked for and the encoding that comes of it are two things: an encoding always has
//! zero exactly, and its ends are whole steps away from it. [`Codes`] says which stored numbers may be used, and makes
//! encodings of ranges.
//!
//! # The equations of the paper
//!
//! Equation (4) stores a real `x` as `q = clamp(round(x / s) + z)` and reads it back as `s * (q - z)`. With the least and
//! the largest code `q_min` and `q_max`, and a range from `m` to `M` that holds 0, equations (5) to (7) give
//!
//! ```text
//! asymmetric:  s = (M - m) / (q_max - q_min),    z = round(q_min - m / s)
//! symmetric:   s = max(|m|, |M|) / limit,        z = the middle code, and q - z stays within -limit and limit
//! ```
//!
//! Rounding is to the nearest, halves to even. QNN writes `real = (q + offset) * scale`: its offset is `-z`.

use quad_ir::dtype::DType;
use quad_ir::types::{Quant, QuantError};
use serde::{Deserialize, Serialize};

/// Real numbers from `min` to `max`, both finite, `min <= max`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest number.
    pub min: f32,
    /// The largest number.
    pub max: f32,
}

/// How one tensor is stored: the element type, and scales with zero points per tensor, per channel or per block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// The element type of stored numbers: an integer of 4, 8, 16, 32 or 64 bits.
    pub stored: DType,
    /// Scales and zero points.
    pub quant: Quant,
}

/// Which stored numbers an encoding may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Codes {
    /// The element type: an integer of 4, 8 or 16 bits.
    pub stored: DType,
    /// Whether zero is the middle code, and how far codes go from there: `Some(127)` for -127 to 127 of `i8`, or 1 to 255
    /// of `u8`. `None` uses all codes and puts zero where the range has it.
    pub symmetric: Option<i32>,
}

/// Where numbers end up that are beyond the codes that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// At the last code of the type: activations, which are stored by an operation that knows no other end.
    Type,
    /// At the last code that may be used: constants and slots, which are clipped to it.
    Limit,
}

/// A range does not have an encoding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EncodingError {
    /// The element type has no codes to choose from.
    #[error("{0} is no element type for codes: expected an integer of 4, 8 or 16 bits")]
    Stored(DType),
    /// The symmetric limit is none of the type.
    #[error("codes up to {limit} from the middle: {stored} has from 1 to {most}")]
    Limit {
        /// The element type.
        stored: DType,
        /// The limit asked for.
        limit: i32,
        /// The largest there is.
        most: i32,
    },
    /// The range is none.
    #[error("from {min} to {max} is no range of finite numbers")]
    Range {
        /// The lower end.
        min: f32,
        /// The upper end.
        max: f32,
    },
    /// There is nothing to encode.
    #[error("there is no channel to encode")]
    NoChannel,
    /// Scales and zero points do not fit together.
    #[error(transparent)]
    Quant(#[from] QuantError),
}

impl Range {
    /// The range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The range with 0 in it.
    #[must_use]
    pub fn with_zero(self) -> Self {
        Self { min: self.min.min(0.0), max: self.max.max(0.0) }
    }

    /// The largest magnitude.
    pub fn magnitude(self) -> f32 {
        self.min.abs().max(self.max.abs())
    }

    /// From `-magnitude` to `magnitude`.
    pub fn symmetric(magnitude: f32) -> Self {
        Self { min: -magnitude, max: magnitude }
    }

    pub(crate) fn check(self) -> Result<(), EncodingError> {
        let Self { min, max } = self;
        let fine = min.is_finite() && max.is_finite() && min <= max;
        if fine { Ok(()) } else { Err(EncodingError::Range { min, max }) }
    }
}

impl Codes {
    /// All codes of `stored`, zero wherever the range has it.
    pub fn asymmetric(stored: DType) -> Self {
        Self { stored, symmetric: None }
    }

    /// Zero in the middle and as many codes on both sides: -127 to 127 of `i8`, 1 to 65535 of `u16`.
    pub fn symmetric(stored: DType) -> Self {
        Self { stored, symmetric: Some((1 << (stored.bits().clamp(2, 31) - 1)) - 1) }
    }

    /// As [`symmetric`](Self::symmetric), with codes up to `limit` from the middle only.
    pub fn limited(stored: DType, limit: i32) -> Self {
        Self { stored, symmetric: Some(limit) }
    }

    /// The least and the largest code of the type, and its middle.
    fn ends(self) -> Result<(i64, i64, i64), EncodingError> {
        let (least, largest) = self
            .stored
            .integer_range()
            .filter(|_| matches!(self.stored.bits(), 4 | 8 | 16))
            .ok_or(EncodingError::Stored(self.stored))?;
        // Both fit: they have 16 bits at most.
        let (least, largest) = (least as i64, largest as i64);
        let most = (largest - least).div_euclid(2);
        if let Some(limit) = self.symmetric
            && !(1..=most).contains(&i64::from(limit))
        {
            return Err(EncodingError::Limit { stored: self.stored, limit, most: most as i32 });
        }
        Ok((least, largest, least + most + 1))
    }

    /// The least and the largest number that is stored of any real one.
    pub fn stored_ends(self, beyond: Beyond) -> Result<(i64, i64), EncodingError> {
        let (least, largest, middle) = self.ends()?;
        let limit = self.symmetric.filter(|_| beyond == Beyond::Limit).map(i64::from);
        Ok(limit.map_or((least, largest), |limit| (middle - limit, middle + limit)))
    }

    /// How many steps from the lower to the upper end of a range.
    pub fn steps(self) -> Result<i64, EncodingError> {
        let (least, largest, _) = self.ends()?;
        Ok(self.symmetric.map_or(largest - least, |limit| 2 * i64::from(limit)))
    }

    /// Scale and zero point for `range`, to which 0 is added. A range of nothing but 0 has the scale 1.
    pub fn parameters(self, range: Range) -> Result<(f32, i32), EncodingError> {
        let (least, largest, middle) = self.ends()?;
        range.check()?;
        let range = range.with_zero();
        let (low, high) = (f64::from(range.min), f64::from(range.max));
        if let Some(limit) = self.symmetric {
            let scale = positive(low.abs().max(high) / f64::from(limit));
            return Ok((scale, middle as i32));
        }
        let scale = positive((high - low) / (largest - least) as f64);
        let zero_point = (least as f64 - low / f64::from(scale)).round_ties_even();
        Ok((scale, zero_point.clamp(least as f64, largest as f64) as i32))
    }

    /// The encoding of a tensor whose numbers are in `range`.
    pub fn per_tensor(self, range: Range) -> Result<Encoding, EncodingError> {
        let (scale, zero_point) = self.parameters(range)?;
        Ok(Encoding::per_tensor(self.stored, scale, zero_point)?)
    }

    /// The encoding of a tensor whose numbers at each index of `axis` are in one of `ranges`. Channels of nothing but 0
    /// have the largest scale of the others: what is computed from scales, such as that of a bias, stays of their order.
    pub fn per_channel(self, axis: u8, ranges: &[Range]) -> Result<Encoding, EncodingError> {
        let parameters: Result<Vec<(f32, i32)>, EncodingError> =
            ranges.iter().map(|range| self.parameters(*range)).collect();
        let mut parameters = parameters?;
        let is_zero = |range: &Range| range.magnitude() == 0.0;
        let others = parameters.iter().zip(ranges).filter(|(_, range)| !is_zero(range));
        let largest = others.map(|((scale, _), _)| *scale).fold(0.0, f32::max);
        for (parameters, _) in parameters.iter_mut().zip(ranges).filter(|(_, range)| is_zero(range)) {
            parameters.0 = if largest > 0.0 { largest } else { 1.0 };
        }
        if parameters.is_empty() {
            return Err(EncodingError::NoChannel);
        }
        let quant = Quant {
            axis: Some(axis),
            block: None,
            scales: parameters.iter().map(|(scale, _)| (*scale).into()).collect(),
            zero_points: parameters.iter().map(|(_, zero_point)| *zero_point).collect(),
            expressed: DType::F32,
        };
        quant.check()?;
        Ok(Encoding { stored: self.stored, quant })
    }
}

/// `scale` as a positive number: 1 for 0, and the least normal one for less than that.
fn positive(scale: f64) -> f32 {
    if scale == 0.0 { 1.0 } else { (scale as f32).max(f32::MIN_POSITIVE) }
}

impl Encoding {
    /// One scale and zero point for a tensor of `f32`.
    pub fn per_tensor(stored: DType, scale: f32, zero_point: i32) -> Result<Self, QuantError> {
        Ok(Self { stored, quant: Quant::per_tensor(scale, zero_point)? })
    }

    /// Scales with their zero points.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (f32, i32)> {
        let scales = self.quant.scales.iter().map(|scale| scale.get());
        scales.zip(self.quant.zero_points.iter().copied())
    }

    /// Whether zero is the middle code everywhere.
    pub fn is_symmetric(&self) -> bool {
        let middle = Codes::asymmetric(self.stored).ends().map_or(0, |(_, _, middle)| middle);
        self.quant.zero_points.iter().all(|zero_point| i64::from(*zero_point) == middle)
    }

    /// The real numbers that the codes reach, over all channels.
    pub fn reach(&self) -> Range {
        let (least, largest) = self.stored.integer_range().unwrap_or_default();
        let real = |code: i128, (scale, zero_point): (f32, i32)| {
            (f64::from(scale) * (code - i128::from(zero_point)) as f64) as f32
        };
        let ends = |parameters| Range { min: real(least, parameters), max: real(largest, parameters) };
        self.parameters().map(ends).reduce(Range::union).unwrap_or(Range { min: 0.0, max: 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(min: f32, max: f32) -> Range {
        Range { min, max }
    }

    #[test]
    fn ranges_fill_the_codes() {
        let parameters = |codes: Codes, range| codes.parameters(range).expect("encodes");
        assert_eq!(parameters(Codes::asymmetric(DType::U8), range(-25.0, 38.75)), (0.25, 100));
        assert_eq!(parameters(Codes::asymmetric(DType::I8), range(-25.0, 38.75)), (0.25, -28));
        assert_eq!(parameters(Codes::symmetric(DType::I8), range(-25.0, 31.75)), (0.25, 0));
        assert_eq!(parameters(Codes::symmetric(DType::U8), range(-31.75, 12.0)), (0.25, 128));
        assert_eq!(parameters(Codes::limited(DType::U16, 32639), range(-8159.75, 1.0)), (0.25, 32768));
        assert_eq!(parameters(Codes::symmetric(DType::I4), range(0.0, 1.75)), (0.25, 0));
        // Zero is added to a range that lies to one side of it.
        assert_eq!(parameters(Codes::asymmetric(DType::U8), range(2.0, 63.75)), (0.25, 0));
        assert_eq!(parameters(Codes::asymmetric(DType::U8), range(-63.75, -2.0)), (0.25, 255));
    }

    #[test]
    fn zeros_are_well_defined() {
        let zeros = range(0.0, 0.0);
        assert_eq!(Codes::asymmetric(DType::U8).parameters(zeros), Ok((1.0, 0)));
        assert_eq!(Codes::symmetric(DType::U16).parameters(zeros), Ok((1.0, 32768)));
        let ranges = [range(-31.75, 0.0), zeros, range(0.0, 63.5)];
        let encoding = Codes::symmetric(DType::I8).per_channel(0, &ranges).expect("encodes");
        let scales: Vec<f32> = encoding.parameters().map(|(scale, _)| scale).collect();
        assert_eq!(scales, [0.25, 0.5, 0.5]);
        let all_zero = Codes::symmetric(DType::I8).per_channel(0, &[zeros, zeros]).expect("encodes");
        assert_eq!(all_zero.parameters().collect::<Vec<_>>(), [(1.0, 0), (1.0, 0)]);
    }

    #[test]
    fn what_cannot_be_encoded_is_said() {
        let unit = range(-1.0, 1.0);
        assert_eq!(Codes::asymmetric(DType::F32).parameters(unit), Err(EncodingError::Stored(DType::F32)));
        let limit = EncodingError::Limit { stored: DType::I8, limit: 128, most: 127 };
        assert_eq!(Codes::limited(DType::I8, 128).parameters(unit), Err(limit));
        assert!(Codes::asymmetric(DType::U8).parameters(range(1.0, f32::INFINITY)).is_err());
        assert!(Codes::asymmetric(DType::U8).parameters(range(1.0, 0.0)).is_err());
        assert_eq!(Codes::symmetric(DType::I8).per_channel(0, &[]), Err(EncodingError::NoChannel));
    }

    #[test]
    fn the_reach_is_that_of_the_codes() {
        let encoding = Codes::asymmetric(DType::U8).per_tensor(range(-25.0, 38.75)).expect("encodes");
        assert_eq!(encoding.reach(), range(-25.0, 38.75));
        assert!(!encoding.is_symmetric());
        assert!(Codes::symmetric(DType::U16).per_tensor(range(-1.0, 0.5)).expect("encodes").is_symmetric());
    }

    proptest! {
        /// Every number of a range is within half a step of a code that may be used, and zero is exact.
        #[test]
        fn numbers_in_range_are_near_a_code(
            ends in (-1e6f32..1e6, -1e6f32..1e6),
            part in 0f64..=1.0,
            which in 0usize..7,
        ) {
            let codes = [
                Codes::asymmetric(DType::U8), Codes::asymmetric(DType::I8), Codes::asymmetric(DType::U16),
                Codes::symmetric(DType::I8), Codes::symmetric(DType::I4), Codes::limited(DType::U16, 32639),
                Codes::limited(DType::I16, 32639),
            ][which];
            let range = range(ends.0.min(ends.1), ends.0.max(ends.1)).with_zero();
            let (scale, zero_point) = codes.parameters(range).expect("encodes");
            let (least, largest) = codes.stored_ends(Beyond::Limit).expect("codes");
            let x = f64::from(range.min) + part * (f64::from(range.max) - f64::from(range.min));
            let code = (x / f64::from(scale)).round_ties_even() + f64::from(zero_point);
            let code = code.clamp(least as f64, largest as f64);
            let error = (x - f64::from(scale) * (code - f64::from(zero_point))).abs();
            // A scale is an `f32`, so that after all codes together a number may be a little further off.
            let bound = f64::from(scale) * (0.5 + (largest - least) as f64 * f64::from(f32::EPSILON));
            prop_assert!(error <= bound, "{x}: {error} with scale {scale}");
            prop_assert!((least..=largest).contains(&i64::from(zero_point)));
        }
    }
}
