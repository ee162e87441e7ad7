//! The rules of each target.

use quad_ir::dtype::DType;
use quad_ir::ops::OpKind;

use super::{Asks, Fixed, Rules, Stated};
use crate::encoding::Codes;

/// No rules have this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` are no rules: expected one of {names}", names = PRESETS.map(|rules| rules.name).join(", "))]
pub struct UnknownRules(pub String);

/// All presets.
pub const PRESETS: [Rules; 5] = [REFERENCE, LITERT, QNN, NEUROPILOT, EXYNOS];

const fn asymmetric(stored: DType) -> Codes {
    Codes { stored, symmetric: None }
}

const fn symmetric(stored: DType, limit: i32) -> Codes {
    Codes { stored, symmetric: Some(limit) }
}

const fn fixed(op: OpKind, stored: DType, scale: f32, zero_point: i32) -> Fixed {
    Fixed { op, stored, scale, zero_point }
}

const fn stated(rule: &'static str, source: &'static str) -> Stated {
    Stated { rule, source }
}

/// Operations that only move elements, choose some, or repeat them.
const MOVERS: &[OpKind] = &[
    OpKind::Reshape,
    OpKind::Transpose,
    OpKind::Squeeze,
    OpKind::Unsqueeze,
    OpKind::Flatten,
    OpKind::Slice,
    OpKind::Split,
    OpKind::Expand,
    OpKind::Tile,
    OpKind::Pad,
    OpKind::Gather,
    OpKind::GatherElements,
    OpKind::GatherNd,
    OpKind::CenterCropPad,
    OpKind::ReverseSequence,
    OpKind::DepthToSpace,
    OpKind::SpaceToDepth,
    OpKind::MaxPool,
    OpKind::Resize,
];

const SYMMETRIC_WEIGHTS: &[Codes] =
    &[symmetric(DType::I4, 7), symmetric(DType::I8, 127), symmetric(DType::I16, 32767)];

/// What machines ask that compute with integers throughout.
const INTEGERS: Asks = Asks::CONCAT
    .union(Asks::FUSED_CLAMPS)
    .union(Asks::CONSTANTS)
    .union(Asks::ISLAND_ENDS)
    .union(Asks::SECOND_CHANNELS);

/// The rule that results are compared with: what an integer machine without peculiarities does.
const REFERENCE: Rules = Rules {
    name: "reference",
    activations: &[asymmetric(DType::U8), asymmetric(DType::U16)],
    second_operands: &[],
    weights: SYMMETRIC_WEIGHTS,
    slots: SYMMETRIC_WEIGHTS,
    slots_of_products: &[],
    fixed: &[],
    movers: MOVERS,
    biases: &[],
    asks: Asks::empty(),
    stated: &[
        stated(
            "activations are unsigned, with zero where the range has it",
            "the paper, equations (5) to (7)",
        ),
        stated(
            "weights are symmetric, -127 to 127 and -7 to 7",
            "choice: zero points of weights cost a sum per output",
        ),
        stated("slots are symmetric, one scale each", "the paper, section 3.3: INT16 LoRA"),
        stated("what moves elements has the encoding of its operand", "choice: nothing is rounded twice"),
        stated("biases, scales of norms and other constants are floats", "choice: they are few"),
    ],
};

const LITERT_FIXED: &[Fixed] = &[
    fixed(OpKind::Softmax, DType::I8, 1.0 / 256.0, -128),
    fixed(OpKind::Softmax, DType::I16, 1.0 / 32768.0, 0),
    fixed(OpKind::Sigmoid, DType::I8, 1.0 / 256.0, -128),
    fixed(OpKind::Sigmoid, DType::I16, 1.0 / 32768.0, 0),
    fixed(OpKind::Tanh, DType::I8, 1.0 / 128.0, 0),
    fixed(OpKind::Tanh, DType::I16, 1.0 / 32768.0, 0),
];

const LITERT_STATED: &[Stated] = &[
    stated(
        "activations of 16 bits are signed with zero point 0, those of 8 bits signed with any",
        "LiteRT kernels: 16x8 scheme",
    ),
    stated(
        "weights are symmetric, -127 to 127 and -7 to 7, per output channel for conv and fully connected",
        "LiteRT kernels",
    ),
    stated(
        "slots have one scale each, zero point 0",
        "MediaTek's plugin drops scales per channel of run-time weights",
    ),
    stated(
        "slots have 8 bits; 16 beside activations of 16 bits where their layers mix the channels of each position",
        "conv with a filter of 16 bits reads it as 8 bits; products of 16 bits are right, and compiled for v73 and later",
    ),
    stated(
        "softmax and sigmoid are stored as 1/256 from -128, or 1/32768; tanh as 1/128, or 1/32768",
        "LiteRT kernels check it, or assume it",
    ),
    stated(
        "operands and result of concat share an encoding, and so do those of what moves elements",
        "concat of i16 does not look at scales",
    ),
    stated(
        "a layer that only relu or clip reads is stored as what that makes of it",
        "activations are fused into layers",
    ),
    stated("biases have 32 bits; beside activations of 16 bits 64", "sums of 16x8 products overflow 32 bits"),
    stated("constants that meet activations are stored like these", "kernels take operands of one type"),
    stated(
        "a constant that is the first factor of a product has one scale",
        "kernels take it as an activation",
    ),
];

