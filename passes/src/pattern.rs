//! What rules ask of a graph: small questions that read well in a row.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::layout::{DataLayout, layout_of};
use quad_ir::ops::{Cast, Conv, DequantizeLinear, OpTraits, OpVariant, Transpose};
use smallvec::SmallVec;

use crate::rule::{Skip, because};

/// The node that computes `value`, when it is an `O`.
pub fn made_by<O: OpVariant>(value: ValueRef<'_>) -> Option<(NodeRef<'_>, &O)> {
    let node = value.producer();
    node.is::<O>().map(|op| (node, op))
}

/// The number that all elements of `value` are, when that is known; of any float or integer type, and of any shape.
pub fn uniform(value: ValueRef<'_>) -> Option<f64> {
    let elements = value.constant()?.to_f64().ok()?;
    let (first, rest) = elements.split_first()?;
    rest.iter().all(|element| element == first).then_some(*first)
}

/// Whether all elements of `value` are known to be `number`, as exactly as its element type can say it.
pub fn is_uniform(value: ValueRef<'_>, number: f64) -> bool {
    uniform(value).is_some_and(|found| is_about(found, number, value.ty().dtype))
}

/// Whether `found`, computed from constants of type `dtype`, is `number` but for their rounding.
pub fn is_about(found: f64, number: f64, dtype: DType) -> bool {
    let tolerance = number.abs() * if dtype.bits() < 32 { 2e-3 } else { 1e-6 };
    (found - number).abs() <= tolerance
}

/// The elements of an integer `value`, when they are known.
pub fn integers(value: ValueRef<'_>) -> Option<Vec<i64>> {
    value.constant()?.to_i64().ok()
}

/// The sizes of `value`, when all are numbers.
pub fn sizes(value: ValueRef<'_>) -> Option<SmallVec<[u64; 6]>> {
    value.ty().shape.as_known()
}

/// Whether the elements of `value` are known before the graph runs: it is a weight, or computed from sizes alone. A
/// constant that is stored in fewer bits is none: what it becomes would take more.
pub fn is_constant(value: ValueRef<'_>) -> bool {
    value.weight().is_some() || (value.constant().is_some() && made_by::<DequantizeLinear>(value).is_none())
}

/// For each axis of the result of `transpose`, the axis of its operand `x`.
pub fn permutation(transpose: &Transpose, x: ValueRef<'_>) -> SmallVec<[usize; 6]> {
    match &transpose.perm {
        Some(perm) => perm.iter().filter_map(|axis| axis_of(*axis, x)).collect(),
        None => (0..x.ty().rank()).rev().collect(),
    }
}

/// The axis of `value` that `axis` means; negative ones count from the end.
pub fn axis_of(axis: i64, value: ValueRef<'_>) -> Option<usize> {
    let rank = value.ty().rank() as i64;
    let from_start = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(from_start).ok().filter(|_| from_start < rank)
}

/// The axis of the channels of what `node` computes, when it is an operation over planes of channels.
pub fn channel_axis(node: NodeRef<'_>) -> Option<usize> {
    let (layout, _) = layout_of(node.op())?;
    match layout {
        DataLayout::Nchw => Some(1),
        DataLayout::Nhwc => node.result().ty().rank().checked_sub(1),
    }
}

/// The first two operands of a commutative operation, both ways round.
pub fn both_ways(node: NodeRef<'_>) -> impl Iterator<Item = (ValueRef<'_>, ValueRef<'_>)> {
    let mut operands = node.operands().flatten();
    let pair = operands.next().zip(operands.next());
    let commutes = node.op().def().traits().contains(OpTraits::COMMUTATIVE);
    pair.into_iter().flat_map(move |(a, b)| [(a, b)].into_iter().chain(commutes.then_some((b, a))))
}

/// Whether `node` is a convolution that mixes the channels of each position and nothing else: a product of matrices.
pub fn mixes_channels(node: NodeRef<'_>) -> bool {
    let Some((conv, w)) = node.is::<Conv>().zip(node.operand("w").and_then(sizes)) else { return false };
    let window = match conv.layout {
        DataLayout::Nchw => w.get(2..),
        DataLayout::Nhwc => w.get(1..w.len() - 1),
    };
    let is_point = window.is_some_and(|window| window.iter().all(|size| *size == 1));
    is_point
        && conv.group == 1
        && conv.strides.iter().all(|stride| *stride == 1)
        && conv.pads.iter().all(|pad| *pad == 0)
}

/// `value`, or what it was cast from when no cast on the way changes anything: a cast to its own type.
pub fn through_idle_casts(mut value: ValueRef<'_>) -> ValueRef<'_> {
    while let Some((cast, _)) = made_by::<Cast>(value) {
        match cast.operand("x").filter(|x| x.ty() == value.ty()) {
            Some(x) => value = x,
            None => break,
        }
    }
    value
}

/// Passes when only `reader` reads `value`; a near miss that names another reader otherwise.
pub fn only_read_by(value: ValueRef<'_>, reader: NodeRef<'_>) -> Result<(), Skip> {
    if value.only_reader().is_some_and(|only| only.id() == reader.id()) {
        return Ok(());
    }
    let other = value.readers().map(|(other, _)| other).find(|other| other.id() != reader.id());
    let why = match other {
        Some(other) => format!("its result is also read by `{}`, {}", other.op().def().name(), other.id()),
        None if value.is_output() => "its result is also an output of the graph".to_owned(),
        None => "its result is read more than once".to_owned(),
    };
    Err(because(value.producer(), why))
}

#[cfg(test)]
mod tests {
    use quad_ir::text::{NoWeights, parse};

    use super::*;

    #[test]
    fn windows_strides_pads_and_groups_are_no_products() {
        let mixes = |w: &str, attributes: &str, y: &str| {
            let text = format!(
                "quad 1\n\ngraph @main(%x: f32[1, 4, 4, 2], %w: f32{w}) {{\n  \
                 %y = conv(%x, %w) {{{attributes}layout = nhwc}} : f32{y}\n  return \"y\" = %y\n}}\n"
            );
            let module = parse(&text, &NoWeights).map_err(|error| error.show().to_string()).expect("a graph");
            module.graphs[0].nodes().any(mixes_channels)
        };
        assert!(mixes("[3, 1, 1, 2]", "", "[1, 4, 4, 3]"));
        assert!(!mixes("[3, 2, 2, 2]", "", "[1, 3, 3, 3]"));
        assert!(!mixes("[3, 1, 1, 2]", "strides = [2, 2], ", "[1, 2, 2, 3]"));
        assert!(!mixes("[3, 1, 1, 2]", "pads = [1, 1, 1, 1], ", "[1, 6, 6, 3]"));
        assert!(!mixes("[2, 1, 1, 1]", "group = 2, ", "[1, 4, 4, 2]"));
    }
}
