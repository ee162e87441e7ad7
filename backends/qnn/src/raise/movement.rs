//! Operations that move elements or fold them, whose parameters are operands in the IR.

use quad_ir::graph::{ValueId, ValueRef};
use quad_ir::loc::Loc;
use quad_ir::ops::depth_to_space::DepthOrder;
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::resize::{Coordinates, Interpolation, NearestMode};
use quad_ir::ops::{
    AveragePool, Clip, DepthToSpace, MaxPool, Op, Pad, ReduceMax, ReduceMean, ReduceSum, Resize, Slice,
    SpaceToDepth, Split, Tile,
};

use super::products::{pads, sizes};
use super::{Raising, Step, Why};
use crate::model::{Node, Param};

/// Adds what `node` computes.
pub(super) fn node(r: &mut Raising<'_>, node: &Node) -> Step {
    match node.kind.as_str() {
        "Reshape" => reshape(r, node),
        "Tile" => {
            let times = list(node, "multiples");
            with_lists(r, node, Tile.into(), vec![times])
        }
        "Split" => split(r, node),
        "StridedSlice" => slice(r, node),
        "Pad" => pad(r, node),
        "ReluMinMax" => clip(r, node),
        "ReduceMean" | "ReduceSum" | "ReduceMax" => reduce(r, node),
        "Resize" => resize(r, node),
        "DepthToSpace" | "SpaceToDepth" | "PoolAvg2d" | "PoolMax2d" => planes(r, node),
        _ => Err(Why::Said("lowering makes none".to_owned())),
    }
}

fn list(node: &Node, name: &str) -> Vec<i64> {
    match node.param(name) {
        Some(Param::U32s(_, list)) => list.iter().map(|number| i64::from(*number)).collect(),
        Some(Param::I32s(_, list)) => list.iter().map(|number| i64::from(*number)).collect(),
        _ => Vec::new(),
    }
}

/// An operation on the first input, and on lists behind it.
fn with_lists(r: &mut Raising<'_>, node: &Node, op: Op, lists: Vec<Vec<i64>>) -> Step {
    let mut operands = vec![r.read(node.inputs[0])?];
    for list in lists {
        operands.push(r.list(list)?);
    }
    let real = r.graph.add_value(op, &operands, Loc::Built)?;
    r.write(node.outputs[0], real)
}

fn reshape(r: &mut Raising<'_>, node: &Node) -> Step {
    let x = r.read(node.inputs[0])?;
    let real = r.reshaped(x, &r.tensor(node.outputs[0]).dims)?;
    r.write(node.outputs[0], real)
}

fn split(r: &mut Raising<'_>, node: &Node) -> Step {
    let axis = node.number("axis").unwrap_or(0);
    let lengths = node.outputs.iter().map(|id| i64::from(r.tensor(*id).dims[axis as usize])).collect();
    let (x, lengths) = (r.read(node.inputs[0])?, r.list(lengths)?);
    let op = Split { axis: i64::from(axis), num_outputs: None };
    let made = r.graph.add(op, &[Some(x), Some(lengths)], Loc::Built)?;
    let parts: Vec<ValueId> = r.graph.node(made).results().map(ValueRef::id).collect();
    node.outputs.iter().zip(parts).try_for_each(|(id, part)| r.write(*id, part))
}

fn slice(r: &mut Raising<'_>, node: &Node) -> Step {
    let ranges = list(node, "ranges");
    let every_third = |from: usize| ranges.iter().skip(from).step_by(3).copied().collect::<Vec<i64>>();
    let axes = (0..ranges.len() as i64 / 3).collect();
    with_lists(r, node, Slice.into(), vec![every_third(0), every_third(1), axes, every_third(2)])
}

