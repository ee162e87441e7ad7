//! Affine quantization: `real = scale * (stored - zero_point)`, equation (4) of the paper, per tensor, along an axis,
//! or in blocks along an axis.

use std::fmt;
use std::sync::Arc;

use super::{Shape, TensorType};
use crate::attr::F32Bits;
use crate::dtype::DType;

/// How stored integers stand for real numbers. Part of a value's type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quant {
    /// The axis along which scales differ, or `None` for one scale.
    pub axis: Option<u8>,
    /// Elements along `axis` that share a scale, or `None` for one scale per index.
    pub block: Option<u32>,
    /// One positive scale, or one per index along `axis`. With `block` one per block along `axis`, or one per block and
    /// index of every other axis: then they lie in the order of a tensor whose axis `axis` has as many sizes as blocks.
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

/// An element type together with how its elements stand for real numbers: what a node may state of a result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Encoded {
    /// The type of stored elements.
    pub stored: DType,
    /// What they stand for.
    pub quant: Arc<Quant>,
}

impl Encoded {
    /// Elements of `stored` that stand for real numbers as `quant` says.
    pub fn new(stored: DType, quant: impl Into<Arc<Quant>>) -> Self {
        Self { stored, quant: quant.into() }
    }

    /// One scale and zero point for a whole tensor of real `f32`.
    pub fn per_tensor(stored: DType, scale: f32, zero_point: i32) -> Result<Self, QuantError> {
        Quant::per_tensor(scale, zero_point).map(|quant| Self::new(stored, quant))
    }

    /// The encoding that is part of `ty`.
    pub fn of(ty: &TensorType) -> Option<Self> {
        ty.quant.as_ref().map(|quant| Self { stored: ty.dtype, quant: quant.clone() })
    }

    /// The type of stored tensors of shape `shape`.
    pub fn ty(&self, shape: Shape) -> TensorType {
        TensorType { dtype: self.stored, shape, quant: Some(self.quant.clone()) }
    }

    /// Why tensors of shape `shape` cannot be stored so, if they cannot.
    pub fn misfit(&self, shape: &Shape) -> Option<String> {
        let (stored, quant) = (self.stored, &*self.quant);
        if let Err(error) = quant.check() {
            return Some(error.to_string());
        }
        if !quant.expressed.is_float() {
            return Some(format!("real numbers cannot be {}", quant.expressed));
        }
        if !(stored.is_integer() || stored.is_minifloat()) {
            return Some(format!("stored elements cannot be {stored}"));
        }
        let range = stored.integer_range().unwrap_or((0, 0));
        let outside =
            quant.zero_points.iter().find(|zero| !(range.0..=range.1).contains(&i128::from(**zero)));
        if let Some(zero_point) = outside {
            return Some(format!("zero point {zero_point} is no value of {stored}"));
        }
        self.misplaced(shape)
    }

    /// Why the scales do not belong to the axes of `shape`, if they do not.
    fn misplaced(&self, shape: &Shape) -> Option<String> {
        let quant = &*self.quant;
        let Some(axis) = quant.axis else {
            return quant.block.map(|_| "blocks need an axis".to_owned());
        };
        let Some(dim) = shape.get(usize::from(axis)) else {
            return Some(format!("there is no axis {axis}"));
        };
        let scales = quant.scales.len() as u64;
        let counted =
            |expected: String| Some(format!("{scales} scales where axis {axis} asks for {expected}"));
        match (dim.known()?, quant.block) {
            (_, Some(0)) => Some("blocks have no elements".to_owned()),
            (size, None) if scales == size => None,
            (size, None) => counted(size.to_string()),
            (size, Some(block)) => {
                let blocks = size.div_ceil(u64::from(block));
                let others = shape.iter().enumerate().filter(|(index, _)| *index != usize::from(axis));
                let all =
                    others.map(|(_, dim)| dim.known()).try_fold(blocks, |all, size| all.checked_mul(size?));
                match all {
                    _ if scales == blocks => None,
                    Some(all) if scales == all => None,
                    Some(all) if all != blocks => {
                        counted(format!("{blocks}, or {all} with those of other axes"))
                    }
                    Some(_) => counted(blocks.to_string()),
                    None => None,
                }
            }
        }
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
