//! Takes parts of values along an axis, as near to the weights as it can.
//!
//! A part of `x @ w + b` is `x` times a part of `w`, plus a part of `b`, so nothing is computed only to be thrown away.
//! The same holds for sums of such products, for low-rank ones, whose last weight is cut, and for whatever works
//! element by element on them. Constants are cut by recipes; weights that are computed or given when the graph runs,
//! and all else, by `split` into parts of one size.

use quad_ir::graph::{NodeId, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Conv, Gemm, MatMul, Op, OpTraits, Split, Transpose};
use quad_ir::types::{Dim, DimExpr, Shape, TensorType};
use rustc_hash::FxHashMap;

use crate::emit::Emit;
use crate::pattern::{axis_of, channel_axis, is_constant, permutation};
use crate::rule::Skip;

/// Steps from a value toward the weights beyond which it is sliced where it is.
const MAX_DEPTH: usize = 64;

/// A range of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    /// The axis, from 0.
    pub(super) axis: usize,
    /// The first index.
    pub(super) start: u64,
    /// How many there are.
    pub(super) size: u64,
}

impl Part {
    /// The same range of another axis.
    fn along(self, axis: usize) -> Self {
        Self { axis, ..self }
    }
}

/// Cuts values of a graph, each part once.
#[derive(Debug)]
pub(super) struct Cutter<'p, 'a> {
    /// Where the parts go.
    pub(super) patch: &'p mut Patch<'a>,
    done: FxHashMap<(ValueId, Part), ValueId>,
    /// Values that are split, with the axis and the size of the parts.
    splits: FxHashMap<(ValueId, usize, u64), NodeId>,
    depth: usize,
}

impl<'p, 'a> Cutter<'p, 'a> {
    /// A cutter that writes into `patch`.
    pub(super) fn new(patch: &'p mut Patch<'a>) -> Self {
        Self { patch, done: FxHashMap::default(), splits: FxHashMap::default(), depth: 0 }
    }

    /// The part `part` of `value`, which lies within it.
    pub(super) fn cut(&mut self, value: ValueRef<'_>, part: Part) -> Result<ValueId, Skip> {
        if part.start == 0 && value.ty().shape[part.axis].known() == Some(part.size) {
            return Ok(value.id());
        }
        if let Some(done) = self.done.get(&(value.id(), part)) {
            return Ok(*done);
        }
        self.depth += 1;
        let through = if self.depth > MAX_DEPTH { None } else { self.through(value, part)? };
        self.depth -= 1;
        let result = match through {
            Some(result) => result,
            None => self.here(value, part)?,
        };
        self.done.insert((value.id(), part), result);
        Ok(result)
    }

    /// The part cut out of `value` itself.
    fn here(&mut self, value: ValueRef<'_>, part: Part) -> Result<ValueId, Skip> {
        let Part { axis, start, size } = part;
        let count = value.ty().shape[axis].known().and_then(|whole| whole.checked_div(size));
        let even = |count: &u64| value.ty().shape[axis].known() == Some(count * size) && start % size == 0;
        let Some(count) = count.filter(even).filter(|_| !is_constant(value)) else {
            return Ok(self.patch.cut(value.id(), axis, start, start + size)?);
        };
        let key = (value.id(), axis, size);
        if !self.splits.contains_key(&key) {
            let split = Split { axis: axis as i64, num_outputs: Some(count) };
            self.splits.insert(key, self.patch.add(split, &[Some(value.id())])?);
        }
        let split = self.splits[&key];
        Ok(self.patch.results(split)[(start / size) as usize])
    }

    /// The part made of parts of what `value` is computed from, when nothing else needs the whole.
    fn through(&mut self, value: ValueRef<'_>, part: Part) -> Result<Option<ValueId>, Skip> {
        if value.only_reader().is_none() {
            return Ok(None);
        }
        let node = value.producer();
        match node.op() {
            Op::MatMul(_) => self.matmul(node, part),
            Op::Gemm(gemm) => self.gemm(node, gemm, part),
            Op::Conv(conv) => self.conv(node, conv, part),
            Op::Transpose(transpose) => self.transpose(node, transpose, part),
            Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => self.reshape(node, part),
            Op::Split(split) => self.split(value, split, part),
            op if op.def().traits().contains(OpTraits::ELEMENTWISE) => self.elementwise(node, part),
            _ => Ok(None),
        }
    }

    fn matmul(&mut self, node: NodeRef<'_>, part: Part) -> Result<Option<ValueId>, Skip> {
        let [Some(a), Some(b)] = ["a", "b"].map(|name| node.operand(name)) else { return Ok(None) };
        let from_end = node.result().ty().rank() - part.axis;
        let operands = match (from_end, a.ty().rank(), b.ty().rank()) {
            (1, _, rank @ 2..) => [a.id(), self.cut(b, part.along(rank - 1))?],
            (2, rank @ 2.., 2..) => [self.cut(a, part.along(rank - 2))?, b.id()],
            _ => return Ok(None),
        };
        Ok(Some(self.patch.add_value(MatMul, &operands)?))
    }

