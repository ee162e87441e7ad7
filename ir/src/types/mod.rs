//! What a value is: element type, sizes, and how stored integers stand for real numbers.

mod agree;
mod dim;
mod known;
mod quant;
mod shape;

use std::fmt;
use std::sync::Arc;

pub(crate) use dim::MAX_SUM;
pub use dim::{Dim, DimExpr, SymId};
pub use known::{Known, SymTensor};
pub use quant::{Encoded, Quant, QuantError};
pub(crate) use shape::write_shape;
pub use shape::{Shape, SymTable};

use crate::dtype::DType;

/// Elements beyond which a tensor is refused when a graph is built: 2^48, more than any machine holds.
pub const MAX_ELEMENTS: u64 = 1 << 48;

/// Axes beyond which a tensor is refused when a graph is built.
pub const MAX_RANK: usize = 32;

/// The type of a value. Equal types are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// Type of the stored elements.
    pub dtype: DType,
    /// Sizes along each axis.
    pub shape: Shape,
    /// What stored integers stand for, when they stand for real numbers.
    pub quant: Option<Arc<Quant>>,
}

impl TensorType {
    /// A type without quantization.
    pub fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape, quant: None }
    }

    /// A type without quantization and with known sizes.
    pub fn known(dtype: DType, sizes: &[u64]) -> Self {
        Self::new(dtype, Shape::known(sizes))
    }

    /// The type of the real numbers that the elements stand for; without quantization the type itself.
    #[must_use]
    pub fn expressed(&self) -> Self {
        let dtype = self.quant.as_ref().map_or(self.dtype, |quant| quant.expressed);
        Self::new(dtype, self.shape.clone())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Bytes of the packed elements, when all sizes are known and the count does not overflow.
    pub fn byte_len(&self) -> Option<u64> {
        let elements = self.shape.iter().try_fold(1u64, |product, dim| product.checked_mul(dim.known()?))?;
        self.dtype.byte_len(elements)
    }

    /// Whether the sizes are ones that a machine could hold: see [`MAX_ELEMENTS`] and [`MAX_RANK`].
    pub fn is_representable(&self) -> bool {
        let product = self.shape.iter().filter_map(Dim::known).try_fold(1u64, |product, size| {
            // An axis of size 0 must not hide that the others overflow.
            product.checked_mul(size.max(1)).filter(|elements| *elements <= MAX_ELEMENTS)
        });
        self.rank() <= MAX_RANK && product.is_some()
    }
}

/// Prints symbols by their ids; the text format prints them by name.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)?;
        match &self.quant {
            Some(quant) => write!(f, " {quant}"),
            None => Ok(()),
        }
    }
}
