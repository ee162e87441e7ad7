//! Linear algebra and quantized arithmetic.

use quad_ir::ops::{
    DequantizeLinear, DynamicQuantizeLinear, Einsum, Gemm, MatMul, MatMulInteger, QLinearMatMul,
    QuantizeLinear,
};

use super::{Row, op, read_regular};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] = &[
    op::<MatMul>("MatMul"),
    op::<Gemm>("Gemm").reading(gemm),
    op::<Einsum>("Einsum"),
    op::<MatMulInteger>("MatMulInteger"),
    op::<QLinearMatMul>("QLinearMatMul").since(21),
    op::<QuantizeLinear>("QuantizeLinear").since(23),
    op::<DequantizeLinear>("DequantizeLinear").since(23),
    op::<DynamicQuantizeLinear>("DynamicQuantizeLinear"),
];

/// Before opset 7 stretching the addend had to be asked for.
fn gemm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    context.ignore("broadcast");
    read_regular::<Gemm>(context)
}
