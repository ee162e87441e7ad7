//! Nearest resizes of planes with channels last.

use quad_backends::legality::{Legality, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::ops::resize::{Coordinates, Interpolation, NearestMode};
use quad_ir::ops::{OpKind, Resize};

use super::builder::Lowering;
use super::values::{of_type, sizes};
use super::{Emit, EmitError, Settings};
use crate::schema::Builtin;

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[OpRow {
    kind: OpKind::Resize,
    becomes: "`RESIZE_NEAREST_NEIGHBOR`",
    asks: "f32; nearest, from the start of the axes and rounded down, height and width of `[n, h, w, c]` by whole factors",
    legality,
    emit,
}];

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    of_type(node, 0, &[DType::F32], &mut reasons);
    let Some((resize, x)) = node.is::<Resize>().zip(node.operand("x")) else { return reasons.legality() };
    let (from, to) = (sizes(x), sizes(node.result()));
    let repeats = resize.mode == Interpolation::Nearest
        && resize.coordinate_transformation_mode == Coordinates::Asymmetric
        && resize.nearest_mode == NearestMode::Floor;
    reasons.require(repeats, || {
        "it is not nearest from the start of the axes, rounded down; `decompose{resize}` writes others that repeat \
         elements as concatenations"
            .to_owned()
    });
    let is_plane = from.len() == 4 && to.len() == 4 && from[0] == to[0] && from[3] == to[3];
    reasons.require(is_plane, || "it resizes other axes than height and width of [n, h, w, c]".to_owned());
    let is_exact = is_plane && (1..3).all(|axis| is_exact(from[axis], to[axis]));
    let states_it =
        node.operand("scales").and_then(|scales| scales.constant()?.to_f64().ok()).is_none_or(|scales| {
            scales
                .iter()
                .zip(from.iter().zip(&to))
                .all(|(scale, (from, to))| *scale == *to as f64 / *from as f64)
        });
    reasons.require(!is_plane || (is_exact && states_it), || {
        format!("{from:?} does not grow to {to:?} by whole factors")
    });
    reasons.legality()
}

/// Whether the kernel, which computes places in single precision, repeats each of `from` elements equally often.
fn is_exact(from: u64, to: u64) -> bool {
    let scale = from as f32 / to as f32;
    let factor = to / from;
    to.is_multiple_of(from) && (0..to).all(|place| (place as f32 * scale).floor() as u64 == place / factor)
}

fn emit(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let to = sizes(node.result());
    let (x, size) = (out.operand(node, 0)?, out.integers(&[to[1] as i64, to[2] as i64]));
    out.compute(node, Builtin::ResizeNearest, &[x, size], &[]);
    Ok(())
}
