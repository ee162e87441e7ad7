//! Real numbers as stored integers, and stored integers as others.

use quad_ir::graph::NodeRef;
use quad_ir::ops::EvalError;
use quad_ir::tensor::Tensor;

use super::fixed_point::Multiplier;
use super::{Computed, Stored, centered, result};

/// Real numbers are [`stored`]; stored integers come in another encoding by a multiplier.
pub(super) fn quantize(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let output = Stored::of(node.result())?;
    if let Some(input) = Stored::of(node.operand("x")?) {
        let multiplier = Multiplier::of(f64::from(input.scale) / f64::from(output.scale));
        let elements = centered(operands, 0, input)?;
        return result(
            node,
            elements.iter().map(|x| output.saturated(multiplier.times(*x as i32))).collect(),
        );
    }
    let real = operands.first()?.as_ref().filter(|real| real.dtype().is_float())?;
    match stored(real, output) {
        Ok(elements) => result(node, elements),
        Err(error) => Some(Err(error)),
    }
}

/// `real` as `output` says. Quotients are formed in single precision, and halves rounded away from zero.
pub(super) fn stored(real: &Tensor, output: Stored) -> Result<Vec<i64>, EvalError> {
    let steps = |x: &f32| output.saturated((x / output.scale).round() as i32);
    Ok(real.to_f32()?.iter().map(steps).collect())
}
