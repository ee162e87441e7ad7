//! Convolutions and products of matrices.

use quad_backends::legality::Reason;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Conv, ConvTranspose, Gemm, MatMul};

use super::constants::pack;
use super::lowering::{Emitted, Lowering};
use crate::model::{DataType, Encoding, Param, Role, ScaleOffset, TensorId};

/// A pair of numbers for rows and columns; an empty list stands for `default`.
pub(super) fn pair(list: &[u64], default: u32) -> Param {
    let at = |index: usize| list.get(index).map_or(default, |value| *value as u32);
    Param::U32s(vec![2], vec![at(0), at(1)])
}

/// Paddings, first all before and then all after, as QNN has them: before and after for each axis.
pub(super) fn pads(list: &[u64]) -> Param {
    let at = |index: usize| list.get(index).map_or(0, |value| *value as u32);
    Param::U32s(vec![2, 2], vec![at(0), at(2), at(1), at(3)])
}

/// Refuses tensors that are not planes with channels last.
pub(super) fn require_planes(x: ValueRef<'_>, layout: DataLayout) -> Emitted {
    if x.ty().rank() != 4 {
        return Err(Reason::new(format!("it works on tensors of {} axes, 4 are taken", x.ty().rank())));
    }
    if layout != DataLayout::Nhwc {
        return Err(
            Reason::new("its channels are not the last axis").help("the pass `layout` puts them there")
        );
    }
    Ok(())
}

fn required<'g>(node: NodeRef<'g>, name: &str) -> Result<ValueRef<'g>, Reason> {
    node.operand(name).ok_or_else(|| Reason::new(format!("operand `{name}` is left out")))
}

/// `Conv2d`, or `DepthWiseConv2d` where each channel is a group of its own.
pub(super) fn conv(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Conv>() else { return Ok(()) };
    require_planes(required(node, "x")?, op.layout)?;
    let x = l.operand(node, "x")?;
    let w = l.kernel(required(node, "w")?)?;
    let channels = l.qnn.tensor(x).dims[3];
    let y = l.result(node)?;
    let mut params = vec![
        ("stride", pair(&op.strides, 1)),
        ("pad_amount", pads(&op.pads)),
        ("dilation", pair(&op.dilations, 1)),
    ];
    let by_channel = op.group > 1 && op.group == u64::from(channels);
    if !by_channel {
        params.push(("group", Param::U32(op.group as u32)));
    }
    let kind = if by_channel { "DepthWiseConv2d" } else { "Conv2d" };
    product(l, kind, (x, w, node.operand("b")), y, params)
}

/// `TransposeConv2d`.
pub(super) fn conv_transpose(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<ConvTranspose>() else { return Ok(()) };
    require_planes(required(node, "x")?, op.layout)?;
    if op.dilations.iter().any(|dilation| *dilation != 1) {
        return Err(Reason::new("its kernel has gaps, which QNN's transposed convolution has not"));
    }
    let x = l.operand(node, "x")?;
    let w = l.kernel(required(node, "w")?)?;
    let y = l.result(node)?;
    let params = vec![
        ("stride", pair(&op.strides, 1)),
        ("pad_amount", pads(&op.pads)),
        ("group", Param::U32(op.group as u32)),
        ("output_padding", pair(&op.output_padding, 0)),
    ];
    product(l, "TransposeConv2d", (x, w, node.operand("b")), y, params)
}

