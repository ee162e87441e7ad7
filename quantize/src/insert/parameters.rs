//! Scale and zero point of an encoding as constants of a graph, and the operations that read them.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Patch, ValueId};
use quad_ir::ops::QuantizeLinear;
use quad_ir::tensor::Tensor;
use quad_ir::types::{Encoded, Quant, TensorType};
use quad_ir::weights::{WeightError, WeightId};
use quad_passes::emit::{Emit, scalar};
use quad_passes::pass::PassError;
use quad_passes::quant::linear::Linear;

use super::encodings::{Wanted, middle};
use crate::encoding::Encoding;

/// The constants of one encoding.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    linear: Linear,
    stored: DType,
    scale: ValueId,
    zero_point: Option<ValueId>,
}

impl Parameters {
    /// Adds what `encoding`, which has been checked to fit, says of a value of type `ty` to `patch`, under names that
    /// begin with `name`.
    pub(super) fn add(
        patch: &mut Patch<'_>,
        encoding: &Encoding,
        ty: &TensorType,
        name: &str,
    ) -> Result<Self, PassError> {
        let quant = Quant { expressed: ty.dtype, ..encoding.quant.clone() };
        let linear = Linear::of(&Encoded::new(encoding.stored, quant), ty)
            .map_err(|why| PassError::Refused(format!("%{name}: {why}")))?;
        let scale = patch.add_constant(&linear.scale)?;
        patch.set_name(scale, &format!("{name}.scale"));
        let zero_point = linear.zero_point.as_ref().map(|zeros| patch.add_constant(zeros)).transpose()?;
        if let Some(zero_point) = zero_point {
            patch.set_name(zero_point, &format!("{name}.zero_point"));
        }
        Ok(Self { linear, stored: encoding.stored, scale, zero_point })
    }

    /// What stores real numbers.
    pub(super) fn quantize(&self, patch: &mut Patch<'_>, x: ValueId) -> Result<ValueId, AddError> {
        patch.op(self.quantizer(), &[Some(x), Some(self.scale), self.zero_point])
    }

    /// The weight that is the stored numbers of the constant `x`: a recipe.
    pub(super) fn quantize_constant(&self, patch: &mut Patch<'_>, x: ValueId) -> Result<WeightId, AddError> {
        let from = [Some(x), Some(self.scale), self.zero_point].map(|value| patch.weight(value?));
        let from = if from[2].is_some() { &from[..] } else { &from[..2] };
        Ok(patch.weights_mut().derive(self.quantizer(), from)?)
    }

    /// The real numbers, of type `float`, that the stored ones `q` stand for.
    pub(super) fn dequantize(
        &self,
        patch: &mut Patch<'_>,
        q: ValueId,
        float: DType,
    ) -> Result<ValueId, AddError> {
        patch.op(self.linear.dequantize(float), &[Some(q), Some(self.scale), self.zero_point])
    }

    /// The scale, `f32`, per tensor or along an axis.
    pub(super) fn scale(&self) -> ValueId {
        self.scale
    }

    fn quantizer(&self) -> QuantizeLinear {
        self.linear.quantize(self.stored)
    }
}

/// The smallest and the largest stored number of a weight or a slot, where these are others than those of the type.
pub(super) fn limits(wanted: &Wanted) -> Result<[Option<Tensor>; 2], WeightError> {
    let stored = wanted.encoding.stored;
    let Some(((low, high), limit)) = stored.integer_range().zip(wanted.limit) else {
        return Ok([None, None]);
    };
    let ends = [middle(stored) - i128::from(limit), middle(stored) + i128::from(limit)];
    let inside = [ends[0] > low, ends[1] < high];
    let tensor = |at: usize| inside[at].then(|| scalar(stored, ends[at] as f64)).transpose();
    Ok([tensor(0)?, tensor(1)?])
}
