//! What is known of a value's elements before the graph runs.
//!
//! Exporters compute shapes at run time, so type rules look at values and not only at types. A value is known either
//! as a constant, or, for small integer tensors, as polynomials of the symbolic sizes.

use smallvec::SmallVec;

use super::dim::DimExpr;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// The elements of a value, as far as they are known when the graph is built.
#[derive(Clone, Debug)]
pub enum Known {
    /// All elements are numbers.
    Constant(Tensor),
    /// Integer elements that depend on symbolic sizes.
    Symbolic(SymTensor),
}

/// A small integer tensor whose elements are polynomials of symbolic sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymTensor {
    /// An integer type.
    pub dtype: DType,
    /// Sizes along each axis; their product is the number of elements.
    pub sizes: SmallVec<[usize; 6]>,
    /// Elements in row-major order.
    pub elements: Vec<DimExpr>,
}

/// Tensors with more elements than this are not followed symbolically: shapes have few axes.
const MAX_SYMBOLIC_ELEMENTS: usize = 64;

impl SymTensor {
    /// A vector of 64-bit integers.
    pub fn vector(elements: Vec<DimExpr>) -> Self {
        Self { dtype: DType::I64, sizes: SmallVec::from_slice(&[elements.len()]), elements }
    }

    /// The same elements as numbers, when no symbol is left and each fits `dtype`.
    pub fn as_constant(&self) -> Option<Tensor> {
        let values: Option<Vec<i64>> = self.elements.iter().map(DimExpr::as_constant).collect();
        Tensor::from_i64(self.dtype, &self.sizes, values?).ok()
    }
}

impl Known {
    /// A symbolic tensor, or the constant it turns out to be.
    pub fn from_symbolic(tensor: SymTensor) -> Self {
        tensor.as_constant().map_or_else(|| Self::Symbolic(tensor), Self::Constant)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Constant(tensor) => tensor.len(),
            Self::Symbolic(tensor) => tensor.elements.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as numbers, when all are.
    pub fn constant(&self) -> Option<&Tensor> {
        match self {
            Self::Constant(tensor) => Some(tensor),
            Self::Symbolic(_) => None,
        }
    }

    /// The elements as polynomials, for integer tensors of at most 64 elements.
    pub fn symbolic(&self) -> Option<SymTensor> {
        match self {
            Self::Symbolic(tensor) => Some(tensor.clone()),
            Self::Constant(tensor) => {
                if !tensor.dtype().is_integer() || tensor.len() > MAX_SYMBOLIC_ELEMENTS {
                    return None;
                }
                let elements = tensor.to_i64().ok()?.iter().map(|value| DimExpr::constant(*value)).collect();
                Some(SymTensor { dtype: tensor.dtype(), sizes: tensor.sizes().into(), elements })
            }
        }
    }
}
