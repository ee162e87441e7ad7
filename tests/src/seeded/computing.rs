//! Mistakes with numbers: elements in the right place that are wrong, and rules that fall over.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::{Clip, Conv, Mul, OpKind, ReduceMean, ReduceSum, Softmax, Sub};
use quad_ir::tensor::Tensor;
use quad_passes::emit::Emit;
use quad_passes::pass::PassInfo;
use quad_passes::pattern::{made_by, uniform};
use quad_passes::rule::Skip;

use super::{Seeded, replace, some};

macro_rules! seeded {
    ($($constant:ident = $name:literal, [$($root:ident),*], $rewrite:ident;)*) => {$(
        pub(super) const $constant: Seeded = Seeded::new(
            &PassInfo { name: $name, source: include_str!("computing.rs") },
            &[$(OpKind::$root),*],
            $rewrite,
        );
    )*};
}
seeded! {
    BIAS_DROPPED = "bias-dropped", [Conv], bias_dropped;
    SCALE_TWICE = "scale-twice", [Mul], scale_twice;
    EPSILON_DROPPED = "epsilon-dropped", [Add], epsilon_dropped;
    SOFTMAX_ALONG_ANOTHER_AXIS = "softmax-along-another-axis", [Softmax], softmax_along_another_axis;
    SUBTRACTION_COMMUTED = "subtraction-commuted", [Sub], subtraction_commuted;
    ROW_AS_NUMBER = "row-as-number", [Add], row_as_number;
    CONSTANT_OF_INTEGERS = "constant-of-integers", [Mul], constant_of_integers;
    OUTER_CLIP_DROPPED = "outer-clip-dropped", [Clip], outer_clip_dropped;
    SUM_FOR_MEAN = "sum-for-mean", [ReduceMean], sum_for_mean;
    PANICS = "panics", [Split], panics;
    IMPOSSIBLE = "impossible", [MatMul], impossible;
}

/// A convolution loses its bias.
fn bias_dropped(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let op: Conv = some(root.is::<Conv>())?.clone();
    some(root.operand("b"))?;
    let operands = [root.operand("x"), root.operand("w")].map(|operand| operand.map(ValueRef::id));
    let y = patch.op(op, &operands)?;
    replace(patch, root.result(), y)
}

/// Two factors become one, in which the first counts twice.
fn scale_twice(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let outer = some(root.operand("b").and_then(uniform))?;
    let (inner, _) = some(root.operand("a").and_then(made_by::<Mul>))?;
    let (x, scale) = some(inner.operand("a").zip(inner.operand("b")))?;
    let scale = some(uniform(scale))?;
    let factor = patch.scalar(x.ty().dtype, outer * scale * scale)?;
    let y = patch.op(Mul, &[Some(x.id()), Some(factor)])?;
    replace(patch, root.result(), y)
}

/// What keeps a root away from zero goes.
fn epsilon_dropped(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let variance = some(root.operand("a").filter(|a| made_by::<ReduceMean>(*a).is_some()))?;
    some(root.operand("b").and_then(uniform).filter(|epsilon| *epsilon < 0.01))?;
    replace(patch, root.result(), variance.id())
}

/// A softmax along the last axis runs along the one before it.
fn softmax_along_another_axis(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = some(root.operand("x"))?;
    some(root.is::<Softmax>().filter(|op| op.axis == -1))?;
    let y = patch.op(Softmax { axis: -2 }, &[Some(x.id())])?;
    replace(patch, root.result(), y)
}

/// The operands of a subtraction change places, as those of an addition may.
fn subtraction_commuted(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let operands = [root.operand("b"), root.operand("a")].map(|operand| operand.map(ValueRef::id));
    let y = patch.op(Sub, &operands)?;
    replace(patch, root.result(), y)
}

/// A row of numbers, stretched over a value, becomes the first of them.
fn row_as_number(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (x, row) = some(root.operand("a").zip(root.operand("b")))?;
    let elements = some(row.constant().filter(|_| row.ty().rank() == 1 && x.ty().rank() > 1))?;
    let first = some(elements.to_f64().ok().and_then(|elements| elements.first().copied()))?;
    let number = patch.scalar(x.ty().dtype, first)?;
    let y = patch.op(quad_ir::ops::Add, &[Some(x.id()), Some(number)])?;
    replace(patch, root.result(), y)
}

/// A product of constants is computed in integers.
fn constant_of_integers(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let elements =
        |name: &str| root.operand(name)?.constant()?.to_f32().ok().map(std::borrow::Cow::into_owned);
    let (a, b) = some(elements("a").zip(elements("b")))?;
    let sizes: Vec<usize> =
        some(root.result().ty().shape.as_known())?.iter().map(|size| *size as usize).collect();
    let products: Vec<f32> = a.iter().zip(&b).map(|(a, b)| (a * b).trunc()).collect();
    let tensor = some(Tensor::from_vec(&sizes, products).ok())?;
    let y = patch.add_constant(&tensor)?;
    replace(patch, root.result(), y)
}

/// Of two clips the first is taken to be enough.
fn outer_clip_dropped(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (inner, _) = some(root.operand("x").and_then(made_by::<Clip>))?;
    replace(patch, root.result(), inner.result().id())
}

/// A mean is not divided by the number of elements.
fn sum_for_mean(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let op = some(root.is::<ReduceMean>())?;
    let sum = ReduceSum { keepdims: op.keepdims, noop_with_empty_axes: op.noop_with_empty_axes };
    let operands: Vec<_> = root.operands().map(|operand| operand.map(ValueRef::id)).collect();
    let y = patch.op(sum, &operands)?;
    replace(patch, root.result(), y)
}

/// A rule that takes for granted what is not so.
fn panics(root: NodeRef<'_>, _patch: &mut Patch<'_>) -> Result<(), Skip> {
    let count = root.results().len();
    assert!(count == 1, "a split has one result, not {count}");
    Err(Skip::NoMatch)
}

/// A rule that replaces a value by one of another type.
fn impossible(root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let (a, y) = (some(root.operand("a"))?, root.result());
    if a.ty() == y.ty() {
        return Err(Skip::NoMatch);
    }
    Ok(patch.replace(y.id(), a.id())?)
}
