//! An encoding: how the real numbers of one tensor are stored, `real = scale * (stored - zero_point)`.
//!
//! The range of real numbers that is asked for and the encoding that comes of it are two things: an encoding always has
//! zero exactly, and its ends are whole steps away from it.

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
}

impl Encoding {
    /// One scale and zero point for a tensor of `f32`.
    pub fn per_tensor(stored: DType, scale: f32, zero_point: i32) -> Result<Self, QuantError> {
        Ok(Self { stored, quant: Quant::per_tensor(scale, zero_point)? })
    }
}
