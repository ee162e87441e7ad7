//! Qualcomm through LiteRT: what the plugin compiles for the Hexagon NPU with Qualcomm's libraries, as observed.
//!
//! A graph for Qualcomm's own interface is another backend's; these rules are about models of this one.

use quad_ir::dtype::DType;

use super::{Ask, VendorRules, computes_i64, more_axes_than};
use crate::model::{Operator, Subgraph};
use crate::schema::Builtin;

const APPLIED: &str = "LiteRT's Qualcomm plugin with QNN 2.51, observed";

const ANY: &[DType] = &[];
/// Floats and stored integers of 8 bits.
const NARROW: &[DType] = &[DType::F32, DType::F16, DType::I8];
const FLOATS: &[DType] = &[DType::F32, DType::F16];
/// What was observed of no other type.
const SINGLE: &[DType] = &[DType::F32];
/// Everything but 32-bit integers.
const REALS: &[DType] = &[DType::F32, DType::F16, DType::I8, DType::I16];

/// The rules of SM8650 and later.
pub const RULES: VendorRules = VendorRules {
    operators: &[
        (Builtin::Abs, NARROW),
        (Builtin::Add, ANY),
        (Builtin::AveragePool2d, NARROW),
        (Builtin::BatchMatMul, REALS),
        (Builtin::BroadcastTo, REALS),
        (Builtin::Cast, ANY),
        (Builtin::Ceil, SINGLE),
        (Builtin::Concatenation, ANY),
        (Builtin::Conv2d, REALS),
        (Builtin::Cos, FLOATS),
        (Builtin::Dequantize, ANY),
        (Builtin::Div, REALS),
        (Builtin::Equal, SINGLE),
        (Builtin::Exp, FLOATS),
        (Builtin::Floor, SINGLE),
        (Builtin::FullyConnected, REALS),
        (Builtin::Gather, ANY),
        (Builtin::GatherNd, SINGLE),
        (Builtin::Gelu, REALS),
        (Builtin::Greater, SINGLE),
        (Builtin::GreaterEqual, SINGLE),
        (Builtin::HardSwish, NARROW),
        (Builtin::LeakyRelu, REALS),
        (Builtin::Less, SINGLE),
        (Builtin::LessEqual, SINGLE),
        (Builtin::Log, NARROW),
        (Builtin::LogicalAnd, ANY),
        (Builtin::LogicalNot, ANY),
        (Builtin::LogicalOr, ANY),
        (Builtin::Logistic, REALS),
        (Builtin::MaxPool2d, REALS),
        (Builtin::Maximum, REALS),
        (Builtin::Mean, REALS),
        (Builtin::Minimum, NARROW),
        (Builtin::Mul, ANY),
        (Builtin::Neg, FLOATS),
        (Builtin::NotEqual, SINGLE),
        (Builtin::Pad, REALS),
        (Builtin::Pow, FLOATS),
        (Builtin::Quantize, ANY),
        (Builtin::ReduceMax, REALS),
        (Builtin::ReduceMin, SINGLE),
        (Builtin::Relu, REALS),
        (Builtin::Reshape, ANY),
        (Builtin::ResizeNearest, NARROW),
        (Builtin::Rsqrt, REALS),
        (Builtin::SelectV2, ANY),
        (Builtin::Sin, FLOATS),
        (Builtin::Slice, REALS),
        (Builtin::Softmax, REALS),
        (Builtin::Sqrt, REALS),
        (Builtin::StridedSlice, REALS),
        (Builtin::Sub, ANY),
        (Builtin::Sum, REALS),
        (Builtin::Tanh, REALS),
        (Builtin::Transpose, REALS),
    ],
    source: APPLIED,
    asks: &[
        Ask { of: &[], against: reads_i64, source: APPLIED },
        Ask { of: &[Builtin::Transpose], against: too_many_axes, source: APPLIED },
        Ask { of: &[Builtin::Conv2d], against: reads_half_bytes, source: APPLIED },
    ],
};

/// Casts make 64-bit integers, and nothing reads or makes them otherwise.
fn reads_i64(operator: &Operator, graph: &Subgraph) -> Option<String> {
    let reads = operator.operands().any(|id| graph.tensor(id).dtype == DType::I64);
    if operator.op == Builtin::Cast && !reads { None } else { computes_i64(operator, graph) }
}

/// The plugin gives scales of 4-bit kernels another axis than the libraries ask for.
fn reads_half_bytes(operator: &Operator, graph: &Subgraph) -> Option<String> {
    let reads = operator.operands().any(|id| graph.tensor(id).dtype == DType::I4);
    reads.then(|| "kernels of 4 bits are not taken; --precision w8a16 or w8a8 stores 8".to_owned())
}

/// Transpositions of stored integers of 16 bits have one axis less.
fn too_many_axes(operator: &Operator, graph: &Subgraph) -> Option<String> {
    let is_half = operator.operands().next().is_some_and(|id| graph.tensor(id).dtype == DType::I16);
    more_axes_than(if is_half { 4 } else { 5 }, operator, graph)
}
