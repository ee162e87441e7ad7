//! Affine quantization: `real = scale * (stored - zero_point)`, equation (4) of the paper, per tensor, along an axis,
//! or in blocks along an axis.

use std::fmt;

use crate::attr::F32Bits;
use crate::dtype::DType;

/// How stored integers stand for real numbers. Part of a value's type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quant {
    /// The axis along which scales differ, or `None` for one scale.
    pub axis: Option<u8>,
    /// Elements along `axis` that share a scale, or `None` for one scale per index.
    pub block: Option<u32>,
    /// One positive scale, or one per index (or block) along `axis`.
    pub scales: Box<[F32Bits]>,
    /// As many as `scales`. Zero throughout for symmetric encodings.
    pub zero_points: Box<[i32]>,
    /// The floating-point type of the real numbers.
    pub expressed: DType,
}

/// The parameters do not describe a quantization.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantError {
    /// There is no scale, or not one zero point for each.
    #[error("{scales} scales and {zero_points} zero points: expected at least one, and as many of each")]
    Counts {
        /// How many scales were given.
        scales: usize,
        /// How many zero points were given.
        zero_points: usize,
    },
    /// A scale is zero, negative, infinite or not a number.
    #[error("scale {0} is not a positive number")]
    Scale(F32Bits),
    /// Several scales without an axis along which they differ.
    #[error("{0} scales need an axis")]
    NoAxis(usize),
}

impl Quant {
    /// One scale and zero point for a whole tensor of real `f32`.
    pub fn per_tensor(scale: f32, zero_point: i32) -> Result<Self, QuantError> {
        let quant = Self {
            axis: None,
            block: None,
            scales: Box::new([F32Bits::from(scale)]),
            zero_points: Box::new([zero_point]),
            expressed: DType::F32,
        };
        quant.check().map(|()| quant)
    }

    /// Whether the parameters fit together.
    pub fn check(&self) -> Result<(), QuantError> {
        let (scales, zero_points) = (self.scales.len(), self.zero_points.len());
        if scales == 0 || scales != zero_points {
            return Err(QuantError::Counts { scales, zero_points });
        }
        if self.axis.is_none() && scales != 1 {
            return Err(QuantError::NoAxis(scales));
        }
        let bad = self.scales.iter().find(|scale| !(scale.get().is_finite() && scale.get() > 0.0));
        bad.map_or(Ok(()), |scale| Err(QuantError::Scale(*scale)))
    }
}

/// Writes `quant(scale = [0.5], zero_point = [3], axis = 1, block = 32, of = f32)`, absent parts left out.
impl fmt::Display for Quant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(", ");
        let scales = list(self.scales.iter().map(ToString::to_string).collect());
        let zero_points = list(self.zero_points.iter().map(ToString::to_string).collect());
        write!(f, "quant(scale = [{scales}], zero_point = [{zero_points}]")?;
        if let Some(axis) = self.axis {
            write!(f, ", axis = {axis}")?;
        }
        if let Some(block) = self.block {
            write!(f, ", block = {block}")?;
        }
        write!(f, ", of = {})", self.expressed)
    }
}
