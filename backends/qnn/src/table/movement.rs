//! Operations that move elements. Those of quantized tensors keep their stored numbers, so that operands of another
//! encoding than the result are converted first.

use quad_backends::legality::Reason;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::depth_to_space::DepthOrder;
use quad_ir::ops::pad::PadMode;
use quad_ir::ops::resize::{AspectRatioPolicy, Coordinates, Interpolation, NearestMode};
use quad_ir::ops::{Concat, DepthToSpace, Gather, Pad, Resize, SpaceToDepth, Split, Transpose};

use super::linear::require_planes;
use super::lowering::{Emitted, Lowering};
use super::norms::axis;
use crate::model::{Param, TensorId};

fn required<'g>(node: NodeRef<'g>, name: &str) -> Result<ValueRef<'g>, Reason> {
    node.operand(name).ok_or_else(|| Reason::new(format!("operand `{name}` is left out")))
}

/// Operand `x` in the encoding of the result, and the result.
fn through(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Result<(TensorId, TensorId), Reason> {
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    Ok((l.encoded_like(x, y), y))
}

/// `Reshape`, also of `squeeze`, `unsqueeze` and `flatten`.
pub(super) fn reshape(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = through(l, node)?;
    l.op("Reshape", &[x], &[y], []);
    Ok(())
}

/// `Transpose`.
pub(super) fn transpose(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Transpose>() else { return Ok(()) };
    let (x, y) = through(l, node)?;
    let rank = l.qnn.tensor(x).dims.len();
    let order: Vec<u32> = match &op.perm {
        Some(perm) => perm.iter().map(|from| axis(*from, rank)).collect(),
        None => (0..rank as u32).rev().collect(),
    };
    l.op("Transpose", &[x], &[y], [("perm", Param::U32s(vec![rank as u32], order))]);
    Ok(())
}

/// `Concat`.
pub(super) fn concat(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Concat>() else { return Ok(()) };
    let y = l.result(node)?;
    let mut inputs = Vec::new();
    for value in node.tail() {
        let x = l.beside(value, y)?;
        inputs.push(l.encoded_like(x, y));
    }
    let along = axis(op.axis, l.qnn.tensor(y).dims.len());
    l.op("Concat", &inputs, &[y], [("axis", Param::U32(along))]);
    Ok(())
}

/// `Split` at the places where parts begin; parts in another encoding than the operand are converted afterwards.
pub(super) fn split(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Split>() else { return Ok(()) };
    let x = l.operand(node, "x")?;
    let along = axis(op.axis, l.qnn.tensor(x).dims.len());
    let like = l.qnn.tensor(x).clone();
    let (mut parts, mut results, mut begins, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for result in node.results() {
        let y = l.value(result)?;
        let tensor = l.qnn.tensor(y).clone();
        begins.push(at);
        at += tensor.dims[along as usize];
        results.push(y);
        let same = (tensor.data_type, &tensor.encoding) == (like.data_type, &like.encoding);
        parts.push(if same {
            y
        } else {
            let name = format!("{}.part", tensor.name);
            l.tensor(&name, crate::model::Role::Native, like.data_type, tensor.dims, like.encoding.clone())
        });
    }
    begins.remove(0);
    let places = Param::U32s(vec![begins.len() as u32], begins);
    l.op("Split", &[x], &parts, [("axis", Param::U32(along)), ("split_index", places)]);
    for (part, result) in parts.into_iter().zip(results) {
        if part != result {
            l.op("Convert", &[part], &[result], []);
        }
    }
    Ok(())
}

/// `StridedSlice`, forward only.
pub(super) fn slice(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let starts = l.integers(required(node, "starts")?, "starts")?;
    let list = |name: &str| node.operand(name).map(|value| l.integers(value, name)).transpose();
    let (axes, steps) = (list("axes")?, list("steps")?);
    let (x, y) = through(l, node)?;
    let (from, to) = (l.qnn.tensor(x).dims.clone(), l.qnn.tensor(y).dims.clone());
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let mut ranges: Vec<[i32; 3]> = from.iter().map(|size| [0, size.cast_signed(), 1]).collect();
    for (at, start) in starts.iter().enumerate() {
        let along = axis(axes[at], from.len()) as usize;
        let step = steps.as_ref().map_or(1, |steps| steps[at]);
        if step < 1 {
            return Err(Reason::new(format!("its step {step} goes backward")));
        }
        let size = i64::from(from[along]);
        let begin = if *start < 0 { start + size } else { *start }.clamp(0, size);
        // The result says how many elements there are, whatever the end was written as.
        let end = begin + (i64::from(to[along]) - 1) * step + 1;
        ranges[along] = [begin as i32, end as i32, step as i32];
    }
    let ranges = Param::I32s(vec![from.len() as u32, 3], ranges.concat());
    l.op("StridedSlice", &[x], &[y], [("ranges", ranges)]);
    Ok(())
}

/// `Pad`.
pub(super) fn pad(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Pad>() else { return Ok(()) };
    let scheme = match op.mode {
        PadMode::Constant => 0,
        PadMode::Reflect => 2,
        PadMode::Edge => 3,
        PadMode::Wrap => return Err(Reason::new("it repeats the axis, which QNN does not do")),
    };
    let given = l.integers(required(node, "pads")?, "pads")?;
    let axes = node.operand("axes").map(|value| l.integers(value, "axes")).transpose()?;
    let value = match node.operand("value").map(|value| l.elements(value)).transpose()? {
        Some(Some(elements)) => elements.to_f64().ok().and_then(|all| all.first().copied()).unwrap_or(0.0),
        Some(None) => return Err(Reason::new("its value is computed, and must be constant")),
        None => 0.0,
    };
    if given.iter().any(|amount| *amount < 0) {
        return Err(Reason::new("it removes elements").help("a slice does that"));
    }
    let (x, y) = through(l, node)?;
    let rank = l.qnn.tensor(x).dims.len();
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    let mut amounts = vec![0; rank * 2];
    for (at, along) in axes.iter().enumerate() {
        let along = axis(*along, rank) as usize;
        amounts[along * 2] = given[at] as u32;
        amounts[along * 2 + 1] = given[at + axes.len()] as u32;
    }
    let constant = match l.qnn.tensor(x).encoding.as_ref().map(|encoding| encoding.parts()[0]) {
        Some(one) => {
            let (low, high) = l.qnn.tensor(x).data_type.fixed_range().unwrap_or_default();
            let code = (value / f64::from(one.scale)).round_ties_even() + f64::from(one.zero_point());
            Param::I32(code.clamp(low as f64, high as f64) as i32)
        }
        None => Param::F32(value as f32),
    };
    let params = [
        ("scheme", Param::U32(scheme)),
        ("pad_amount", Param::U32s(vec![rank as u32, 2], amounts)),
        ("pad_constant_value", constant),
    ];
    l.op("Pad", &[x], &[y], params);
    Ok(())
}

/// `Tile` of `expand`.
pub(super) fn expand(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (x, y) = through(l, node)?;
    let (from, to) = (&l.qnn.tensor(x).dims, &l.qnn.tensor(y).dims);
    if from.len() != to.len() {
        return Err(Reason::new("it adds axes").help("reshape before it"));
    }
    let times: Vec<u32> = from.iter().zip(to).map(|(from, to)| to / from).collect();
    l.op("Tile", &[x], &[y], [("multiples", Param::U32s(vec![times.len() as u32], times))]);
    Ok(())
}

/// `Gather`; indices count from the front.
pub(super) fn gather(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Gather>() else { return Ok(()) };
    let indices = required(node, "indices")?;
    if let Some(elements) = l.elements(indices)?
        && elements.to_i64().is_ok_and(|all| all.iter().any(|index| *index < 0))
    {
        return Err(Reason::new("some of its indices count from the end"));
    }
    let (x, y) = through(l, node)?;
    let indices = l.value(indices)?;
    let along = axis(op.axis, l.qnn.tensor(x).dims.len());
    l.op("Gather", &[x, indices], &[y], [("axis", Param::I32(along.cast_signed()))]);
    Ok(())
}

fn square(size: u64) -> Param {
    Param::U32s(vec![2], vec![size as u32; 2])
}

fn order(mode: DepthOrder) -> Param {
    Param::U32(match mode {
        DepthOrder::Dcr => 0,
        DepthOrder::Crd => 1,
    })
}

/// `DepthToSpace`.
pub(super) fn depth_to_space(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<DepthToSpace>() else { return Ok(()) };
    require_planes(required(node, "x")?, op.layout)?;
    let (x, y) = through(l, node)?;
    l.op("DepthToSpace", &[x], &[y], [("block_size", square(op.blocksize)), ("mode", order(op.mode))]);
    Ok(())
}

/// `SpaceToDepth`.
pub(super) fn space_to_depth(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<SpaceToDepth>() else { return Ok(()) };
    require_planes(required(node, "x")?, op.layout)?;
    let (x, y) = through(l, node)?;
    l.op("SpaceToDepth", &[x], &[y], [("block_size", square(op.blocksize)), ("mode", order(op.mode))]);
    Ok(())
}

/// `Resize` of rows and columns.
pub(super) fn resize(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<Resize>() else { return Ok(()) };
    let no = |what: &str| Err(Reason::new(format!("it {what}, which QNN does not do")));
    if op.antialias || op.exclude_outside || op.keep_aspect_ratio_policy != AspectRatioPolicy::Stretch {
        return no("smooths, leaves out or keeps proportions");
    }
    let mode = match op.mode {
        Interpolation::Nearest => 0,
        Interpolation::Linear => 1,
        Interpolation::Cubic => return no("interpolates by cubic curves"),
    };
    let places = match op.coordinate_transformation_mode {
        Coordinates::HalfPixel => 0,
        Coordinates::PytorchHalfPixel => 1,
        Coordinates::AlignCorners => 2,
        Coordinates::Asymmetric => 3,
        _ => return no("maps places in another way"),
    };
    let nearest = match op.nearest_mode {
        NearestMode::RoundPreferFloor => 0,
        NearestMode::RoundPreferCeil => 1,
        NearestMode::Floor => 2,
        NearestMode::Ceil => 3,
    };
    let value = required(node, "x")?;
    let (x, y) = if mode == 0 { through(l, node)? } else { (l.value(value)?, l.result(node)?) };
    let (from, to) = (l.qnn.tensor(x).dims.clone(), l.qnn.tensor(y).dims.clone());
    if from.len() != 4 || from[0] != to[0] || from[3] != to[3] {
        return Err(Reason::new("it resizes other axes than rows and columns of planes with channels last"));
    }
    exact_factors(l, node, &from, &to)?;
    let mut params = vec![
        ("interpolation_mode", Param::U32(mode)),
        ("transformation_mode", Param::U32(places)),
        ("exclude_outside", Param::Bool(false)),
    ];
    if mode == 0 {
        params.push(("nearest_mode", Param::U32(nearest)));
    }
    l.op("Resize", &[x], &[y], params);
    Ok(())
}

/// Refuses factors of which the sizes of the result are not the exact products, because QNN only knows sizes.
fn exact_factors(l: &Lowering<'_>, node: NodeRef<'_>, from: &[u32], to: &[u32]) -> Emitted {
    let Some(scales) = node.operand("scales") else { return Ok(()) };
    let Some(scales) = l.elements(scales)?.and_then(|scales| Some(scales.to_f32().ok()?.into_owned())) else {
        return Err(Reason::new("its factors are computed, and must be constant"));
    };
    let axes = node.is::<Resize>().map(|op| op.axes.clone()).unwrap_or_default();
    for (at, scale) in scales.iter().enumerate() {
        let along = axes.get(at).map_or(at, |along| axis(*along, from.len()) as usize);
        if f64::from(from[along]) * f64::from(*scale) != f64::from(to[along]) {
            return Err(Reason::new(format!("its factor {scale} of {} is no whole size", from[along])));
        }
    }
    Ok(())
}
