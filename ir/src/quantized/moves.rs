//! Operations that move elements and do not look at them: what they move may stay stored as it is.

use std::ops::Range;

use crate::ops::{Op, OpKind};

/// Operations that move the elements of their first operand.
const FIRST: &[OpKind] = &[
    OpKind::Reshape,
    OpKind::Squeeze,
    OpKind::Unsqueeze,
    OpKind::Flatten,
    OpKind::Transpose,
    OpKind::Expand,
    OpKind::Tile,
    OpKind::Slice,
    OpKind::Split,
    OpKind::Gather,
    OpKind::GatherElements,
    OpKind::GatherNd,
    OpKind::DepthToSpace,
    OpKind::SpaceToDepth,
    OpKind::Compress,
    OpKind::ReverseSequence,
];

/// Which of the `count` operands of `op` its results are made of, element for element; none of an operation that computes.
pub fn moved_operands(op: &Op, count: usize) -> Range<usize> {
    match op.kind() {
        OpKind::Concat => 0..count,
        kind if FIRST.contains(&kind) => 0..count.min(1),
        _ => 0..0,
    }
}
