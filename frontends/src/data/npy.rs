//! Arrays in NumPy's `.npy` format, versions 1 to 3.
//!
//! Any byte order and both element orders are read; arrays are written little-endian in row-major order. NumPy has no
//! 16-bit brain floats, no floats of 8 bits or fewer and no integers below a byte. The package `ml_dtypes` adds them,
//! one element to a byte or two, but NumPy's files forget their names:
//!
//! | elements | `numpy.save` writes | read here as |
//! |---|---|---|
//! | `bfloat16` | `<V2` | `bf16`, the only such type of two bytes |
//! | `float8_e5m2` | `<f1` | `f8e5m2` |
//! | the others | `<V1` | what the reader of the array expects; an error when nothing is expected |
//!
//! This writer keeps the name: it describes the elements as a record with one integer field that is called as
//! `ml_dtypes` calls the type, such as `[('bfloat16', '<u2')]` or `[('int4', '|i1')]`. Every NumPy opens that, and
//! `array.view(ml_dtypes.bfloat16)` makes it what it is.

use std::io::{self, Read, Write};

use bytes::Bytes;
use quad_ir::dtype::DType;
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;

use super::npy_header::{self, width};

/// What an array says of itself before its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the elements are.
    pub elements: Elements,
    /// Whether the most significant byte of an element comes first.
    pub big_endian: bool,
    /// Whether the first axis varies fastest.
    pub column_major: bool,
    /// Sizes along each axis, outermost first.
    pub sizes: Vec<u64>,
}

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Elements of this type; those of types below a byte take a byte each.
    Known(DType),
    /// Bytes of a type whose name is lost.
    Unnamed,
}

/// An array could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The bytes do not start as an array does.
    #[error("is no array in NumPy's format; write it with `numpy.save` or `numpy.savez`")]
    NoArray,
    /// The format version is none that exists.
    #[error("has version {0} of NumPy's format, expected 1, 2 or 3")]
    Version(u8),
    /// The header is not as NumPy writes it.
    #[error("the header {0}")]
    Header(String),
    /// The elements are no numbers.
    #[error("has elements {0}, expected numbers or truth values of a fixed width")]
    Elements(String),
    /// The elements are bytes whose type is not told.
    #[error(
        "has elements of one byte whose type NumPy did not keep; view it as `uint8` or `int8`, or as a record with \
         one field named after its type, such as `int4`, before saving it"
    )]
    Unnamed,
    /// The shape is not one that a tensor can have.
    #[error("has the shape {0:?}, larger than a tensor may be (2^48 elements, 32 axes)")]
    TooLarge(Vec<u64>),
    /// The bytes are not as many as the header claims.
    #[error("has {found} bytes of elements, {expected} are expected for {ty}")]
    Length {
        /// Bytes that are there.
        found: u64,
        /// Bytes that the shape asks for.
        expected: u64,
        /// The element type and the shape.
        ty: String,
    },
    /// Reading failed, or the data is damaged.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Elements {
    /// Bytes that an element takes in the array.
    pub fn width(self) -> usize {
        match self {
            Self::Known(dtype) => width(dtype),
            Self::Unnamed => 1,
        }
    }
}

impl Header {
    /// Reads the header of an array. Returns it with the number of bytes it takes.
    pub fn read(from: &mut dyn Read) -> Result<(Self, u64), NpyError> {
        npy_header::read(from)
    }

    /// The type of the tensor, where `expected` is what unnamed elements are taken for.
    pub fn ty(&self, expected: Option<DType>) -> Result<TensorType, NpyError> {
        let dtype = match (self.elements, expected) {
            (Elements::Known(dtype), _) => dtype,
            (Elements::Unnamed, Some(dtype)) if may_be_unnamed(dtype) => dtype,
            (Elements::Unnamed, _) => return Err(NpyError::Unnamed),
        };
        let ty = TensorType::known(dtype, &self.sizes);
        if ty.is_representable() { Ok(ty) } else { Err(NpyError::TooLarge(self.sizes.clone())) }
    }

