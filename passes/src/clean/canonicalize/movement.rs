//! Elements that are moved, repeated, cut or joined.

use quad_ir::graph::{NodeRef, Patch, ValueRef};
use quad_ir::ops::resize::Coordinates;
use quad_ir::ops::{Concat, Expand, Op, OpKind, Resize, Split, Transpose};
use quad_ir::types::Dim;

use super::becomes;
use crate::emit::Emit;
use crate::pattern::{axis_of, integers, made_by, permutation, uniform};
use crate::rule::{FnRule, Skip, because};

pub(super) const RULES: &[FnRule] = &[
    FnRule { name: "transpose-of-transpose", roots: &[OpKind::Transpose], rewrite: transpose_of_transpose },
    FnRule { name: "slice-of-everything", roots: &[OpKind::Slice], rewrite: slice_of_everything },
    FnRule { name: "slices-to-split", roots: &[OpKind::Slice], rewrite: slices_to_split },
    FnRule { name: "concat-of-one", roots: &[OpKind::Concat], rewrite: concat_of_one },
    FnRule { name: "concat-of-nothing", roots: &[OpKind::Concat], rewrite: concat_of_nothing },
    FnRule { name: "split-of-concat", roots: &[OpKind::Split], rewrite: split_of_concat },
    FnRule { name: "split-into-one", roots: &[OpKind::Split], rewrite: split_into_one },
    FnRule { name: "expand-to-own-sizes", roots: &[OpKind::Expand], rewrite: expand_to_own_sizes },
    FnRule { name: "expand-into-broadcast", roots: BROADCASTING, rewrite: expand_into_broadcast },
    FnRule { name: "tile-once", roots: &[OpKind::Tile], rewrite: tile_once },
    FnRule { name: "pad-of-nothing", roots: &[OpKind::Pad], rewrite: pad_of_nothing },
    FnRule { name: "resize-by-one", roots: &[OpKind::Resize], rewrite: resize_by_one },
];

/// Operations that stretch their operands to each other.
const BROADCASTING: &[OpKind] = &[
    OpKind::Add,
    OpKind::Sub,
    OpKind::Mul,
    OpKind::Div,
    OpKind::Pow,
    OpKind::Min,
    OpKind::Max,
    OpKind::Equal,
    OpKind::Less,
    OpKind::LessOrEqual,
    OpKind::Greater,
    OpKind::GreaterOrEqual,
    OpKind::And,
    OpKind::Or,
    OpKind::Where,
];

/// Two transposes are one.
fn transpose_of_transpose(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let outer = node.is::<Transpose>().ok_or(Skip::NoMatch)?;
    let between = node.operand("x").ok_or(Skip::NoMatch)?;
    let (inner, first) = made_by::<Transpose>(between).ok_or(Skip::NoMatch)?;
    let x = inner.operand("x").ok_or(Skip::NoMatch)?;
    let first = permutation(first, x);
    let perm: Vec<i64> = permutation(outer, between).iter().map(|axis| first[*axis] as i64).collect();
    let new = patch.transpose(x.id(), &perm)?;
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// A slice that leaves every size as it is, in steps forward, leaves everything.
fn slice_of_everything(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|x| x.ty() == node.result().ty()).ok_or(Skip::NoMatch)?;
    let steps = node.operand("steps").map_or_else(|| Some(Vec::new()), integers).ok_or(Skip::NoMatch)?;
    if steps.iter().any(|step| *step != 1) {
        return Err(Skip::NoMatch);
    }
    becomes(node, x, patch)
}

/// A part of a tensor that a slice cuts out along one axis.
struct Part<'g> {
    axis: usize,
    start: u64,
    end: u64,
    value: ValueRef<'g>,
}