/// A product of `x` and `w` with a bias. One that does not fit the sum is added afterwards.
fn product(
    l: &mut Lowering<'_>,
    kind: &str,
    (x, w, b): (TensorId, TensorId, Option<ValueRef<'_>>),
    y: TensorId,
    params: Vec<(&'static str, Param)>,
) -> Emitted {
    let Some(b) = b else {
        l.op(kind, &[x, w], &[y], params);
        return Ok(());
    };
    if let Some(bias) = bias(l, b, x, w)? {
        l.op(kind, &[x, w, bias], &[y], params);
        return Ok(());
    }
    let bias = l.beside(b, y)?;
    let encoding = without(l, y, b)?;
    let name = format!("{}.product", l.qnn.tensor(y).name);
    let between = l.between(&name, y, encoding);
    l.op(kind, &[x, w], &[between], params);
    l.op("ElementWiseAdd", &[between, bias], &[y], []);
    Ok(())
}

/// The encoding of the tensor `y` less the constant `b`, in steps that the range between their ends gives.
fn without(l: &Lowering<'_>, y: TensorId, b: ValueRef<'_>) -> Result<Option<Encoding>, Reason> {
    let made = l.qnn.tensor(y);
    let (Some(Encoding::Tensor(all)), Some((low, high))) = (&made.encoding, made.data_type.fixed_range())
    else {
        return Ok(None);
    };
    let elements = l.elements(b)?.and_then(|elements| elements.to_f64().ok());
    let values = elements.unwrap_or_default();
    let real = |code: i64| f64::from(all.scale) * (code + i64::from(all.offset)) as f64;
    let (least, most) =
        values.iter().fold((0.0f64, 0.0f64), |(least, most), value| (least.min(*value), most.max(*value)));
    let (from, to) = (real(low) - most, real(high) - least);
    let scale = (to - from) / (high - low) as f64;
    let zero = (low as f64 - from / scale).round().clamp(low as f64, high as f64);
    Ok(Some(Encoding::Tensor(ScaleOffset::new(scale as f32, zero as i32))))
}

/// The bias of a product of `x` and `w`. Real numbers beside quantized ones are stored in steps of both scales' product,
/// in which the product is summed; `None` where 32 bits do not hold that.
fn bias(l: &mut Lowering<'_>, b: ValueRef<'_>, x: TensorId, w: TensorId) -> Result<Option<TensorId>, Reason> {
    let (x, w) = (l.qnn.tensor(x).clone(), l.qnn.tensor(w).clone());
    let (Some(Encoding::Tensor(x)), Some(w), None) = (&x.encoding, &w.encoding, &b.ty().quant) else {
        return l.value(b).map(Some);
    };
    let computed =
        || Reason::new("its bias is real numbers that are computed").help("add it after the product");
    let elements = l.elements(b)?.ok_or_else(computed)?;
    let values = elements.to_f64().map_err(|error| Reason::new(error.to_string()))?;
    let scales: Vec<f32> = match w {
        Encoding::Tensor(all) | Encoding::Narrow { all, .. } => vec![x.scale * all.scale],
        Encoding::Axis { each, .. } | Encoding::NarrowAxis { each, .. } => {
            each.iter().map(|one| x.scale * one.scale).collect()
        }
    };
    let scale_of = |at: usize| f64::from(scales[if scales.len() == 1 { 0 } else { at }]);
    let codes = values.iter().enumerate().map(|(at, value)| (value / scale_of(at)).round_ties_even());
    let codes: Vec<f64> = codes.collect();
    if codes.iter().any(|code| code.abs() > f64::from(i32::MAX)) {
        return Ok(None);
    }
    let encoding = match scales.as_slice() {
        [scale] => Encoding::Tensor(ScaleOffset::new(*scale, 0)),
        scales => {
            Encoding::Axis { axis: 0, each: scales.iter().map(|scale| ScaleOffset::new(*scale, 0)).collect() }
        }
    };
    let data = Role::Static(pack(DataType::Sfixed32, codes.into_iter().map(|code| code as i64)));
    let dims = vec![values.len() as u32];
    let name = format!("{}.s32", l.name_of(b));
    Ok(Some(l.tensor(&name, data, DataType::Sfixed32, dims, Some(encoding))))
}

/// `FullyConnected` by a constant matrix, `MatMul` by anything else.
pub(super) fn matmul(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    if node.is::<MatMul>().is_none() {
        return Ok(());
    }
    let (a, b) = (required(node, "a")?, required(node, "b")?);
    if a.ty().rank() < 2 || b.ty().rank() < 2 {
        return Err(Reason::new("an operand has fewer than 2 axes"));
    }
    if b.weight().is_some() && b.ty().rank() == 2 {
        return fully_connected(l, node, (a, b), None, false);
    }
    let (a, b) = (l.value(a)?, l.value(b)?);
    let y = l.result(node)?;
    l.op("MatMul", &[a, b], &[y], []);
    Ok(())
}

/// `FullyConnected`, of rows by a constant matrix, which is stored `[outputs, inputs]`.
fn fully_connected(
    l: &mut Lowering<'_>,
    node: NodeRef<'_>,
    (a, b): (ValueRef<'_>, ValueRef<'_>),
    c: Option<ValueRef<'_>>,
    is_transposed: bool,
) -> Emitted {
    let a = l.value(a)?;
    let b = if is_transposed { l.value(b)? } else { l.reordered_constant(b, &[1, 0])? };
    let y = l.result(node)?;
    let made = l.qnn.tensor(y).clone();
    if made.dims.len() == 2 {
        return product(l, "FullyConnected", (a, b, c), y, Vec::new());
    }
    // What it makes has two axes, whatever it is given.
    let columns = made.dims[made.dims.len() - 1];
    let rows = made.len() as u32 / columns;
    let name = format!("{}.rows", made.name);
    let flat = l.tensor(&name, Role::Native, made.data_type, vec![rows, columns], made.encoding);
    product(l, "FullyConnected", (a, b, c), flat, Vec::new())?;
    l.op("Reshape", &[flat], &[y], []);
    Ok(())
}

/// `FullyConnected` or `MatMul` with a bias, where neither product nor bias is scaled.
pub(super) fn gemm(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Gemm>() else { return Ok(()) };
    if op.alpha.get() != 1.0 || (op.beta.get() != 1.0 && node.operand("c").is_some()) {
        return Err(
            Reason::new("it scales its product or its bias").help("the pass `fold-scales` moves factors")
        );
    }
    let (a, b, c) = (required(node, "a")?, required(node, "b")?, node.operand("c"));
    if let Some(c) = c {
        let columns = node.result().ty().shape.get(1).and_then(quad_ir::types::Dim::known);
        if c.ty().rank() != 1 || c.ty().shape[0].known() != columns {
            return Err(Reason::new("its bias is not one number for each column"));
        }
    }
    if b.weight().is_some() && !op.transA {
        return fully_connected(l, node, (a, b), c, op.transB);
    }
    let (a, b) = (l.value(a)?, l.value(b)?);
    let y = l.result(node)?;
    let params = vec![("transpose_in0", Param::Bool(op.transA)), ("transpose_in1", Param::Bool(op.transB))];
    product(l, "MatMul", (a, b, c), y, params)
}
