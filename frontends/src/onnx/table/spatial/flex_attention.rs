//! Attention whose scores and weights pass through subgraphs.

use quad_ir::dtype::DType;
use quad_ir::graph::ValueId;
use quad_ir::ops::{Attention, Cast, Gather, MatMul, Mul, Softmax, Transpose};

use crate::onnx::context::{NodeContext, Values};
use crate::onnx::control_flow::Body;
use crate::onnx::error::NodeError;

/// Without subgraphs it is attention; with them, its steps are written out.
pub(super) fn read(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let (q, k, v) = (context.operand(0)?, context.operand(1)?, context.operand(2)?);
    let dtype = context.ty(q).dtype;
    let precision = context.dtype("softmax_precision")?;
    let precision = precision.unwrap_or(if dtype == DType::F64 { DType::F64 } else { DType::F32 });
    let scale = context.float("scale")?;
    let has_bodies = context.subgraph("score_mod")?.is_some() || context.subgraph("prob_mod")?.is_some();
    if !has_bodies {
        let op = Attention {
            scale: scale.map(Into::into),
            softmax_precision: Some(precision),
            ..Attention::default()
        };
        return Ok(Values::from_slice(&[context.value(op, &[q, k, v])?]));
    }
    let scores = scores(context, q, k, scale)?;
    let scores = cast(context, scores, precision)?;
    let scores = through(context, "score_mod", scores)?;
    let weights = context.value(Softmax { axis: -1 }, &[scores])?;
    let weights = through(context, "prob_mod", weights)?;
    let values = shared(context, v, q)?;
    let values = cast(context, values, precision)?;
    let y = context.value(MatMul, &[weights, values])?;
    Ok(Values::from_slice(&[cast(context, y, dtype)?]))
}

/// The products of queries and keys; each factor gets the root of the scale, which keeps them small.
fn scores(
    context: &mut NodeContext<'_, '_>,
    q: ValueId,
    k: ValueId,
    scale: Option<f32>,
) -> Result<ValueId, NodeError> {
    let size = context.ty(q).shape.get(3).and_then(quad_ir::types::Dim::known);
    let scale = match (scale, size) {
        (Some(scale), _) => f64::from(scale),
        (None, Some(size)) => 1.0 / (size as f64).sqrt(),
        (None, None) => return Err(context.unsupported("heads whose size is not fixed, without a scale")),
    };
    let root = context.scalar_of(context.ty(q).dtype, scale.sqrt())?;
    let keys = shared(context, k, q)?;
    let keys = context.value(Transpose { perm: Some(vec![0, 1, 3, 2]) }, &[keys])?;
    let (queries, keys) = (context.value(Mul, &[q, root])?, context.value(Mul, &[keys, root])?);
    context.value(MatMul, &[queries, keys])
}

/// The keys or values in `of`, each head as often as heads of `q` share it.
fn shared(context: &mut NodeContext<'_, '_>, of: ValueId, q: ValueId) -> Result<ValueId, NodeError> {
    let heads = |value: ValueId| context.ty(value).shape.get(1).and_then(quad_ir::types::Dim::known);
    let (Some(queries), Some(own)) = (heads(q), heads(of)) else {
        return Err(context.unsupported("a number of heads that is not fixed"));
    };
    if queries == own || own == 0 {
        return Ok(of);
    }
    let group = (queries / own).max(1);
    let places: Vec<i64> = (0..queries).map(|head| (head / group).cast_signed()).collect();
    let places = context.integers(&places)?;
    context.value(Gather { axis: 1 }, &[of, places])
}

/// `value` as the subgraph in `attribute` changes it.
fn through(
    context: &mut NodeContext<'_, '_>,
    attribute: &'static str,
    value: ValueId,
) -> Result<ValueId, NodeError> {
    if context.subgraph(attribute)?.is_none() {
        return Ok(value);
    }
    match Body::new(context, attribute)?.inline(context, Some(attribute), &[value])?[..] {
        [changed] => Ok(changed),
        ref outputs => Err(NodeError::Body(format!("gives {} outputs, expected one", outputs.len()))),
    }
}

fn cast(context: &mut NodeContext<'_, '_>, value: ValueId, to: DType) -> Result<ValueId, NodeError> {
    if context.ty(value).dtype == to {
        return Ok(value);
    }
    context.value(Cast { to, ..Cast::default() }, &[value])
}
