//! Tensors with elements: what the interpreter computes on, and what constants are.

mod cast;
mod convert;
mod element;
mod lane;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

pub use cast::Narrowing;
pub use element::{Element, Number, compute_dtype};
pub(crate) use lane::with_lane;

use crate::dtype::DType;
use crate::types::TensorType;

/// Sizes along each axis of a tensor that exists.
pub type Sizes = SmallVec<[usize; 6]>;

/// Elements of one type in row-major order. Cloning shares the bytes.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    sizes: Sizes,
    bytes: Bytes,
}

/// A tensor could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The bytes are not as many as the sizes and the element type ask for.
    #[error("{dtype}{sizes:?} needs {expected} bytes, found {found}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Sizes along each axis.
        sizes: Vec<usize>,
        /// Bytes that the type needs.
        expected: String,
        /// Bytes that are there.
        found: usize,
    },
    /// The elements are of another type than the reader takes.
    #[error("elements are {found}, expected {expected}")]
    DType {
        /// What the elements are.
        found: DType,
        /// What was asked for.
        expected: String,
    },
}

/// A `Vec` of elements seen as the bytes that [`Bytes`] shares.
struct Owned<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Tensor {
    /// A tensor over `bytes`: packed little-endian elements in row-major order.
    pub fn new(dtype: DType, sizes: &[usize], bytes: Bytes) -> Result<Self, TensorError> {
        let expected = element_count(sizes).and_then(|count| dtype.byte_len(count as u64));
        if expected != Some(bytes.len() as u64) {
            return Err(TensorError::Length {
                dtype,
                sizes: sizes.to_vec(),
                expected: expected.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string()),
                found: bytes.len(),
            });
        }
        Ok(Self { dtype, sizes: sizes.into(), bytes })
    }

    /// A tensor that takes over `elements`.
    pub fn from_vec<T: Element>(sizes: &[usize], elements: Vec<T>) -> Result<Self, TensorError> {
        Self::from_elements(T::DTYPE, sizes, elements)
    }

    /// A tensor of truth values.
    pub fn from_bools(sizes: &[usize], elements: Vec<bool>) -> Result<Self, TensorError> {
        Self::from_elements(DType::Bool, sizes, elements.into_iter().map(u8::from).collect())
    }

    /// A tensor without axes.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self { dtype: T::DTYPE, sizes: Sizes::new(), bytes: Bytes::from_owner(Owned(vec![value])) }
    }

    /// A tensor of zeros.
    pub fn zeros(dtype: DType, sizes: &[usize]) -> Result<Self, TensorError> {
        let count = element_count(sizes).and_then(|count| dtype.byte_len(count as u64));
        let length = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        if length == usize::MAX {
            return Self::new(dtype, sizes, Bytes::new());
        }
        Self::filled_by(dtype, sizes, length, |_| Ok(()))
    }

    /// A tensor of `length` bytes that `fill` writes, aligned for every element type.
    pub(crate) fn filled_by<E: From<TensorError>>(
        dtype: DType,
        sizes: &[usize],
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut words = vec![0u64; length.div_ceil(8)];
        fill(&mut bytemuck::cast_slice_mut(&mut words)[..length])?;
        Ok(Self::new(dtype, sizes, Bytes::from_owner(Owned(words)).slice(..length))?)
    }

    /// Elements that are stored as `T` although they are of type `dtype` (truth values and 8-bit floats in `u8`).
    pub(crate) fn from_elements<T: Element>(
        dtype: DType,
        sizes: &[usize],
        elements: Vec<T>,
    ) -> Result<Self, TensorError> {
        Self::new(dtype, sizes, Bytes::from_owner(Owned(elements)))
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes along each axis, outermost first.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.sizes.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packed little-endian elements.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The type of this tensor as a value of a graph.
    pub fn ty(&self) -> TensorType {
        let sizes: SmallVec<[u64; 6]> = self.sizes.iter().map(|size| *size as u64).collect();
        TensorType::known(self.dtype, &sizes)
    }

    /// The elements, which must be of type `T::DTYPE`. Copies only when a mapped file holds them unaligned.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if self.dtype == T::DTYPE {
            return Ok(self.stored());
        }
        Err(TensorError::DType { found: self.dtype, expected: T::DTYPE.to_string() })
    }

    /// The same elements under other sizes with the same product.
    pub fn reshaped(&self, sizes: &[usize]) -> Result<Self, TensorError> {
        Self::new(self.dtype, sizes, self.bytes.clone())
    }

    /// The bytes as elements stored in `T`, whatever they stand for.
    pub(crate) fn stored<T: Element>(&self) -> Cow<'_, [T]> {
        match bytemuck::try_cast_slice(&self.bytes) {
            Ok(elements) => Cow::Borrowed(elements),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.bytes)),
        }
    }
}

/// The product of `sizes`, or `None` when it overflows.
pub fn element_count(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
}

/// Prints the type and the first elements.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?} ", self.dtype, self.sizes.as_slice())?;
        match self.to_f64() {
            Ok(values) => f.debug_list().entries(values.iter().take(16)).finish(),
            Err(_) => f.write_str("[..]"),
        }
    }
}
