//! Convolutions over planes with channels last.
//!
//! The runtime knows two ways of padding: none, and as many zeros as make the result as large as the operand over the
//! strides, one more after than before. Any other padding is an operator of its own in front.

use quad_backends::legality::{Legality, Reason, Reasons};
use quad_backends::table::OpRow;
use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Conv, OpKind};
use quad_ir::types::Quant;

use super::builder::{Kind, Lowering};
use super::values::{of_type, sizes};
use super::{Emit, EmitError, Settings, quantized};
use crate::model::TensorId;
use crate::schema::{Builtin, Value};

/// The runtime's word for padding that keeps sizes.
const SAME: Value = Value::Byte(0);
/// The runtime's word for no padding.
const VALID: Value = Value::Byte(1);

pub(super) const ROWS: &[OpRow<Settings, Emit>] = &[OpRow {
    kind: OpKind::Conv,
    becomes: "`CONV_2D`; `PAD` in front where its padding is another than its own; beside a kernel of 16 bits `BATCH_MATMUL`",
    asks: "f32; two spatial axes, `layout = nhwc`",
    legality,
    emit,
}];

/// Height and width of everything that a convolution over planes has.
#[derive(Clone, Copy, Debug)]
struct Planes {
    strides: [u64; 2],
    dilations: [u64; 2],
    /// Before height and width, then after.
    pads: [u64; 4],
}

impl Planes {
    fn of(conv: &Conv) -> Self {
        let pair = |list: &[u64], default: u64| [0, 1].map(|axis| list.get(axis).copied().unwrap_or(default));
        let pads = [0, 1, 2, 3].map(|side| conv.pads.get(side).copied().unwrap_or(0));
        Self { strides: pair(&conv.strides, 1), dilations: pair(&conv.dilations, 1), pads }
    }

    /// Whether `SAME` pads an operand of `input` as these pads do.
    fn is_same(&self, input: [u64; 2], kernel: [u64; 2]) -> bool {
        (0..2).all(|axis| {
            let reach = (kernel[axis] - 1) * self.dilations[axis] + 1;
            let output = input[axis].div_ceil(self.strides[axis]);
            let total = ((output - 1) * self.strides[axis] + reach).saturating_sub(input[axis]);
            self.pads[axis] == total / 2 && self.pads[axis + 2] == total - total / 2
        })
    }
}

fn legality(node: NodeRef<'_>, _: &Settings) -> Legality {
    let mut reasons = Reasons::default();
    let Some((conv, x)) = node.is::<Conv>().zip(node.operand("x")) else { return Legality::Legal };
    of_type(node, 0, &[DType::F32], &mut reasons);
    let axes = x.ty().rank().saturating_sub(2);
    reasons.require(axes == 2, || format!("it has {axes} spatial axes, the kernel has two"));
    if conv.layout == DataLayout::Nchw {
        let help = "the pass `layout` makes it so";
        reasons.add(Reason::new("its channels come first, the kernel takes them last").help(help));
    }
    reasons.legality()
}

fn emit(node: NodeRef<'_>, out: &mut Lowering<'_>) -> Result<(), EmitError> {
    let missing = || EmitError::Unchecked("an operand is left out".to_owned());
    let conv = node.is::<Conv>().ok_or_else(missing)?;
    let (input, filter) = node.operand("x").zip(node.operand("w")).ok_or_else(missing)?;
    let planes = Planes::of(conv);
    if quantized::is_wide_kernel(filter) {
        return product(node, input, filter, out);
    }
    let (input_sizes, filter_sizes) = (sizes(input), sizes(filter));
    let (input, filter) = (out.read(input)?, out.read(filter)?);
    let bias = if let Some(bias) = node.operand("b") {
        out.read(bias)?
    } else {
        // The kernel asks for one.
        let kind = bias_kind(&out.kind(input), &out.kind(filter))?;
        out.zeros(&kind)
    };
    let is_same = planes.is_same([input_sizes[1], input_sizes[2]], [filter_sizes[1], filter_sizes[2]]);
    let is_valid = planes.pads == [0; 4];
    let (input, padding) = match (is_valid, is_same) {
        (true, _) => (input, VALID),
        (false, true) => (input, SAME),
        (false, false) => (padded(input, &input_sizes, planes.pads, out), VALID),
    };
    let int = |number: u64| Value::Int(number as i32);
    let options = [
        ("padding", padding),
        ("stride_w", int(planes.strides[1])),
        ("stride_h", int(planes.strides[0])),
        ("dilation_w_factor", int(planes.dilations[1])),
        ("dilation_h_factor", int(planes.dilations[0])),
    ];
    out.compute(node, Builtin::Conv2d, &[input, filter, bias], &options);
    Ok(())
}

