//! `quantize_linear` and `dequantize_linear` with constant scales and zero points, and the encodings that they stand for.

use quad_ir::attr::F32Bits;
use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{DequantizeLinear, QuantizeLinear};
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::types::{Encoded, Quant, TensorType};
use quad_ir::weights::WeightError;

/// The encoding of the result of a `quantize_linear`; `Err` says why it is none.
pub fn encoding_of_quantize(node: NodeRef<'_>) -> Result<Encoded, String> {
    let op = node.is::<QuantizeLinear>().ok_or("it is no `quantize_linear`")?;
    let x = node.operand("x").ok_or("it has no operand")?.ty();
    let scale = node.operand("y_scale").ok_or("it has no scale")?;
    if matches!(op.precision.unwrap_or(scale.ty().dtype), DType::F16 | DType::BF16) {
        return Err("its quotients are rounded to 16 bits".to_owned());
    }
    let stored = node.result().ty();
    if stored.dtype.is_minifloat() && !op.saturate {
        return Err("numbers out of range become infinity or NaN".to_owned());
    }
    encoding(scale, node.operand("y_zero_point"), (op.axis, op.block_size), stored, x.dtype)
}

/// The encoding of the operand of a `dequantize_linear`; `Err` says why it is none.
pub fn encoding_of_dequantize(node: NodeRef<'_>) -> Result<Encoded, String> {
    let op = node.is::<DequantizeLinear>().ok_or("it is no `dequantize_linear`")?;
    let x = node.operand("x").ok_or("it has no operand")?.ty();
    let scale = node.operand("x_scale").ok_or("it has no scale")?;
    let place = (op.axis, op.block_size);
    encoding(scale, node.operand("x_zero_point"), place, x, node.result().ty().dtype)
}

/// The encoding that a constant scale and zero point make of tensors of type `stored`.
fn encoding(
    scale: ValueRef<'_>,
    zero_point: Option<ValueRef<'_>>,
    (axis, block_size): (i64, i64),
    stored: &TensorType,
    expressed: DType,
) -> Result<Encoded, String> {
    if stored.quant.is_some() {
        return Err("what it reads is quantized already".to_owned());
    }
    let elements = |value, what: &str| match constant(value) {
        Ok(Some(tensor)) => Ok(tensor),
        Ok(None) => Err(format!("its {what} is computed when the graph runs")),
        Err(error) => Err(error.to_string()),
    };
    let scales = elements(scale, "scale")?.to_f32().map_err(|error| error.to_string())?.into_owned();
    let zero_points = match zero_point {
        Some(value) => elements(value, "zero point")?.to_f64().map_err(|error| error.to_string())?,
        None => vec![0.0; scales.len()],
    };
    // A value of four axes may have a scale without axes and a zero point with one.
    let zero_points = match (&zero_points[..], scales.len()) {
        ([one], count) => vec![*one; count],
        _ => zero_points,
    };
    if zero_points.iter().any(|zero| f64::from(*zero as i32) != *zero) {
        return Err("a zero point is no integer of 32 bits".to_owned());
    }
    let single = scales.len() == 1;
    let rank = stored.rank() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let quant = Quant {
        axis: if single {
            None
        } else {
            Some(u8::try_from(axis).map_err(|_| format!("its axis is {axis}"))?)
        },
        block: if single { None } else { u32::try_from(block_size).ok().filter(|block| *block > 0) },
        scales: scales.into_iter().map(F32Bits::from).collect(),
        zero_points: zero_points.into_iter().map(|zero| zero as i32).collect(),
        expressed,
    };
    let encoded = Encoded::new(stored.dtype, quant);
    encoded.misfit(&stored.shape).map_or(Ok(encoded), Err)
}

/// The elements of a constant; `None` of any other value.
fn constant(value: ValueRef<'_>) -> Result<Option<Tensor>, WeightError> {
    match (value.constant(), value.weight()) {
        (Some(elements), _) => Ok(Some(elements.clone())),
        (None, Some(weight)) => value.producer().graph().weights().tensor(weight).map(Some),
        (None, None) => Ok(None),
    }
}

