//! Writes enlargement by whole factors, each element repeated, in one form.
//!
//! Whether an exporter gives factors or sizes, as numbers or computed, and whichever way of rounding it names: where each
//! axis becomes a whole number of times as long, and the nearest element is taken, the result is that of
//! `coordinate_transformation_mode = asymmetric, nearest_mode = floor` with constant `scales`.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 1, 2, 2]) {
//!   %sizes = weight [1, 1, 4, 6] : i64[4]
//!   %y = resize(%x, _, _, %sizes) : f32[1, 1, 4, 6]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 1, 2, 2]) {
//!   %0 = weight [1.0, 1.0, 2.0, 3.0] : f32[4]
//!   %y = resize(%x, _, %0) {coordinate_transformation_mode = asymmetric, nearest_mode = floor} : f32[1, 1, 4, 6]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch};
use quad_ir::ops::resize::{AspectRatioPolicy, Coordinates, Interpolation, NearestMode};
use quad_ir::ops::{OpKind, Resize};
use quad_ir::tensor::Tensor;
use quad_ir::types::Dim;
use quad_ir::weights::WeightError;

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct NormalizeResize;

const INFO: PassInfo = PassInfo { name: "normalize-resize", source: include_str!("resize.rs") };

impl Pass for NormalizeResize {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let rule = FnRule { name: "repeat-elements", roots: &[OpKind::Resize], rewrite: repeat_elements };
        apply_rules(graph, &[&rule], cx)
    }
}

fn repeat_elements(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let resize = root.is::<Resize>().ok_or(Skip::NoMatch)?;
    let x = root.operand("x").ok_or(Skip::NoMatch)?;
    if resize.mode != Interpolation::Nearest {
        return Err(Skip::NoMatch);
    }
    let factors =
        x.ty().shape.iter().zip(&root.result().ty().shape.0).map(|(from, to)| whole_factor(from, to));
    let factors: Option<Vec<f32>> = factors.collect();
    let factors = factors.ok_or_else(|| because(root, "its factors are not known to be whole numbers"))?;
    if !repeats(resize) {
        return Err(because(root, "its rounding does not repeat each element equally often"));
    }
    if let Some(scales) = root.operand("scales") {
        // A scale of 2.5 may give a size that is a whole number of times the old one, and is not a repetition.
        let exact = scales.constant().and_then(|scales| scales.to_f32().ok().map(|found| found.to_vec()));
        let exact = exact.ok_or_else(|| because(root, "its scales are not known"))?;
        if exact.iter().any(|scale| scale.fract() != 0.0) {
            return Err(because(root, "its scales are not whole numbers"));
        }
        if exact == factors && *resize == normal() {
            return Err(Skip::NoMatch);
        }
    }
    let scales = Tensor::from_vec(&[factors.len()], factors).map_err(WeightError::from)?;
    let scales = patch.add_constant(&scales)?;
    let repeated = patch.op(normal(), &[Some(x.id()), None, Some(scales)])?;
    Ok(patch.replace(root.result().id(), repeated)?)
}

/// The form that is kept.
fn normal() -> Resize {
    Resize {
        coordinate_transformation_mode: Coordinates::Asymmetric,
        nearest_mode: NearestMode::Floor,
        ..Resize::default()
    }
}

/// The largest factor: with greater ones, rounded places could come too near the middle between two elements.
const MAX_FACTOR: i64 = 16;

/// How many times as long `to` is as `from`.
fn whole_factor(from: &Dim, to: &Dim) -> Option<f32> {
    let factor = to.expr().div_exact(&from.expr())?.as_constant()?;
    (1..=MAX_FACTOR).contains(&factor).then_some(factor as f32)
}

/// Whether whole factors make `resize` repeat each element. With factor `s`, place `i` of the result lies at
/// `(i + 1/2) / s - 1/2` of the operand, less than half an element from the middle of element `floor(i / s)`; or, without
/// the halves, at `i / s`.
fn repeats(resize: &Resize) -> bool {
    let nearest = matches!(resize.nearest_mode, NearestMode::RoundPreferFloor | NearestMode::RoundPreferCeil);
    let places = match resize.coordinate_transformation_mode {
        // A result of one element lies at 0, as the only element does.
        Coordinates::HalfPixel | Coordinates::HalfPixelSymmetric | Coordinates::PytorchHalfPixel => nearest,
        Coordinates::Asymmetric => resize.nearest_mode == NearestMode::Floor,
        _ => false,
    };
    places && !resize.antialias && resize.keep_aspect_ratio_policy == AspectRatioPolicy::Stretch
}
