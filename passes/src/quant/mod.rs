//! Between the two forms of a quantized graph.
//!
//! In the one, `quantize_linear` and `dequantize_linear` stand around operations that compute with floats; scales and zero
//! points are constants that they read. In the other, values are of quantized types, and operations state how their results
//! are stored. Both mean the same.

mod copy;
pub mod fold_quant;
pub mod linear;
pub mod unfold_quant;
