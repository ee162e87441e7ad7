//! Which version of its kernel an operator asks for: the lowest that takes what it is given.
//!
//! The runtime refuses versions that it does not know, and old runtimes and vendors' tools look at them. The rules are those
//! by which the runtime's own converter chooses.

use quad_ir::dtype::DType;

use crate::model::{Operator, Subgraph, Tensor};
use crate::schema::Builtin;

/// The version of `operator`, whose tensors are those of `graph`.
pub(crate) fn version(operator: &Operator, graph: &Subgraph) -> i32 {
    let operand = |index: usize| operator.inputs.get(index).copied().flatten().map(|id| graph.tensor(id));
    let Some(first) = operand(0) else { return 1 };
    match operator.op {
        Builtin::Conv2d => convolution(first, operand(1)),
        Builtin::FullyConnected => fully_connected(operator, first, operand(1)),
        Builtin::Transpose => transpose(first),
        // These know 16-bit integers from version 4 on.
        Builtin::Slice | Builtin::Gather | Builtin::StridedSlice | Builtin::Mul => by_type(first, [1, 2, 4]),
        Builtin::Sub => sub(operator, graph, first),
        Builtin::ResizeNearest => resize(operator, first),
        Builtin::Gelu => by_type(first, [1, 2, 2]),
        Builtin::Quantize => quantize(operator, graph),
        Builtin::Dequantize => dequantize(first),
        Builtin::Equal | Builtin::NotEqual => {
            if first.dtype == DType::Bool {
                2
            } else {
                1
            }
        }
        Builtin::Reshape
        | Builtin::Cast
        | Builtin::Sin
        | Builtin::Cos
        | Builtin::Exp
        | Builtin::Log
        | Builtin::Sqrt
        | Builtin::Neg
        | Builtin::ArgMax
        | Builtin::ArgMin
        | Builtin::SelectV2
        | Builtin::GatherNd
        | Builtin::Div => 1,
        Builtin::BroadcastTo => 2,
        _ => by_type(first, [1, 2, 3]),
    }
}

/// The version for floats, 8-bit integers and 16-bit integers.
fn by_type(tensor: &Tensor, [float, byte, half]: [i32; 3]) -> i32 {
    match tensor.dtype {
        DType::I8 | DType::U8 => byte,
        DType::I16 => half,
        _ => float,
    }
}

fn convolution(input: &Tensor, filter: Option<&Tensor>) -> i32 {
    let Some(filter) = filter else { return 1 };
    if input.sizes.last() != filter.sizes.last() {
        return 6;
    }
    match (input.dtype, filter.dtype) {
        (DType::I8 | DType::I16, DType::I4) => 7,
        (DType::I8, _) => 3,
        (DType::F32, DType::I8) => {
            if filter.quant.as_ref().is_some_and(|quant| quant.axis.is_some()) {
                5
            } else {
                2
            }
        }
        _ => 1,
    }
}

fn fully_connected(operator: &Operator, input: &Tensor, filter: Option<&Tensor>) -> i32 {
    let keeps = operator.option("keep_num_dims") == crate::schema::Value::Bool(true);
    match (input.dtype, filter.map(|filter| filter.dtype)) {
        (DType::I16, Some(DType::I4)) => 13,
        (DType::I16, Some(DType::I16)) => 7,
        _ if operator.inputs.get(2).copied().flatten().is_none() => 6,
        _ if keeps => 5,
        (DType::I8, Some(DType::I4)) => 10,
        (DType::I8, _) => 4,
        _ => 1,
    }
}

fn transpose(input: &Tensor) -> i32 {
    match input.sizes.len() {
        5 => 4,
        6 => 6,
        7.. => 8,
        _ => by_type(input, [1, 2, 5]),
    }
}

fn sub(operator: &Operator, graph: &Subgraph, input: &Tensor) -> i32 {
    let widest = operator.operands().map(|id| graph.tensor(id).sizes.len()).max().unwrap_or(0);
    match input.dtype {
        DType::I16 => 5,
        DType::I64 => 4,
        _ if widest > 4 => 3,
        _ => by_type(input, [1, 2, 5]),
    }
}

fn resize(operator: &Operator, input: &Tensor) -> i32 {
    let centers = operator.option("half_pixel_centers") == crate::schema::Value::Bool(true);
    match input.dtype {
        DType::I16 => 4,
        _ if centers => 3,
        _ => by_type(input, [1, 2, 4]),
    }
}

fn quantize(operator: &Operator, graph: &Subgraph) -> i32 {
    let Some(result) = operator.outputs.first().map(|id| graph.tensor(*id)) else { return 1 };
    let per_channel = result.quant.as_ref().is_some_and(|quant| quant.axis.is_some());
    let from_integers = operator.operands().any(|id| graph.tensor(id).quant.is_some());
    if per_channel {
        3
    } else if result.dtype == DType::I16 || from_integers {
        2
    } else {
        1
    }
}

fn dequantize(input: &Tensor) -> i32 {
    match input.dtype {
        _ if input.quant.as_ref().is_some_and(|quant| quant.axis.is_some()) => 5,
        DType::I4 => 6,
        DType::I16 | DType::F16 => 3,
        DType::I8 => 2,
        _ => 1,
    }
}
