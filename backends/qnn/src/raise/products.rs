//! Convolutions and products of matrices.

use quad_ir::graph::ValueId;
use quad_ir::loc::Loc;
use quad_ir::ops::{Conv, ConvTranspose, Gemm, MatMul};

use super::{Raising, Step, Why};
use crate::model::{DataType, Encoding, Node, Role, ScaleOffset, TensorId};
use crate::table::permute;

/// Outputs, inputs, rows and columns of a kernel that has rows, columns, inputs and outputs.
const KERNEL: [usize; 4] = [3, 2, 0, 1];

/// Inputs, outputs, rows and columns of such a kernel, which that of a transposed convolution has.
const TRANSPOSED_KERNEL: [usize; 4] = [2, 3, 0, 1];

/// A list of the node as sizes.
pub(super) fn sizes(node: &Node, name: &str) -> Vec<u64> {
    node.list(name).iter().map(|size| u64::from(*size)).collect()
}

/// Amounts before each axis, then those behind each.
pub(super) fn pads(node: &Node) -> Vec<u64> {
    let list = sizes(node, "pad_amount");
    let every_other = |from| list.iter().skip(from).step_by(2).copied();
    every_other(0).chain(every_other(1)).collect()
}

pub(super) fn conv(r: &mut Raising<'_>, node: &Node) -> Step {
    let x = r.planes(node.inputs[0])?;
    let w = kernel(r, node.inputs[1], KERNEL)?;
    let mut operands = vec![x, w];
    if let Some(bias) = node.inputs.get(2) {
        operands.push(r.read(*bias)?);
    }
    let channels = r.tensor(node.inputs[0]).dims[3];
    let group = if node.kind == "Conv2d" { node.number("group").unwrap_or(1) } else { channels };
    let op = Conv {
        strides: sizes(node, "stride"),
        pads: pads(node),
        dilations: sizes(node, "dilation"),
        group: u64::from(group),
        ..Conv::default()
    };
    let real = r.graph.add_value(op, &operands, Loc::Built)?;
    r.write_planes(node.outputs[0], real)
}

pub(super) fn conv_transpose(r: &mut Raising<'_>, node: &Node) -> Step {
    let x = r.planes(node.inputs[0])?;
    let mut operands = vec![x, kernel(r, node.inputs[1], TRANSPOSED_KERNEL)?];
    if let Some(bias) = node.inputs.get(2) {
        operands.push(r.read(*bias)?);
    }
    let op = ConvTranspose {
        strides: sizes(node, "stride"),
        pads: pads(node),
        output_padding: sizes(node, "output_padding"),
        group: u64::from(node.number("group").unwrap_or(1)),
        ..ConvTranspose::default()
    };
    let real = r.graph.add_value(op, &operands, Loc::Built)?;
    r.write_planes(node.outputs[0], real)
}

/// A kernel with the axes as ONNX has them: axis `i` of it is axis `order[i]` of QNN's.
fn kernel(r: &mut Raising<'_>, id: TensorId, order: [usize; 4]) -> Step<ValueId> {
    if let Some(value) = r.planes.get(&id) {
        return Ok(*value);
    }
    let tensor = r.tensor(id);
    let encoding = tensor.encoding.clone().map(|encoding| encoding.reordered(&order));
    let value = if let Role::Static(bytes) = &tensor.role {
        let dims = order.map(|axis| tensor.dims[axis]);
        let bytes = permute(bytes, tensor.data_type.bytes(), &tensor.dims, &order);
        r.constant(tensor, &dims, &bytes, encoding.as_ref())?
    } else {
        let last = r.read(id)?;
        let first = r.transposed(last, &order.map(|axis| axis as i64))?;
        let encoding = encoding.filter(|_| r.encoding(tensor).is_some());
        r.stored_as(first, tensor.data_type, encoding.as_ref())?
    };
    r.planes.insert(id, value);
    Ok(value)
}

pub(super) fn matmul(r: &mut Raising<'_>, node: &Node) -> Step {
    let (a, b) = (r.read(node.inputs[0])?, second(r, node.inputs[1])?);
    let (first, then) = (node.flag("transpose_in0"), node.flag("transpose_in1"));
    let real = if node.inputs.len() == 2 && !first && !then {
        r.graph.add_value(MatMul, &[a, b], Loc::Built)?
    } else if r.tensor(node.inputs[0]).dims.len() == 2 {
        let c = node.inputs.get(2).map(|c| r.read(*c)).transpose()?;
        let op = Gemm { transA: first, transB: then, ..Gemm::default() };
        let made = r.graph.add(op, &[Some(a), Some(b), c], Loc::Built)?;
        r.graph.node(made).result().id()
    } else {
        return Err(Why::Said("a product of batches with a bias, or of transposed matrices".to_owned()));
    };
    r.write(node.outputs[0], real)
}

/// A second operand. The provider narrows unsigned numbers of 16 bits that are computed, without a word, and is off by 150
/// steps then. As signed ones, which are as exact, it takes single matrices; batches it takes in 8 bits only. Observed
/// on the provider of release 2.7.0.
fn second(r: &mut Raising<'_>, id: TensorId) -> Step<ValueId> {
    let (real, tensor) = (r.read(id)?, r.tensor(id));
    let is_constant = matches!(tensor.role, Role::Static(_));
    let (DataType::Ufixed16, false, Some(Encoding::Tensor(all))) =
        (tensor.data_type, is_constant, r.encoding(tensor))
    else {
        return Ok(real);
    };
    let is_single = tensor.dims.iter().rev().skip(2).all(|size| *size == 1);
    let (data_type, encoding) = if is_single {
        (DataType::Sfixed16, ScaleOffset::new(all.scale, all.zero_point() - 32768))
    } else {
        (DataType::Ufixed8, ScaleOffset::new(all.scale * 257.0, (all.zero_point() + 128) / 257))
    };
    r.stored_as(real, data_type, Some(&Encoding::Tensor(encoding)))
}

pub(super) fn fully_connected(r: &mut Raising<'_>, node: &Node) -> Step {
    let mut x = r.read(node.inputs[0])?;
    let (from, w) = (r.tensor(node.inputs[0]), r.tensor(node.inputs[1]));
    if from.dims.len() != 2 {
        let columns = w.dims[1];
        let flat = r.reshaped(x, &[from.len() as u32 / columns, columns])?;
        x = r.requantized(flat, node.inputs[0])?;
    }
    let w = r.read(node.inputs[1])?;
    let c = node.inputs.get(2).map(|c| r.read(*c)).transpose()?;
    let op = Gemm { transB: true, ..Gemm::default() };
    let made = r.graph.add(op, &[Some(x), Some(w), c], Loc::Built)?;
    let real = r.graph.node(made).result().id();
    r.write(node.outputs[0], real)
}
