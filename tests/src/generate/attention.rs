//! Steps that add an attention: of heads, in the forms in which exporters write it, and rotated positions.

use quad_ir::graph::{AddError, ValueId};
use quad_ir::ops::{Add, Attention, Concat, Div, Gather, MatMul, Mul, Neg, Slice, Softmax, Split};

use super::grower::{Grower, Grown, Range};
use super::linear;

/// Heads of an attention.
#[derive(Clone, Copy)]
struct Heads {
    count: u64,
    width: u64,
    /// Whether heads are an axis of their own, or merged with the batch.
    apart: bool,
}

/// An attention with its linear layers, on itself or on other tokens.
pub(super) fn heads(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.tokens()?;
    let heads = Heads {
        count: grower.pick(&[1, 2, 3]),
        width: grower.pick(&[2, 4]),
        // Merging heads with the batch takes a batch that is a number.
        apart: grower.sizes(x.id).is_none() || grower.once_in(2),
    };
    let [q, k, v] = match grower.below(3) {
        0 => from_one_layer(grower, x, heads)?,
        1 => {
            let context = grower.input("context", &[3, 4])?;
            from_layers(grower, x, context, heads)?
        }
        _ => from_layers(grower, x, x, heads)?,
    };
    let scores = scores(grower, q, k, heads)?;
    let scores = if grower.once_in(3) { masked(grower, scores)? } else { scores };
    let shares = grower.op(Softmax { axis: -1 }, &[scores])?;
    let mixed = grower.op(MatMul, &[shares, v.id])?;
    let merged = merge(grower, mixed, x, heads)?;
    let y = linear::layer(grower, Grown { id: merged, range: v.range }, 4)?;
    grower.keep(y.id, y.range)?;
    // Around it, what was there before.
    if grower.tail(x.id)[1] == 4 {
        let sum = grower.op(Add, &[y.id, x.id])?;
        grower.keep(sum, y.range.plus(x.range))?;
    }
    Ok(())
}

/// An attention as one node, of three axes or four, with fewer heads of keys than of queries now and then.
pub(super) fn as_one_node(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.tokens()?;
    let length = grower.tail(x.id)[0];
    let (q_heads, width) = (grower.pick(&[1, 2, 4]), grower.pick(&[2, 3]));
    let kv_heads = if grower.once_in(3) { 1 } else { q_heads };
    let four = grower.once_in(2);
    let mut operands: Vec<ValueId> = Vec::new();
    let mut range = Range::around_zero(0.0);
    for count in [q_heads, kv_heads, kv_heads] {
        let y = linear::layer(grower, x, count * width)?;
        range = y.range;
        let heads = Heads { count, width, apart: true };
        operands.push(if four { apart(grower, y.id, length, heads)? } else { y.id });
    }
    // Scores of large queries and keys would let softmax pick one by a hair.
    let scale = grower.scalar(0.25 / range.magnitude().max(1.0))?;
    operands[0] = grower.op(Mul, &[operands[0], scale])?;
    if grower.once_in(3) {
        let mask = grower.constant(&[length, length], 1.0)?;
        operands.push(mask.id);
    }
    let operands: Vec<Option<ValueId>> = operands.into_iter().map(Some).collect();
    let heads = |count: u64| (!four).then_some(count);
    let op = Attention {
        is_causal: grower.once_in(3),
        q_num_heads: heads(q_heads),
        kv_num_heads: heads(kv_heads),
        scale: grower.once_in(2).then(|| 0.5.into()),
        ..Attention::default()
    };
    let y = grower.results(op, &operands)?[0];
    let merged = if four { merge(grower, y, x, Heads { count: q_heads, width, apart: true })? } else { y };
    let y = linear::layer(grower, Grown { id: merged, range }, 4)?;
    grower.keep(y.id, y.range)
}

/// Queries of `x`, keys and values of `context`, each by a layer of its own.
fn from_layers(grower: &mut Grower, x: Grown, context: Grown, heads: Heads) -> Result<[Grown; 3], AddError> {
    let mut taken = Vec::new();
    for from in [x, context, context] {
        let y = linear::layer(grower, from, heads.count * heads.width)?;
        let length = grower.tail(from.id)[0];
        taken.push(Grown { id: apart(grower, y.id, length, heads)?, ..y });
    }
    Ok([taken[0], taken[1], taken[2]])
}

