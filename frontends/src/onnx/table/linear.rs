//! Linear algebra, convolution, pooling, normalization, quantized arithmetic.

use quad_ir::ops::MatMul;

use super::{Row, op};

pub(super) const ROWS: &[Row] = &[op::<MatMul>("MatMul")];
