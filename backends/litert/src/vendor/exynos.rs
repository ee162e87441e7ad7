//! Exynos: the operators for which LiteRT's Samsung plugin has a builder. It looks at no element types, so whether Exynos
//! compiles a model that follows these rules only Exynos can tell.

use quad_ir::dtype::DType;

use super::{Ask, VendorRules, computes_operand};
use crate::schema::Builtin;

const PLUGIN: &str = "LiteRT's Samsung plugin, observed with version 2.3.0";

const ANY: &[DType] = &[];

/// The rules of the plugin.
pub const RULES: VendorRules = VendorRules {
    operators: &[
        (Builtin::Abs, ANY),
        (Builtin::Add, ANY),
        (Builtin::ArgMax, ANY),
        (Builtin::AveragePool2d, ANY),
        (Builtin::BatchMatMul, ANY),
        (Builtin::BroadcastTo, ANY),
        (Builtin::Cast, ANY),
        (Builtin::Ceil, ANY),
        (Builtin::Concatenation, ANY),
        (Builtin::Conv2d, ANY),
        (Builtin::Cos, ANY),
        (Builtin::Dequantize, ANY),
        (Builtin::Div, ANY),
        (Builtin::Equal, ANY),
        (Builtin::Exp, ANY),
        (Builtin::Floor, ANY),
        (Builtin::FullyConnected, ANY),
        (Builtin::Gather, ANY),
        (Builtin::GatherNd, ANY),
        (Builtin::Gelu, ANY),
        (Builtin::Greater, ANY),
        (Builtin::GreaterEqual, ANY),
        (Builtin::HardSwish, ANY),
        (Builtin::LeakyRelu, ANY),
        (Builtin::Less, ANY),
        (Builtin::Log, ANY),
        (Builtin::LogicalAnd, ANY),
        (Builtin::Logistic, ANY),
        (Builtin::MaxPool2d, ANY),
        (Builtin::Maximum, ANY),
        (Builtin::Mean, ANY),
        (Builtin::Minimum, ANY),
        (Builtin::Mul, ANY),
        (Builtin::NotEqual, ANY),
        (Builtin::Pad, ANY),
        (Builtin::Pow, ANY),
        (Builtin::Quantize, ANY),
        (Builtin::ReduceMax, ANY),
        (Builtin::ReduceMin, ANY),
        (Builtin::Relu, ANY),
        (Builtin::Reshape, ANY),
        (Builtin::ResizeNearest, ANY),
        (Builtin::Rsqrt, ANY),
        (Builtin::SelectV2, ANY),
        (Builtin::Sin, ANY),
        (Builtin::Slice, ANY),
        (Builtin::Softmax, ANY),
        (Builtin::Sqrt, ANY),
        (Builtin::StridedSlice, ANY),
        (Builtin::Sub, ANY),
        (Builtin::Sum, ANY),
        (Builtin::Tanh, ANY),
        (Builtin::Transpose, ANY),
    ],
    source: PLUGIN,
    asks: &[Ask {
        of: &[Builtin::StridedSlice],
        against: |op, graph| computes_operand(1, op, graph),
        source: PLUGIN,
    }],
};
