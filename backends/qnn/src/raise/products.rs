//! Convolutions and products of matrices.

use quad_ir::graph::{ValueId, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::{Concat, Conv, ConvTranspose, Gemm, MatMul, Split};

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
    let (first, then) = (node.flag("transpose_in0"), node.flag("transpose_in1"));
    if let (Some(batches), false, false) = (batches(r, node), first, then) {
        let real = by_batches(r, node, batches)?;
        return r.write(node.outputs[0], real);
    }
    let (a, b) = (r.read(node.inputs[0])?, second(r, node.inputs[1])?);
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

/// The most batches that are multiplied one by one.
const MOST_BATCHES: u32 = 64;

/// How many products of matrices `node` is, where the provider takes them [one by one](computed) only.
fn batches(r: &Raising<'_>, node: &Node) -> Option<u32> {
    let [first, second] = node.inputs[..] else { return None };
    computed(r, second)?;
    let outer = |id: TensorId| r.tensor(id).dims.split_last_chunk::<2>().map(|(outer, _)| outer);
    let batches = outer(first).filter(|batches| outer(second) == Some(batches))?;
    let count = batches.iter().try_fold(1u32, |count, size| count.checked_mul(*size))?;
    (2..=MOST_BATCHES).contains(&count).then_some(count)
}

/// The product of `count` matrices, one by one, and all of them together.
fn by_batches(r: &mut Raising<'_>, node: &Node, count: u32) -> Step<ValueId> {
    let (first, second, to) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let (rows, columns) = (matrices(r, first, count)?, matrices(r, second, count)?);
    let signed = computed(r, second).map(signed);
    let mut made = Vec::new();
    for (row, column) in rows.into_iter().zip(columns) {
        let column = r.stored_as(column, DataType::Sfixed16, signed.as_ref())?;
        let real = r.graph.add_value(MatMul, &[row, column], Loc::Built)?;
        made.push(r.requantized(real, to)?);
    }
    let all = r.graph.add_value(Concat { axis: 0 }, &made, Loc::Built)?;
    let all = r.requantized(all, to)?;
    let dims = r.tensor(to).dims.clone();
    r.reshaped(all, &dims)
}

/// The matrices of tensor `id`, of which it has `count`.
fn matrices(r: &mut Raising<'_>, id: TensorId, count: u32) -> Step<Vec<ValueId>> {
    let dims = r.tensor(id).dims.clone();
    let real = r.read(id)?;
    let flat = r.reshaped(real, &[&[count], &dims[dims.len() - 2..]].concat())?;
    let flat = r.requantized(flat, id)?;
    let sizes = r.list(vec![1; count as usize])?;
    let op = Split { axis: 0, num_outputs: None };
    let node = r.graph.add(op, &[Some(flat), Some(sizes)], Loc::Built)?;
    let parts: Vec<ValueId> = r.graph.node(node).results().map(ValueRef::id).collect();
    parts.into_iter().map(|part| r.requantized(part, id)).collect()
}

/// The encoding of a second operand that is computed in 16 bits unsigned. The provider narrows such numbers, without a word, and
/// is off by 150 steps then. As signed ones, which are as exact, it takes single matrices; more batches than are multiplied
/// one by one get 8 bits. Observed on the provider of release 2.7.0.
fn computed(r: &Raising<'_>, id: TensorId) -> Option<ScaleOffset> {
    let tensor = r.tensor(id);
    let is_computed = tensor.data_type == DataType::Ufixed16 && !matches!(tensor.role, Role::Static(_));
    match r.encoding(tensor) {
        Some(Encoding::Tensor(all)) if is_computed => Some(*all),
        _ => None,
    }
}

/// The same steps for signed numbers.
fn signed(unsigned: ScaleOffset) -> Encoding {
    Encoding::Tensor(ScaleOffset::new(unsigned.scale, unsigned.zero_point() - 32768))
}

/// A second operand, as the provider takes it.
fn second(r: &mut Raising<'_>, id: TensorId) -> Step<ValueId> {
    let real = r.read(id)?;
    let Some(all) = computed(r, id) else { return Ok(real) };
    let is_single = r.tensor(id).dims.iter().rev().skip(2).all(|size| *size == 1);
    if is_single {
        return r.stored_as(real, DataType::Sfixed16, Some(&signed(all)));
    }
    let narrow = ScaleOffset::new(all.scale * 257.0, (all.zero_point() + 128) / 257);
    r.stored_as(real, DataType::Ufixed8, Some(&Encoding::Tensor(narrow)))
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
