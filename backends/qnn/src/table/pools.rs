//! Reductions and pooling.

use quad_backends::legality::Reason;
use quad_ir::graph::NodeRef;
use quad_ir::ops::{AveragePool, MaxPool, OpKind, ReduceMax, ReduceMean, ReduceSum};

use super::linear::{pads, pair, require_planes};
use super::lowering::{Emitted, Lowering};
use super::norms::axis;
use crate::model::Param;

/// `ReduceMean`, `ReduceSum`, `ReduceMax`.
pub(super) fn reduce(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let (kind, keep, none_is_none) = match node.op().kind() {
        OpKind::ReduceMean => {
            let op = node.is::<ReduceMean>().cloned().unwrap_or_default();
            ("ReduceMean", op.keepdims, op.noop_with_empty_axes)
        }
        OpKind::ReduceSum => {
            let op = node.is::<ReduceSum>().cloned().unwrap_or_default();
            ("ReduceSum", op.keepdims, op.noop_with_empty_axes)
        }
        _ => {
            let op = node.is::<ReduceMax>().cloned().unwrap_or_default();
            ("ReduceMax", op.keepdims, op.noop_with_empty_axes)
        }
    };
    let axes = node.operand("axes").map(|axes| l.integers(axes, "axes")).transpose()?.unwrap_or_default();
    if axes.is_empty() && none_is_none {
        return Err(Reason::new("it reduces no axis"));
    }
    let (x, y) = (l.operand(node, "x")?, l.result(node)?);
    let rank = l.qnn.tensor(x).dims.len();
    let mut axes: Vec<u32> = axes.iter().map(|along| axis(*along, rank)).collect();
    if axes.is_empty() {
        axes = (0..rank as u32).collect();
    }
    let params = [("axes", Param::U32s(vec![axes.len() as u32], axes)), ("keep_dims", Param::Bool(keep))];
    l.op(kind, &[x], &[y], params);
    Ok(())
}

/// `PoolAvg2d`.
pub(super) fn average_pool(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<AveragePool>() else { return Ok(()) };
    let x = node.operand("x").ok_or_else(|| Reason::new("operand `x` is left out"))?;
    require_planes(x, op.layout)?;
    no_dilation(&op.dilations)?;
    let (x, y) = (l.value(x)?, l.result(node)?);
    let params = [
        ("filter_size", pair(&op.kernel_shape, 1)),
        ("stride", pair(&op.strides, 1)),
        ("pad_amount", pads(&op.pads)),
        ("rounding_mode", Param::U32(u32::from(op.ceil_mode))),
        ("count_pad_for_edges", Param::Bool(op.count_include_pad)),
    ];
    l.op("PoolAvg2d", &[x], &[y], params);
    Ok(())
}

/// `PoolMax2d`.
pub(super) fn max_pool(l: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    let Some(op) = node.is::<MaxPool>() else { return Ok(()) };
    let x = node.operand("x").ok_or_else(|| Reason::new("operand `x` is left out"))?;
    require_planes(x, op.layout)?;
    no_dilation(&op.dilations)?;
    if node.results().skip(1).any(|result| result.is_read() || result.is_output()) {
        return Err(Reason::new("its indices are read, and QNN gives none"));
    }
    let (x, y) = (l.value(x)?, l.result(node)?);
    let x = l.encoded_like(x, y);
    let params = [
        ("filter_size", pair(&op.kernel_shape, 1)),
        ("stride", pair(&op.strides, 1)),
        ("pad_amount", pads(&op.pads)),
        ("rounding_mode", Param::U32(u32::from(op.ceil_mode))),
    ];
    l.op("PoolMax2d", &[x], &[y], params);
    Ok(())
}

fn no_dilation(dilations: &[u64]) -> Emitted {
    if dilations.iter().all(|dilation| *dilation == 1) {
        return Ok(());
    }
    Err(Reason::new("its window has gaps, which QNN's pooling has not"))
}