    fn gemm(&mut self, node: NodeRef<'_>, gemm: &Gemm, part: Part) -> Result<Option<ValueId>, Skip> {
        let [Some(a), Some(b)] = ["a", "b"].map(|name| node.operand(name)) else { return Ok(None) };
        let c = match node.operand("c") {
            Some(c) => match self.stretched(c, node.result().ty(), part)? {
                Some(c) => Some(c),
                None => return Ok(None),
            },
            None => None,
        };
        let (a, b) = if part.axis == 0 {
            (self.cut(a, part.along(usize::from(gemm.transA)))?, b.id())
        } else {
            (a.id(), self.cut(b, part.along(usize::from(!gemm.transB)))?)
        };
        Ok(Some(self.patch.op(gemm.clone(), &[Some(a), Some(b), c])?))
    }

    /// Channels of the result are rows of the weight.
    fn conv(&mut self, node: NodeRef<'_>, conv: &Conv, part: Part) -> Result<Option<ValueId>, Skip> {
        let is_channels = channel_axis(node) == Some(part.axis) && conv.group == 1;
        let (Some(x), Some(w), true) = (node.operand("x"), node.operand("w"), is_channels) else {
            return Ok(None);
        };
        let w = self.cut(w, part.along(0))?;
        let b = node.operand("b").map(|b| self.cut(b, part.along(0))).transpose()?;
        Ok(Some(self.patch.op(conv.clone(), &[Some(x.id()), Some(w), b])?))
    }

    fn transpose(
        &mut self,
        node: NodeRef<'_>,
        transpose: &Transpose,
        part: Part,
    ) -> Result<Option<ValueId>, Skip> {
        let Some(x) = node.operand("x") else { return Ok(None) };
        let axis = permutation(transpose, x)[part.axis];
        let x = self.cut(x, part.along(axis))?;
        Ok(Some(self.patch.add_value(transpose.clone(), &[x])?))
    }

    /// Where the axis is one of the operand too, or the outermost part of one.
    fn reshape(&mut self, node: NodeRef<'_>, part: Part) -> Result<Option<ValueId>, Skip> {
        let Some(x) = node.operand("x") else { return Ok(None) };
        let (to, from) = (&node.result().ty().shape, &x.ty().shape);
        let Some((axis, inner)) = source_of_axis(from, to, part.axis) else { return Ok(None) };
        let mut sizes: Vec<Option<u64>> = to.iter().map(Dim::known).collect();
        sizes[part.axis] = Some(part.size);
        if sizes.iter().filter(|size| size.is_none()).count() > 1 {
            return Ok(None);
        }
        let x = self.cut(x, Part { axis, start: part.start * inner, size: part.size * inner })?;
        let sizes: Vec<i64> = sizes.into_iter().map(|size| size.map_or(-1, |size| size as i64)).collect();
        Ok(Some(self.patch.reshape(x, &sizes)?))
    }

    /// A part of a part is a part of the whole.
    fn split(&mut self, value: ValueRef<'_>, split: &Split, part: Part) -> Result<Option<ValueId>, Skip> {
        let node = value.producer();
        let Some(x) = node.operand("x") else { return Ok(None) };
        let before = node.results().take(value.port()).map(|result| result.ty().shape[part.axis].known());
        match before.sum::<Option<u64>>() {
            Some(before) if axis_of(split.axis, x) == Some(part.axis) => {
                self.cut(x, Part { start: before + part.start, ..part }).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn elementwise(&mut self, node: NodeRef<'_>, part: Part) -> Result<Option<ValueId>, Skip> {
        let mut operands = Vec::new();
        for operand in node.operands() {
            operands.push(match operand {
                None => None,
                Some(x) => match self.stretched(x, node.result().ty(), part)? {
                    Some(cut) => Some(cut),
                    None => return Ok(None),
                },
            });
        }
        Ok(Some(self.patch.op(node.op().clone(), &operands)?))
    }

    /// What of `x`, which is stretched to a result of type `ty`, the part of that needs: a part, or all of it where it
    /// is the same along the axis. `None` where sizes do not tell.
    fn stretched(&mut self, x: ValueRef<'_>, ty: &TensorType, part: Part) -> Result<Option<ValueId>, Skip> {
        let Some(axis) = (part.axis + x.ty().rank()).checked_sub(ty.rank()) else { return Ok(Some(x.id())) };
        match (x.ty().shape[axis].known(), ty.shape[part.axis].known()) {
            (Some(own), Some(whole)) if own == whole => self.cut(x, part.along(axis)).map(Some),
            (Some(1), _) => Ok(Some(x.id())),
            _ => Ok(None),
        }
    }
}

/// The axis of `from` that axis `axis` of `to`, which holds the same elements in the same order, is or begins, and how
/// many elements of it there are to one of `axis`.
fn source_of_axis(from: &Shape, to: &Shape, axis: usize) -> Option<(usize, u64)> {
    let product =
        |dims: &[Dim]| dims.iter().try_fold(DimExpr::constant(1), |product, dim| product.mul(&dim.expr()));
    let before = product(&to[..axis])?;
    let fits = |source: usize| {
        let joined =
            (axis + 1..=to.rank()).find(|end| product(&to[axis..*end]) == Some(from[source].expr()))?;
        let inner = product(&to[axis + 1..joined])?.as_constant()?;
        Some((source, u64::try_from(inner).ok()?))
    };
    (0..from.rank()).filter(|source| product(&from[..*source]).as_ref() == Some(&before)).find_map(fits)
}
