//! Writes a model as the file that the runtime maps: tables first, then the bytes of the constants, one after the other.
//!
//! The tables are built in memory and are small. The bytes of constants follow behind them, streamed one tensor at a time,
//! so that memory does not grow with the model. The format allows that: an offset in a flatbuffer points forward to any
//! place, so the tables are written with places left open, and the offsets are filled in once the length of the tables is
//! known. A flatbuffer ends at 2 GB; where constants would reach beyond [`INLINE_LIMIT`], they lie outside of it, in the
//! same file, and tables hold their places counted from the start of the file.
//!
//! The same model gives the same bytes.

mod body;
mod patch;

use std::io::{self, Write};
use std::path::Path;

use quad_ir::weights::WeightError;
use quad_ir::whole_file::WholeFile;

use crate::model::{Content, LiteRtModel, Tensor};
use body::Body;

/// Bytes of constants up to which they are part of the flatbuffer, which must stay under 2 GB as a whole.
pub const INLINE_LIMIT: u64 = 1_900_000_000;

/// Bytes of constants begin at multiples of this, which is what the widest of the runtime's kernels asks for.
const ALIGNMENT: u64 = 64;

/// Zeros behind the last constant: kernels may read a little beyond the end of a tensor.
const TAIL: u64 = 16;

/// A model could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The elements of a constant could not be had.
    #[error("constant `{name}`: {error}")]
    Weight {
        /// The tensor.
        name: String,
        /// What went wrong.
        error: WeightError,
    },
    /// A size does not fit the format: a fault of the lowering, which checks sizes.
    #[error("tensor `{name}` has a size beyond 2^31, which the format cannot hold")]
    Size {
        /// The tensor.
        name: String,
    },
    /// A constant is of a type that the format lacks: a fault of the lowering, which checks types.
    #[error("tensor `{name}` is of type {dtype}, which the format cannot hold")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
}

/// Writes `model` to `path`; the file appears whole or not at all. Returns its length in bytes.
pub fn write_file(model: &LiteRtModel, path: &Path) -> Result<u64, WriteError> {
    let io = |error| WriteError::Io { path: path.display().to_string(), error };
    let mut file = WholeFile::create(path).map_err(io)?;
    let length = write(model, INLINE_LIMIT, &mut io::BufWriter::new(&mut file))?;
    file.publish().map_err(io)?;
    Ok(length)
}

/// Writes `model` to `out`, with constants inside the flatbuffer when they are at most `inline_limit` bytes together.
/// Returns how many bytes were written.
pub fn write(model: &LiteRtModel, inline_limit: u64, out: &mut dyn Write) -> Result<u64, WriteError> {
    let body = Body::new(model, inline_limit)?;
    let io = |error| WriteError::Io { path: "(output)".to_owned(), error };
    let mut out = Counted { out, written: 0 };
    out.write_all(&body.bytes).map_err(io)?;
    for (buffer, place) in body.buffers.iter().zip(&body.places) {
        out.zeros_until(place.start - place.prefix).map_err(io)?;
        if place.prefix > 0 {
            out.write_all(&(place.length as u32).to_le_bytes()).map_err(io)?;
        }
        match &buffer.content {
            Content::Bytes(bytes) => out.write_all(bytes).map_err(io)?,
            Content::Weight(weight) => model
                .weights
                .stream(*weight, &mut out)
                .map_err(|error| WriteError::Weight { name: buffer.name.clone(), error })?,
            Content::Computed => {}
        }
    }
    let end = out.written + TAIL;
    out.zeros_until(end).map_err(io)?;
    out.flush().map_err(io)?;
    Ok(out.written)
}

/// The bytes that the elements of `tensor` take.
fn byte_length(tensor: &Tensor) -> Option<u64> {
    let elements = tensor.sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size))?;
    tensor.dtype.byte_len(elements)
}

/// Counts what is written.
struct Counted<'o> {
    out: &'o mut dyn Write,
    written: u64,
}

impl Counted<'_> {
    /// Writes zeros up to the place `end`, which is at most some dozen bytes ahead.
    fn zeros_until(&mut self, end: u64) -> io::Result<()> {
        let missing = end.saturating_sub(self.written) as usize;
        self.write_all(&[0; (ALIGNMENT + TAIL) as usize][..missing])
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