const LITERT: Rules = Rules {
    name: "litert",
    activations: &[asymmetric(DType::I8), symmetric(DType::I16, 32767)],
    second_operands: &[],
    weights: &[symmetric(DType::I4, 7), symmetric(DType::I8, 127)],
    slots: &[symmetric(DType::I8, 127)],
    slots_of_products: &[symmetric(DType::I16, 32767)],
    fixed: LITERT_FIXED,
    movers: MOVERS,
    biases: &[(8, DType::I32), (16, DType::I64)],
    asks: INTEGERS,
    stated: LITERT_STATED,
};

const NEUROPILOT: Rules = Rules {
    name: "neuropilot",
    asks: INTEGERS.union(Asks::NONZERO_ZERO_POINTS),
    stated: &[
        stated("as litert", "models reach NeuroPilot through LiteRT"),
        stated(
            "activations of 8 bits do not have their zero point at 0",
            "the plugin takes them for symmetric ones then; inferred",
        ),
    ],
    ..LITERT
};

const EXYNOS: Rules = Rules {
    name: "exynos",
    stated: &[stated(
        "as litert",
        "models reach Exynos through LiteRT; its plugin checks no types, so these are not confirmed",
    )],
    ..LITERT
};

const QNN: Rules = Rules {
    name: "qnn",
    activations: &[asymmetric(DType::U8), asymmetric(DType::U16)],
    second_operands: &[symmetric(DType::U8, 127), symmetric(DType::U16, 32639)],
    weights: &[symmetric(DType::I4, 7), symmetric(DType::I8, 127), symmetric(DType::I16, 32639)],
    slots: &[symmetric(DType::I8, 127), symmetric(DType::I16, 32639)],
    slots_of_products: &[],
    fixed: &[],
    movers: MOVERS,
    biases: &[(8, DType::I32), (16, DType::I32)],
    asks: INTEGERS,
    stated: &[
        stated(
            "activations are unsigned, with zero where the range has it",
            "HTP: table of element types of operations",
        ),
        stated(
            "second operands of products are symmetric around 32768, or 128",
            "HTP simulator: other offsets are off by many steps",
        ),
        stated(
            "codes of 16 bits of weights, slots and second operands end 32639 from the middle",
            "HTP simulator: larger ones are cut off",
        ),
        stated("slots have 16 or 8 bits", "HTP simulator, v73 and later; 8 bits before"),
        stated(
            "operands and result of concat and of what moves elements share an encoding",
            "HTP simulator: exact then",
        ),
        stated(
            "a layer that only relu or clip reads is stored as what that makes of it",
            "activations are fused into layers",
        ),
        stated(
            "biases have 32 bits; those that do not fit stay floats, to be added apart",
            "HTP: conv and fully connected take no other",
        ),
        stated(
            "constants that meet activations are stored like these",
            "HTP: operands of elementwise operations have one type",
        ),
        stated(
            "a constant that is the first factor of a product has one scale",
            "choice: such scales were not tried on the simulator",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_found_by_name() {
        for rules in PRESETS {
            assert_eq!(Rules::preset(rules.name), Ok(rules));
        }
        let error = Rules::preset("hexagon").expect_err("unknown").to_string();
        assert_eq!(
            error,
            "`hexagon` are no rules: expected one of reference, litert, qnn, neuropilot, exynos"
        );
    }

    #[test]
    fn slots_have_as_many_bits_as_a_target_takes() {
        let slot =
            |name: &str, bits| Rules::preset(name).expect("a preset").slot(bits).map(|codes| codes.stored);
        assert_eq!(slot("reference", 16), Some(DType::I16));
        assert_eq!(slot("litert", 16), Some(DType::I8));
        let of_products = |activations| {
            Rules::preset("litert")
                .expect("a preset")
                .slot_of_products(16, activations)
                .map(|codes| codes.stored)
        };
        assert_eq!((of_products(16), of_products(8)), (Some(DType::I16), Some(DType::I8)));
        assert_eq!(slot("qnn", 8), Some(DType::I8));
        assert_eq!(slot("qnn", 4), None);
    }

    #[test]
    fn presets_speak_of_themselves() {
        for rules in PRESETS {
            assert!(!rules.to_string().is_empty());
            for codes in [rules.activations, rules.second_operands, rules.weights, rules.slots].concat() {
                codes.steps().expect("codes of a preset exist");
            }
        }
    }
}