/// A convolution that mixes the channels of each position, as a product of matrices: kernels of convolutions have 8 bits,
/// factors of products have 16.
fn product(
    node: NodeRef<'_>,
    input: ValueRef<'_>,
    filter: ValueRef<'_>,
    out: &mut Lowering<'_>,
) -> Result<(), EmitError> {
    let [batch, height, width, channels] = sizes(input)[..] else {
        return Err(EmitError::Unchecked("an operand without four axes".to_owned()));
    };
    let made = sizes(filter)[0];
    let places = batch * height * width;
    let (x, w) = (out.read(input)?, out.read(filter)?);
    let w = out.reshaped(w, &[1, 1, made, channels]);
    let options = [("adj_y", Value::Bool(true))];
    if places == width {
        out.compute(node, Builtin::BatchMatMul, &[x, w], &options);
        return Ok(());
    }
    let x = out.reshaped(x, &[1, 1, places, channels]);
    let rows = Kind::of(node.result()).sized(&[1, 1, places, made]);
    let rows = out.between(rows);
    out.emit(Builtin::BatchMatMul, &[Some(x), Some(w)], &[rows], &options);
    let shape: Vec<i64> = sizes(node.result()).iter().map(|size| *size as i64).collect();
    let shape = out.integers(&shape);
    out.compute(node, Builtin::Reshape, &[rows, shape], &[]);
    Ok(())
}

/// The type of a bias beside `input` and `filter`: its scales are theirs multiplied.
fn bias_kind(input: &Kind, filter: &Kind) -> Result<Kind, EmitError> {
    let sizes = [filter.sizes[0]].as_slice().into();
    let Some((of_input, of_filter)) = input.quant.as_ref().zip(filter.quant.as_ref()) else {
        return Ok(Kind { sizes, dtype: DType::F32, quant: None });
    };
    let scale = of_input.scales[0].get();
    let quant = Quant {
        axis: of_filter.axis.map(|_| 0),
        block: None,
        scales: of_filter.scales.iter().map(|of_channel| (scale * of_channel.get()).into()).collect(),
        zero_points: vec![0; of_filter.scales.len()].into(),
        expressed: of_input.expressed,
    };
    quant.check().map_err(|error| EmitError::Unchecked(format!("its bias: {error}")))?;
    // Sums of products of 16 and 8 bits overflow 32 bits.
    let dtype = if input.dtype == DType::I16 { DType::I64 } else { DType::I32 };
    Ok(Kind { sizes, dtype, quant: Some(quant.into()) })
}

/// `input` with zeros around its planes.
fn padded(input: TensorId, sizes: &[u64], pads: [u64; 4], out: &mut Lowering<'_>) -> TensorId {
    let wide = [sizes[0], sizes[1] + pads[0] + pads[2], sizes[2] + pads[1] + pads[3], sizes[3]];
    let result = out.between(out.kind(input).sized(&wide));
    let pads = pads.map(|pad| pad as i64);
    let amounts = out.numbers(&[4, 2], &[0, 0, pads[0], pads[2], pads[1], pads[3], 0, 0]);
    out.emit(Builtin::Pad, &[Some(input), Some(amounts)], &[result], &[]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_pads_one_more_after_than_before() {
        let planes = |stride, dilation, pads| Planes { strides: [stride; 2], dilations: [dilation; 2], pads };
        assert!(planes(1, 1, [1, 1, 1, 1]).is_same([16, 16], [3, 3]));
        assert!(planes(2, 1, [0, 0, 1, 1]).is_same([16, 16], [3, 3]));
        assert!(!planes(2, 1, [1, 1, 1, 1]).is_same([16, 16], [3, 3]));
        assert!(planes(2, 1, [1, 1, 1, 1]).is_same([15, 15], [3, 3]));
        assert!(planes(1, 2, [2, 2, 2, 2]).is_same([9, 9], [3, 3]));
        assert!(planes(1, 1, [0, 0, 0, 0]).is_same([9, 9], [1, 1]));
    }
}
