//! Linear algebra and quantized arithmetic.

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{
    DequantizeLinear, DynamicQuantizeLinear, Einsum, Gemm, MatMul, MatMulInteger, QLinearMatMul,
    QuantizeLinear,
};

use super::{Row, op, read_regular};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;
use crate::onnx::export::WriteError;
use crate::onnx::write_node::{WriteNode, write_regular};

pub(super) const ROWS: &[Row] = &[
    op::<MatMul>("MatMul"),
    op::<Gemm>("Gemm").reading(gemm),
    op::<Einsum>("Einsum").newer(einsum_opset),
    op::<MatMulInteger>("MatMulInteger"),
    op::<QLinearMatMul>("QLinearMatMul").since(21),
    op::<QuantizeLinear>("QuantizeLinear").since(21).newer(quantize_opset),
    op::<DequantizeLinear>("DequantizeLinear").writing(write_dequantize).since(21).newer(dequantize_opset),
    op::<DynamicQuantizeLinear>("DynamicQuantizeLinear"),
];

/// Sums of products of `bf16` came late.
fn einsum_opset(node: NodeRef<'_>) -> i64 {
    if node.result().ty().dtype == DType::BF16 { 28 } else { 1 }
}

/// Operator set 23 added `precision`, and scales of another type than the numbers.
fn quantize_opset(node: NodeRef<'_>) -> i64 {
    let mut dtypes = node.operands().take(2).flatten().map(|operand| operand.ty().dtype);
    let mixed = dtypes.next() != dtypes.next();
    let precise = node.is::<QuantizeLinear>().is_some_and(|op| op.precision.is_some());
    if mixed || precise { 23 } else { 1 }
}

/// Operator set 23 added `output_dtype`.
fn dequantize_opset(node: NodeRef<'_>) -> i64 {
    if node.is::<DequantizeLinear>().is_some_and(|op| op.output_dtype.is_some()) { 23 } else { 1 }
}

/// What is stored in 64 bits cannot be read in ONNX; constants of that kind are written as the numbers they stand for.
fn write_dequantize(write: &mut WriteNode<'_>) -> Result<(), WriteError> {
    if write.node.operand("x").is_some_and(|x| x.ty().dtype == DType::I64) {
        let loc = write.node.loc().to_string();
        return Err(WriteError::NoForm { op: "dequantize_linear of i64", loc });
    }
    write_regular(write)
}

/// Before opset 7 stretching the addend had to be asked for.
fn gemm(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    context.ignore("broadcast");
    read_regular::<Gemm>(context)
}

#[cfg(test)]
mod tests {
    use quad_ir::graph::NodeRef;
    use quad_ir::ops::QuantizeLinear;

    use crate::onnx::table::one_node::{int, read};

    #[test]
    fn an_element_type_of_code_0_is_not_stated() {
        let read = |code| read(("QuantizeLinear", 21), &[&[2], &[]], vec![int("output_dtype", code)], 1);
        let module = read(0).expect("is read");
        let graph = module.main().expect("a graph");
        let op = graph.nodes().find_map(NodeRef::is::<QuantizeLinear>).expect("the operation is there");
        assert_eq!(op.output_dtype, None);
        assert!(read(-1).is_err());
    }
}