    /// Bytes of elements that follow the header, or `None` when they are more than fit a number.
    pub fn byte_len(&self) -> Option<u64> {
        let count = self.sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        count?.checked_mul(self.elements.width() as u64)
    }
}

/// Reads an array of which `available` bytes are there, header included. Memory is taken for no more than that.
pub fn read(from: &mut dyn Read, available: u64, expected: Option<DType>) -> Result<Tensor, NpyError> {
    let (header, header_length) = Header::read(from)?;
    let ty = header.ty(expected)?;
    let needed = header.byte_len().unwrap_or(u64::MAX);
    let found = available.saturating_sub(header_length);
    let wrong_length = |found| NpyError::Length { found, expected: needed, ty: ty.to_string() };
    if needed != found {
        return Err(wrong_length(found));
    }
    let mut bytes = Vec::new();
    // `available` may itself be a claim, so that the buffer grows with what really arrives.
    from.take(needed).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != needed {
        return Err(wrong_length(bytes.len() as u64));
    }
    // Reading on to the end lets an archive check its sum.
    if io::copy(&mut from.take(1), &mut io::sink())? > 0 {
        return Err(wrong_length(needed + 1));
    }
    let sizes: Vec<usize> = header.sizes.iter().map(|size| *size as usize).collect();
    let bytes = row_major(&header, &sizes, bytes);
    tensor(ty.dtype, &sizes, bytes).map_err(|error| NpyError::Header(error.to_string()))
}

/// Writes `tensor` as an array.
pub fn write(tensor: &Tensor, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&npy_header::write(tensor.dtype(), tensor.sizes()))?;
    if tensor.dtype().bits() < 8 {
        return to.write_all(&unpacked(tensor));
    }
    to.write_all(tensor.bytes())
}

/// Bytes that [`write`] writes for `tensor`.
pub(super) fn written_len(tensor: &Tensor) -> u64 {
    let header = npy_header::write(tensor.dtype(), tensor.sizes()).len() as u64;
    header + tensor.len() as u64 * width(tensor.dtype()) as u64
}

/// Whether NumPy forgets the name of `dtype` and leaves a byte for each element.
fn may_be_unnamed(dtype: DType) -> bool {
    dtype.is_minifloat() || dtype.bits() < 8
}

/// The tensor of `bytes`, one element to `width(dtype)` of them.
fn tensor(dtype: DType, sizes: &[usize], mut bytes: Vec<u8>) -> Result<Tensor, quad_ir::tensor::TensorError> {
    if dtype.bits() < 8 {
        return Tensor::from_codes(dtype, sizes, &bytes);
    }
    if dtype == DType::Bool {
        for byte in &mut bytes {
            *byte = u8::from(*byte != 0);
        }
    }
    Tensor::new(dtype, sizes, Bytes::from(bytes))
}

/// A byte for each element below a byte, sign-extended where the type is signed.
fn unpacked(tensor: &Tensor) -> Vec<u8> {
    let spare = 8 - tensor.dtype().bits();
    let mut codes = tensor.to_codes();
    if tensor.dtype().is_signed_integer() {
        for code in &mut codes {
            *code = (((*code << spare) as i8) >> spare).cast_unsigned();
        }
    }
    codes
}

/// The elements little-endian and in row-major order.
fn row_major(header: &Header, sizes: &[usize], mut bytes: Vec<u8>) -> Vec<u8> {
    let width = header.elements.width();
    if header.big_endian && width > 1 {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if !header.column_major || sizes.len() < 2 || bytes.is_empty() {
        return bytes;
    }
    let mut sorted = Vec::with_capacity(bytes.len());
    let mut index = vec![0; sizes.len()];
    for _ in 0..bytes.len() / width {
        // In column-major order the stride of an axis is the product of the sizes before it.
        let place = index.iter().zip(sizes).rev().fold(0, |place, (at, size)| place * size + at);
        sorted.extend_from_slice(&bytes[place * width..][..width]);
        for (at, size) in index.iter_mut().zip(sizes).rev() {
            *at += 1;
            if *at < *size {
                break;
            }
            *at = 0;
        }
    }
    sorted
}
