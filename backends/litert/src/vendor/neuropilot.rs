//! NeuroPilot: what LiteRT's MediaTek plugin legalizes, and what the documentation of the MDLA says of its generations.
//!
//! A model that follows these rules is legalized by the plugin; whether NeuroPilot compiles it only NeuroPilot can tell.

use quad_ir::dtype::DType;

use super::{Ask, VendorRules, computes_i64, more_axes_than, tensors};
use crate::model::{Operator, Subgraph};
use crate::schema::Builtin;

const PLUGIN: &str = "LiteRT's MediaTek plugin, observed with version 2.3.0";
const MDLA: &str = "MDLA guideline, documented";
const MDLA_5: &str = "MDLA 5.3 operator list of NeuroPilot 8.0.10, documented";

/// Generations of the MDLA, oldest first.
pub const ARCHS: &[&str] = &["mdla2.0", "mdla3.0", "mdla5.3", "mdla5.5"];

/// The element types that the plugin has a Neuron type for; what it takes of each operator does not depend on them.
const TYPES: &[DType] = &[];

/// What the plugin legalizes.
const OPERATORS: &[(Builtin, &[DType])] = &[
    (Builtin::Abs, TYPES),
    (Builtin::Add, TYPES),
    (Builtin::AveragePool2d, TYPES),
    (Builtin::BatchMatMul, TYPES),
    (Builtin::Cast, TYPES),
    (Builtin::Concatenation, TYPES),
    (Builtin::Conv2d, TYPES),
    (Builtin::Dequantize, TYPES),
    (Builtin::Div, TYPES),
    (Builtin::FullyConnected, TYPES),
    (Builtin::Gelu, TYPES),
    (Builtin::Greater, TYPES),
    (Builtin::HardSwish, TYPES),
    (Builtin::LeakyRelu, TYPES),
    (Builtin::Less, TYPES),
    (Builtin::Logistic, TYPES),
    (Builtin::MaxPool2d, TYPES),
    (Builtin::Maximum, TYPES),
    (Builtin::Mean, TYPES),
    (Builtin::Minimum, TYPES),
    (Builtin::Mul, TYPES),
    (Builtin::Pad, TYPES),
    (Builtin::PadV2, TYPES),
    (Builtin::Quantize, TYPES),
    (Builtin::ReduceMax, TYPES),
    (Builtin::Relu, TYPES),
    (Builtin::Reshape, TYPES),
    (Builtin::ResizeNearest, TYPES),
    (Builtin::Rsqrt, TYPES),
    (Builtin::Slice, TYPES),
    (Builtin::Softmax, TYPES),
    (Builtin::Sqrt, TYPES),
    (Builtin::StridedSlice, TYPES),
    (Builtin::Sub, TYPES),
    (Builtin::Sum, TYPES),
    (Builtin::Tanh, TYPES),
    (Builtin::Transpose, TYPES),
];

/// What the plugin asks of all operators.
const I64: Ask = Ask { of: &[], against: computes_i64, source: PLUGIN };

/// What all generations ask.
const RANK: Ask = Ask { of: &[], against: |op, graph| more_axes_than(4, op, graph), source: MDLA };
const BATCH_255: Ask =
    Ask { of: &[], against: |op, graph| larger_than([255, 65535], op, graph), source: MDLA };
const BATCH_65535: Ask =
    Ask { of: &[], against: |op, graph| larger_than([65535, 65535], op, graph), source: MDLA };
const NOT_ON_5: Ask = Ask {
    of: &[Builtin::Greater, Builtin::Less, Builtin::LeakyRelu],
    against: |_, _| Some("the MDLA has no such operation".to_owned()),
    source: MDLA_5,
};

/// What the plugin alone legalizes.
pub const PLUGIN_RULES: VendorRules = VendorRules { operators: OPERATORS, source: PLUGIN, asks: &[I64] };

const OF_2: VendorRules = VendorRules { operators: OPERATORS, source: PLUGIN, asks: &[I64, RANK, BATCH_255] };
const OF_3: VendorRules =
    VendorRules { operators: OPERATORS, source: PLUGIN, asks: &[I64, RANK, BATCH_65535] };
const OF_5: VendorRules =
    VendorRules { operators: OPERATORS, source: PLUGIN, asks: &[I64, RANK, BATCH_65535, NOT_ON_5] };
/// The rules of a generation, one of [`ARCHS`].
pub fn rules(arch: &str) -> &'static VendorRules {
    match arch {
        "mdla2.0" => &OF_2,
        "mdla3.0" => &OF_3,
        _ => &OF_5,
    }
}

/// Whether a tensor of four axes has a batch or another size beyond `[batch, others]`.
fn larger_than([batch, others]: [u64; 2], operator: &Operator, graph: &Subgraph) -> Option<String> {
    let of_planes = |sizes: &[u64]| sizes.len() == 4;
    let large = tensors(operator, graph).find(|tensor| {
        of_planes(&tensor.sizes)
            && (tensor.sizes[0] > batch || tensor.sizes[1..].iter().any(|size| *size > others))
    });
    large.map(|tensor| {
        format!("{:?} is larger than {batch} in its batch or {others} elsewhere", &tensor.sizes[..])
    })
}
