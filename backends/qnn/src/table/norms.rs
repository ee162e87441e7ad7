//! Normalizations and distributions.

use quad_backends::legality::Reason;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{GroupNorm, InstanceNorm, LayerNorm, RmsNorm, Softmax};

use super::constants::symmetric;
use super::linear::require_planes;
use super::lowering::{Emitted, Lowering, dims};
use crate::model::{DataType, Param, Role, TensorId};

/// Axis `axis` of `rank`, counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> u32 {
    (if axis < 0 { axis + rank as i64 } else { axis }) as u32
}

/// `Softmax`.
pub(super) fn softmax(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Softmax>() else { return Ok(()) };
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let along = axis(op.axis, l.qnn.tensor(x).dims.len());
    l.op("Softmax", &[x], &[y], [("axis", Param::U32(along)), ("beta", Param::F32(1.0))]);
    Ok(())
}

/// `GroupNorm` of planes whose rows are laid out in one column. Of the same planes as they are, deep in a large graph, the
/// libraries of API 5.51 make numbers that have nothing to do with the exact ones; a column they get right.
pub(super) fn group_norm(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<GroupNorm>() else { return Ok(()) };
    let value = node.operand("x").ok_or_else(|| Reason::new("operand `x` is left out"))?;
    require_planes(value, op.layout)?;
    let x = l.value(value)?;
    let beside = |l: &mut Lowering<'_>, name: &str| match node.operand(name) {
        Some(value) => l.beside(value, x),
        None => Err(Reason::new(format!("operand `{name}` is left out"))),
    };
    let inputs = [x, beside(l, "scale")?, beside(l, "bias")?];
    let y = l.result(node)?;
    let (from, to) = (column(l, x, "column"), column(l, y, "normalized"));
    let params = [("group", Param::U32(op.num_groups as u32)), ("epsilon", Param::F32(op.epsilon.get()))];
    l.op("Reshape", &[x], &[from], []);
    l.op("GroupNorm", &[from, inputs[1], inputs[2]], &[to], params);
    l.op("Reshape", &[to], &[y], []);
    Ok(())
}

/// A tensor like the planes `of`, with all places in one column.
fn column(l: &mut Lowering<'_>, of: TensorId, what: &str) -> TensorId {
    let like = l.qnn.tensor(of).clone();
    let dims = vec![like.dims[0], like.dims[1] * like.dims[2], 1, like.dims[3]];
    l.tensor(&format!("{}.{what}", like.name), Role::Native, like.data_type, dims, like.encoding)
}

/// `InstanceNorm`.
pub(super) fn instance_norm(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<InstanceNorm>() else { return Ok(()) };
    let value = node.operand("x").ok_or_else(|| Reason::new("operand `x` is left out"))?;
    require_planes(value, op.layout)?;
    let x = l.value(value)?;
    let inputs = [x, factor(l, node, "scale", x)?, shift(l, node, "bias", x)?];
    let y = l.result(node)?;
    l.op("InstanceNorm", &inputs, &[y], [("epsilon", Param::F32(op.epsilon.get()))]);
    Ok(())
}

/// `LayerNorm`.
pub(super) fn layer_norm(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<LayerNorm>() else { return Ok(()) };
    let x = l.operand(node, "x")?;
    let axes = axes_from(l, node, x, op.axis)?;
    let mut inputs = vec![x, factor(l, node, "scale", x)?];
    if node.operand("b").is_some() {
        inputs.push(shift(l, node, "b", x)?);
    }
    let y = l.result(node)?;
    if node.results().skip(1).any(|result| result.is_read() || result.is_output()) {
        return Err(Reason::new("its mean or deviation is read, and QNN gives neither"));
    }
    l.op("LayerNorm", &inputs, &[y], [("axes", axes), ("epsilon", Param::F32(op.epsilon.get()))]);
    Ok(())
}

/// `RmsNorm`.
pub(super) fn rms_norm(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<RmsNorm>() else { return Ok(()) };
    let x = l.operand(node, "x")?;
    let axes = axes_from(l, node, x, op.axis)?;
    let inputs = [x, factor(l, node, "scale", x)?];
    let y = l.result(node)?;
    l.op("RmsNorm", &inputs, &[y], [("axes", axes), ("epsilon", Param::F32(op.epsilon.get()))]);
    Ok(())
}

/// All axes from `first` on, which the factors must have, too.
fn axes_from(l: &Lowering<'_>, node: NodeRef<'_>, x: TensorId, first: i64) -> Result<Param, Reason> {
    let sizes = &l.qnn.tensor(x).dims;
    let first = axis(first, sizes.len());
    let scale = node.operand("scale").map(|scale| dims(scale.ty())).transpose()?;
    if scale.as_deref() != Some(&sizes[first as usize..]) {
        return Err(Reason::new("its factors do not have the sizes of the normalized axes"));
    }
    let axes: Vec<u32> = (first..sizes.len() as u32).collect();
    Ok(Param::U32s(vec![axes.len() as u32], axes))
}

/// The factors of a normalization. Beside quantized numbers they are symmetric and of the same width: what the tensor
/// processor multiplies with exactly.
fn factor(l: &mut Lowering<'_>, node: NodeRef<'_>, name: &str, x: TensorId) -> Result<TensorId, Reason> {
    quantized(l, node, name, x, |x| x)
}

/// The shifts of a normalization, in 32 bits beside quantized numbers.
fn shift(l: &mut Lowering<'_>, node: NodeRef<'_>, name: &str, x: TensorId) -> Result<TensorId, Reason> {
    quantized(l, node, name, x, |_| DataType::Sfixed32)
}

fn quantized(
    l: &mut Lowering<'_>,
    node: NodeRef<'_>,
    name: &str,
    x: TensorId,
    data_type: fn(DataType) -> DataType,
) -> Result<TensorId, Reason> {
    let value = node.operand(name).ok_or_else(|| Reason::new(format!("operand `{name}` is left out")))?;
    let x = l.qnn.tensor(x).data_type;
    let constant = if x.is_fixed() && value.ty().quant.is_none() { l.elements(value)? } else { None };
    let Some(elements) = constant else { return l.value(value) };
    let data_type = data_type(x);
    let (encoding, bytes) = symmetric(data_type, &elements);
    let name = format!("{}.{data_type}", l.name_of(value));
    Ok(l.tensor(&name, Role::Static(bytes), data_type, dims(value.ty())?, Some(encoding)))
}
