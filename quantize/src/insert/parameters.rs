//! Scale and zero point of an encoding as constants of a graph, and the operations that read them.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Patch, ValueId};
use quad_ir::ops::{DequantizeLinear, QuantizeLinear};
use quad_ir::tensor::Tensor;
use quad_ir::types::TensorType;
use quad_ir::weights::{WeightError, WeightId};
use quad_passes::emit::{Emit, scalar};

use super::encodings::{Wanted, middle};
use crate::encoding::Encoding;

/// The constants of one encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    scale: ValueId,
    /// Left out where all are 0 and nothing asks for them.
    zero_point: Option<ValueId>,
    axis: i64,
    block_size: i64,
    stored: DType,
}

impl Parameters {
    /// Adds what `encoding` says of a value of type `ty` to `patch`, under names that begin with `name`. With `explicit`
    /// zero points are there even when all are 0.
    pub(super) fn add(
        patch: &mut Patch<'_>,
        encoding: &Encoding,
        ty: &TensorType,
        name: &str,
        explicit: bool,
    ) -> Result<Self, AddError> {
        let Encoding { stored, quant } = encoding;
        let places = Places::of(encoding, ty);
        let scales: Vec<f32> = places.spread(&quant.scales).map(|scale| scale.get()).collect();
        let scales = Tensor::from_vec(&places.sizes, scales).map_err(WeightError::from)?;
        let scale = patch.add_constant(&scales)?;
        patch.set_name(scale, &format!("{name}.scale"));
        let zero_point = if explicit || quant.zero_points.iter().any(|zero| *zero != 0) {
            let zeros = places.spread(&quant.zero_points).map(|zero| i64::from(*zero)).collect();
            let zeros = Tensor::from_i64(*stored, &places.sizes, zeros).map_err(WeightError::from)?;
            let zero_point = patch.add_constant(&zeros)?;
            patch.set_name(zero_point, &format!("{name}.zero_point"));
            Some(zero_point)
        } else {
            None
        };
        // Without an axis there is one scale, and the axis means nothing: the one that is not written.
        let axis = quant.axis.map_or(1, i64::from);
        Ok(Self { scale, zero_point, axis, block_size: places.block_size, stored: *stored })
    }

    /// What stores real numbers.
    pub(super) fn quantize(self, patch: &mut Patch<'_>, x: ValueId) -> Result<ValueId, AddError> {
        patch.op(self.quantizer(), &[Some(x), Some(self.scale), self.zero_point])
    }

    /// The weight that is the stored numbers of the constant `x`: a recipe.
    pub(super) fn quantize_constant(self, patch: &mut Patch<'_>, x: ValueId) -> Result<WeightId, AddError> {
        let from = [Some(x), Some(self.scale), self.zero_point].map(|value| patch.weight(value?));
        let from = if from[2].is_some() { &from[..] } else { &from[..2] };
        Ok(patch.weights_mut().derive(self.quantizer(), from)?)
    }

    /// The real numbers, of type `float`, that the stored ones `q` stand for.
    pub(super) fn dequantize(
        self,
        patch: &mut Patch<'_>,
        q: ValueId,
        float: DType,
    ) -> Result<ValueId, AddError> {
        let output_dtype = (float != DType::F32).then_some(float);
        let op = DequantizeLinear { axis: self.axis, block_size: self.block_size, output_dtype };
        patch.op(op, &[Some(q), Some(self.scale), self.zero_point])
    }

    /// The scale, `f32`, per tensor or along an axis.
    pub(super) fn scale(self) -> ValueId {
        self.scale
    }

    fn quantizer(self) -> QuantizeLinear {
        // A zero point says the type already, to older readers of ONNX too.
        let output_dtype = self.zero_point.is_none().then_some(self.stored);
        let (axis, block_size) = (self.axis, self.block_size);
        QuantizeLinear { axis, block_size, output_dtype, ..QuantizeLinear::default() }
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

/// How scales lie in a tensor of their own.
struct Places {
    sizes: Vec<usize>,
    block_size: i64,
    /// How many scales in a row are the same, and how many there are before they begin again; 1 and all of them where
    /// each is there once.
    repeat: usize,
}

impl Places {
    /// For the scales of `encoding`, which has been checked to fit a value of type `ty`.
    fn of(encoding: &Encoding, ty: &TensorType) -> Self {
        let quant = &encoding.quant;
        let Some(axis) = quant.axis.map(usize::from) else {
            return Self { sizes: Vec::new(), block_size: 0, repeat: 1 };
        };
        let Some(block) = quant.block else {
            return Self { sizes: vec![quant.scales.len()], block_size: 0, repeat: 1 };
        };
        let mut sizes: Vec<usize> =
            ty.shape.iter().map(|dim| dim.known().map_or(1, |size| size as usize)).collect();
        sizes[axis] = sizes[axis].div_ceil(block as usize);
        let all: usize = sizes.iter().product();
        // Scales that differ along the axis only are the same for all places of the axes behind it.
        let repeat = if quant.scales.len() == all { 1 } else { sizes[axis + 1..].iter().product() };
        Self { sizes, block_size: i64::from(block), repeat }
    }

    /// `items`, each as often as its scale is there.
    fn spread<'i, T>(&self, items: &'i [T]) -> impl Iterator<Item = &'i T> + use<'i, T> {
        let repeat = self.repeat;
        let count: usize = self.sizes.iter().product();
        (0..count).map(move |at| &items[at / repeat % items.len()])
    }
}