fn pad(r: &mut Raising<'_>, node: &Node) -> Step {
    let amounts = pads(node).into_iter().map(|amount| amount as i64).collect();
    let mode = match node.number("scheme") {
        Some(2) => PadMode::Reflect,
        Some(3) => PadMode::Edge,
        _ => PadMode::Constant,
    };
    let encoding = r.tensor(node.inputs[0]).encoding.as_ref().map(|encoding| encoding.parts()[0]);
    let value = match (node.param("pad_constant_value"), encoding) {
        (Some(Param::I32(code)), Some(part)) => part.scale * (code + part.offset) as f32,
        _ => node.real("pad_constant_value"),
    };
    let (x, amounts) = (r.read(node.inputs[0])?, r.list(amounts)?);
    let value = if mode == PadMode::Constant { Some(r.scalar(value)?) } else { None };
    let made = r.graph.add(Pad { mode }, &[Some(x), Some(amounts), value], Loc::Built)?;
    let real = r.graph.node(made).result().id();
    r.write(node.outputs[0], real)
}

fn clip(r: &mut Raising<'_>, node: &Node) -> Step {
    let x = r.read(node.inputs[0])?;
    let ends = [r.scalar(node.real("min_value"))?, r.scalar(node.real("max_value"))?];
    let real = r.graph.add_value(Clip, &[x, ends[0], ends[1]], Loc::Built)?;
    r.write(node.outputs[0], real)
}

fn reduce(r: &mut Raising<'_>, node: &Node) -> Step {
    let (keepdims, noop_with_empty_axes) = (node.flag("keep_dims"), false);
    let op = match node.kind.as_str() {
        "ReduceMean" => ReduceMean { keepdims, noop_with_empty_axes }.into(),
        "ReduceSum" => ReduceSum { keepdims, noop_with_empty_axes }.into(),
        _ => ReduceMax { keepdims, noop_with_empty_axes }.into(),
    };
    with_lists(r, node, op, vec![list(node, "axes")])
}

fn resize(r: &mut Raising<'_>, node: &Node) -> Step {
    let is_linear = node.number("interpolation_mode") == Some(1);
    let op = Resize {
        mode: if is_linear { Interpolation::Linear } else { Interpolation::Nearest },
        coordinate_transformation_mode: match node.number("transformation_mode") {
            Some(0) => Coordinates::HalfPixel,
            Some(1) => Coordinates::PytorchHalfPixel,
            Some(2) => Coordinates::AlignCorners,
            _ => Coordinates::Asymmetric,
        },
        nearest_mode: match node.number("nearest_mode") {
            Some(1) => NearestMode::RoundPreferCeil,
            Some(2) => NearestMode::Floor,
            Some(3) => NearestMode::Ceil,
            _ => NearestMode::RoundPreferFloor,
        },
        ..Resize::default()
    };
    let x = r.planes(node.inputs[0])?;
    let dims = &r.tensor(node.outputs[0]).dims;
    let sizes = r.list([dims[0], dims[3], dims[1], dims[2]].map(i64::from).to_vec())?;
    let made = r.graph.add(op, &[Some(x), None, None, Some(sizes)], Loc::Built)?;
    let real = r.graph.node(made).result().id();
    r.write_planes(node.outputs[0], real)
}

fn planes(r: &mut Raising<'_>, node: &Node) -> Step {
    let block = || u64::from(node.list("block_size").first().copied().unwrap_or(1));
    let order = || if node.number("mode") == Some(1) { DepthOrder::Crd } else { DepthOrder::Dcr };
    let (kernel_shape, strides, amounts) = (sizes(node, "filter_size"), sizes(node, "stride"), pads(node));
    let ceil_mode = node.number("rounding_mode") == Some(1);
    let op: Op = match node.kind.as_str() {
        "DepthToSpace" => {
            DepthToSpace { blocksize: block(), mode: order(), ..DepthToSpace::default() }.into()
        }
        "SpaceToDepth" => {
            SpaceToDepth { blocksize: block(), mode: order(), ..SpaceToDepth::default() }.into()
        }
        "PoolAvg2d" => AveragePool {
            kernel_shape,
            strides,
            pads: amounts,
            ceil_mode,
            count_include_pad: node.flag("count_pad_for_edges"),
            ..AveragePool::default()
        }
        .into(),
        _ => MaxPool { kernel_shape, strides, pads: amounts, ceil_mode, ..MaxPool::default() }.into(),
    };
    let x = r.planes(node.inputs[0])?;
    let made = r.graph.add(op, &[Some(x)], Loc::Built)?;
    let real = r.graph.node(made).result().id();
    r.write_planes(node.outputs[0], real)
}