/// What `quantize_linear` and `dequantize_linear` need to do what an encoding says.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The scales, of type `f32`.
    pub scale: Tensor,
    /// The zero points, of the stored type; `None` where there are none, as sums of 32 bits and more have.
    pub zero_point: Option<Tensor>,
    /// The axis along which scales differ.
    pub axis: i64,
    /// Elements along the axis that share a scale, 0 for one scale per index.
    pub block_size: i64,
}

impl Linear {
    /// The scales and zero points of `encoded` for tensors of type `ty`, whose sizes are known where there are blocks.
    pub fn of(encoded: &Encoded, ty: &TensorType) -> Result<Self, String> {
        let quant = &*encoded.quant;
        let sizes = parameter_sizes(quant, ty)?;
        let count = sizes.iter().product::<usize>();
        let spread = spread(quant, &sizes);
        let scales: Vec<f32> = spread.iter().map(|place| quant.scales[*place].get()).collect();
        let zeros: Vec<i64> = spread.iter().map(|place| i64::from(quant.zero_points[*place])).collect();
        let needed = encoded.stored.bits() <= 16 || zeros.iter().any(|zero| *zero != 0);
        let zero_point = |dtype: DType| -> Result<Tensor, TensorError> {
            if dtype.is_integer() {
                Tensor::from_i64(dtype, &sizes, zeros)
            } else {
                Tensor::from_f32(dtype, &sizes, &vec![0.0; count])
            }
        };
        Ok(Self {
            scale: Tensor::from_vec(&sizes, scales).map_err(|error| error.to_string())?,
            zero_point: needed
                .then(|| zero_point(encoded.stored))
                .transpose()
                .map_err(|error| error.to_string())?,
            axis: quant.axis.map_or(1, i64::from),
            block_size: quant.block.filter(|_| quant.scales.len() > 1).map_or(0, i64::from),
        })
    }

    /// The operation that stores real numbers so. The type is stated where no zero point says it: ONNX Runtime changes zero
    /// points of signed 8 bits, and refuses a node that states another type.
    pub fn quantize(&self, stored: DType) -> QuantizeLinear {
        QuantizeLinear {
            axis: self.axis,
            block_size: self.block_size,
            output_dtype: self.zero_point.is_none().then_some(stored),
            ..QuantizeLinear::default()
        }
    }

    /// The operation that makes real numbers of type `expressed` of what is stored.
    pub fn dequantize(&self, expressed: DType) -> DequantizeLinear {
        let output_dtype = (expressed != DType::F32).then_some(expressed);
        DequantizeLinear { axis: self.axis, block_size: self.block_size, output_dtype }
    }
}

/// The sizes of the tensor of scales: none, the size of an axis, or those of `ty` with blocks in place of elements.
fn parameter_sizes(quant: &Quant, ty: &TensorType) -> Result<Vec<usize>, String> {
    let (Some(axis), true) = (quant.axis, quant.scales.len() > 1) else { return Ok(Vec::new()) };
    let Some(block) = quant.block else { return Ok(vec![quant.scales.len()]) };
    let sizes = ty.shape.as_known().ok_or("it has blocks, and sizes that are not known")?;
    let mut sizes: Vec<usize> = sizes.iter().map(|size| *size as usize).collect();
    let blocked = sizes.get_mut(usize::from(axis)).ok_or("its axis is not there")?;
    *blocked = blocked.div_ceil(block as usize);
    Ok(sizes)
}

/// For each element of a tensor of scales of `sizes` its place among those of `quant`, which may share blocks.
fn spread(quant: &Quant, sizes: &[usize]) -> Vec<usize> {
    let count: usize = sizes.iter().product();
    if count == quant.scales.len() {
        return (0..count).collect();
    }
    let axis = quant.axis.map_or(0, usize::from);
    let inner: usize = sizes.iter().skip(axis + 1).product();
    let blocks = sizes.get(axis).copied().unwrap_or(1);
    (0..count).map(|index| index / inner.max(1) % blocks.max(1)).collect()
}