/// The part that `node` cuts out, if it is a slice of one axis with known bounds.
fn part(node: NodeRef<'_>) -> Option<Part<'_>> {
    let x = node.operand("x").filter(|_| node.op().kind() == OpKind::Slice)?;
    let bound = |name: &str| match node.operand(name).map(integers)?.as_deref() {
        Some([bound]) => Some(*bound),
        _ => None,
    };
    if node.operand("steps").is_some() && bound("steps") != Some(1) {
        return None;
    }
    let axis = axis_of(if node.operand("axes").is_some() { bound("axes")? } else { 0 }, x)?;
    let size = i64::try_from(x.ty().shape[axis].known()?).ok()?;
    let clamp = |bound: i64| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(0, size);
    let (start, end) = (clamp(bound("starts")?), clamp(bound("ends")?));
    (start < end).then(|| Part { axis, start: start as u64, end: end as u64, value: node.result() })
}

/// Slices that together cut a tensor into consecutive parts are a split.
fn slices_to_split(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    // The slice that begins at the start stands for all of them.
    let first = part(node).filter(|part| part.start == 0).ok_or(Skip::NoMatch)?;
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let size = x.ty().shape[first.axis].known().filter(|size| first.end < *size).ok_or(Skip::NoMatch)?;
    let readers = x.readers().filter(|(_, operand)| *operand == 0).filter_map(|(reader, _)| part(reader));
    let mut parts: Vec<Part<'_>> = readers.filter(|part| part.axis == first.axis).collect();
    parts.sort_by_key(|part| (part.start, part.end, part.value.id()));
    if parts.len() < 2 {
        return Err(Skip::NoMatch);
    }
    let ends = std::iter::once(0).chain(parts.iter().map(|part| part.end));
    if parts.iter().zip(ends).any(|(part, end)| part.start != end) {
        return Err(because(node, "the slices of its operand overlap or leave gaps"));
    }
    if parts.last().is_none_or(|part| part.end != size) {
        return Err(because(node, "the slices of its operand leave out its end"));
    }
    let (axis, count) = (first.axis as i64, parts.len() as u64);
    let even = parts.iter().all(|part| part.end - part.start == size / count) && size % count == 0;
    let new = if even {
        patch.add(Split { axis, num_outputs: Some(count) }, &[Some(x.id())])?
    } else {
        let sizes: Vec<i64> = parts.iter().map(|part| (part.end - part.start) as i64).collect();
        let sizes = patch.integers(&sizes)?;
        patch.add(Split { axis, num_outputs: None }, &[Some(x.id()), Some(sizes)])?
    };
    for (part, new) in parts.iter().zip(patch.results(new).to_vec()) {
        patch.replace(part.value.id(), new)?;
    }
    Ok(())
}

/// A concatenation of one tensor.
fn concat_of_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let mut parts = node.tail();
    let x = parts.next().filter(|_| parts.next().is_none()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// Tensors without elements add nothing to a concatenation.
fn concat_of_nothing(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let Op::Concat(concat) = node.op() else { return Err(Skip::NoMatch) };
    let axis = axis_of(concat.axis, node.result()).ok_or(Skip::NoMatch)?;
    let is_empty = |part: &ValueRef<'_>| part.ty().shape[axis] == Dim::Known(0);
    let left: Vec<_> = node.tail().filter(|part| !is_empty(part)).map(|part| Some(part.id())).collect();
    if left.is_empty() || left.len() == node.tail().count() {
        return Err(Skip::NoMatch);
    }
    let new = patch.op(concat.clone(), &left)?;
    if patch.ty(new) != Some(node.result().ty()) {
        return Err(because(node, "the part without elements says how long other axes are"));
    }
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// A split into just the parts that were put together.
fn split_of_concat(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let Op::Split(split) = node.op() else { return Err(Skip::NoMatch) };
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let (concat, of) = made_by::<Concat>(x).ok_or(Skip::NoMatch)?;
    let parts: Vec<ValueRef<'_>> = concat.tail().collect();
    let same_parts = parts.iter().map(|part| part.ty()).eq(node.results().map(ValueRef::ty));
    if axis_of(split.axis, x) != axis_of(of.axis, x) || !same_parts {
        return Err(Skip::NoMatch);
    }
    node.results().zip(parts).try_for_each(|(result, part)| Ok(patch.replace(result.id(), part.id())?))
}

/// A split into a single part.
fn split_into_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|_| node.results().len() == 1).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// Stretching to the sizes that there are.
fn expand_to_own_sizes(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").filter(|x| x.ty() == node.result().ty()).ok_or(Skip::NoMatch)?;
    becomes(node, x, patch)
}

/// Operations that stretch their operands do so without help, where another operand has the sizes.
fn expand_into_broadcast(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let stretched = node.operands().flatten().find(|operand| made_by::<Expand>(*operand).is_some());
    let stretched = stretched.ok_or(Skip::NoMatch)?;
    let x = stretched.producer().operand("x").ok_or(Skip::NoMatch)?;
    let without = |operand: ValueRef<'_>| if operand.id() == stretched.id() { x.id() } else { operand.id() };
    let operands: Vec<_> = node.operands().map(|operand| operand.map(without)).collect();
    let new = patch.op(node.op().clone(), &operands)?;
    if patch.ty(new) != Some(node.result().ty()) {
        return Err(because(stretched.producer(), "no other operand has the sizes that it gives"));
    }
    patch.replace(node.result().id(), new)?;
    Ok(())
}

/// A repetition of each axis once.
fn tile_once(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let repeats = node.operand("repeats").and_then(integers).ok_or(Skip::NoMatch)?;
    if repeats.iter().any(|repeat| *repeat != 1) {
        return Err(Skip::NoMatch);
    }
    becomes(node, x, patch)
}

/// A pad that adds and removes no element.
fn pad_of_nothing(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let pads = node.operand("pads").and_then(integers).ok_or(Skip::NoMatch)?;
    if pads.iter().any(|pad| *pad != 0) {
        return Err(Skip::NoMatch);
    }
    becomes(node, x, patch)
}

/// A resize of every axis by the factor 1. Sizes alone do not tell: a factor a little off keeps them and moves places.
fn resize_by_one(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let resize = node.is::<Resize>().ok_or(Skip::NoMatch)?;
    let x = node.operand("x").filter(|x| x.ty() == node.result().ty()).ok_or(Skip::NoMatch)?;
    if resize.coordinate_transformation_mode == Coordinates::TfCropAndResize {
        return Err(because(node, "it resizes a region of its operand"));
    }
    if node.operand("scales").is_some_and(|scales| uniform(scales) != Some(1.0)) {
        return Err(because(node, "its factors are not known to be 1"));
    }
    becomes(node, x, patch)
}