/// Queries, keys and values of `x` by one layer, whose result is split, or gathered from an axis of three.
fn from_one_layer(grower: &mut Grower, x: Grown, heads: Heads) -> Result<[Grown; 3], AddError> {
    let channels = heads.count * heads.width;
    let length = grower.tail(x.id)[0];
    let y = linear::layer(grower, x, 3 * channels)?;
    let batch = grower.sizes(x.id).map(|sizes| sizes[0] as i64);
    let gathers = heads.apart && grower.once_in(2);
    if let (true, Some(batch)) = (gathers, batch) {
        let sizes = [batch, length as i64, 3, heads.count as i64, heads.width as i64];
        let five = grower.reshape(y.id, &sizes)?;
        let five = grower.transpose(five, &[2, 0, 3, 1, 4])?;
        let mut part = |index: i64| -> Result<Grown, AddError> {
            let index = grower.integers(&[index])?;
            let part = grower.op(Gather { axis: 0 }, &[five, index])?;
            let sizes = [batch, heads.count as i64, length as i64, heads.width as i64];
            Ok(Grown { id: grower.reshape(part, &sizes)?, ..y })
        };
        return Ok([part(0)?, part(1)?, part(2)?]);
    }
    let sizes = grower.integers(&[channels as i64; 3])?;
    let parts = grower.results(Split { axis: -1, num_outputs: None }, &[Some(y.id), Some(sizes)])?;
    let mut part =
        |id: ValueId| -> Result<Grown, AddError> { Ok(Grown { id: apart(grower, id, length, heads)?, ..y }) };
    Ok([part(parts[0])?, part(parts[1])?, part(parts[2])?])
}

/// `[batch, length, heads * width]` with the heads before the length.
fn apart(grower: &mut Grower, x: ValueId, length: u64, heads: Heads) -> Result<ValueId, AddError> {
    let sizes = [0, length as i64, heads.count as i64, heads.width as i64];
    let four = grower.reshape(x, &sizes)?;
    let turned = grower.transpose(four, &[0, 2, 1, 3])?;
    if heads.apart { Ok(turned) } else { grower.reshape(turned, &[-1, length as i64, heads.width as i64]) }
}

/// `[batch, length, heads * width]` again.
fn merge(grower: &mut Grower, mixed: ValueId, x: Grown, heads: Heads) -> Result<ValueId, AddError> {
    let length = grower.tail(x.id)[0] as i64;
    let (count, width) = (heads.count as i64, heads.width as i64);
    let four = if heads.apart { mixed } else { grower.reshape(mixed, &[-1, count, length, width])? };
    let turned = grower.transpose(four, &[0, 2, 1, 3])?;
    grower.reshape(turned, &[0, length, count * width])
}

/// Scaled products of queries and keys: the scale before, behind, or on both sides by its root.
fn scores(grower: &mut Grower, q: Grown, k: Grown, heads: Heads) -> Result<ValueId, AddError> {
    let perm: &[i64] = if heads.apart { &[0, 1, 3, 2] } else { &[0, 2, 1] };
    // Queries of range 30 would give scores among which softmax picks one by a hair.
    let scale = 1.0 / (heads.width as f64).sqrt() / q.range.magnitude().max(1.0);
    let scale_value = grower.scalar(scale)?;
    match grower.below(4) {
        0 => {
            let q = grower.op(Mul, &[q.id, scale_value])?;
            let k = grower.transpose(k.id, perm)?;
            grower.op(MatMul, &[q, k])
        }
        1 => {
            let root = grower.scalar(scale.sqrt())?;
            let q = grower.op(Mul, &[q.id, root])?;
            let k = grower.transpose(k.id, perm)?;
            let k = grower.op(Mul, &[k, root])?;
            grower.op(MatMul, &[q, k])
        }
        2 => {
            let k = grower.transpose(k.id, perm)?;
            let product = grower.op(MatMul, &[q.id, k])?;
            let divisor = grower.scalar(1.0 / scale)?;
            grower.op(Div, &[product, divisor])
        }
        _ => {
            let k = grower.transpose(k.id, perm)?;
            let product = grower.op(MatMul, &[q.id, k])?;
            grower.op(Mul, &[product, scale_value])
        }
    }
}

/// Scores of which a constant takes some out of the running: in every row all but the first few.
fn masked(grower: &mut Grower, scores: ValueId) -> Result<ValueId, AddError> {
    let tail = grower.tail(scores);
    let (rows, columns) = (tail[tail.len() - 2], tail[tail.len() - 1]);
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| column <= row));
    let mask: Vec<f32> = places.map(|is_seen| if is_seen { 0.0 } else { -1e4 }).collect();
    let mask = grower.floats(&[1, rows, columns], &mask)?;
    grower.op(Add, &[scores, mask])
}

/// Rotated positions: `x * cos + half_turned(x) * sin`, with constant angles.
pub(super) fn rotated(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.tokens()?;
    let [length, channels] = grower.tail(x.id)[..] else { return Ok(()) };
    if !channels.is_multiple_of(2) {
        return Ok(());
    }
    let half = (channels / 2) as i64;
    let mut part = |start: i64, end: i64| {
        let operands = [x.id, grower.integers(&[start])?, grower.integers(&[end])?, grower.integers(&[-1])?];
        grower.op(Slice, &operands)
    };
    let (first, second) = (part(0, half)?, part(half, i64::MAX)?);
    let negative = grower.op(Neg, &[second])?;
    let turned = grower.op(Concat { axis: -1 }, &[negative, first])?;
    let (cos, sin) = (grower.constant(&[length, channels], 1.0)?, grower.constant(&[length, channels], 1.0)?);
    let along = grower.op(Mul, &[x.id, cos.id])?;
    let across = grower.op(Mul, &[turned, sin.id])?;
    let id = grower.op(Add, &[along, across])?;
    grower.keep(id, Range::around_zero(2.0 * x.range.magnitude()))
}
