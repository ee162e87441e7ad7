//! Splits the weights of a linear layer instead of its result.
//!
//! A gated layer computes twice as many channels as it has, splits them, and multiplies one half by a function of the
//! other. Cutting the result in two moves a large tensor; two layers with half the weights each compute the halves where
//! they are needed. What is added to the result along the way is cut with it: constants, such as the bias, by recipes, and
//! the result of another linear layer again by cutting its last weights, which need not be constant.
//!
//! What is cut: `matmul` and `gemm` along their last axis, `conv` along its channels, sums, products, differences and
//! quotients of those and of constants, casts. A result that something else reads as a whole is left.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2, 2], %down: f32[2, 1], %up: f32[1, 8]) {
//!   %w = weight [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16] : f32[2, 8]
//!   %b = weight [1, 2, 3, 4, 5, 6, 7, 8] : f32[8]
//!   %base = matmul(%x, %w) : f32[2, 8]
//!   %biased = add(%base, %b) : f32[2, 8]
//!   %low = matmul(%x, %down) : f32[2, 1]
//!   %branch = matmul(%low, %up) : f32[2, 8]
//!   %both = add(%biased, %branch) : f32[2, 8]
//!   %value, %gate = split(%both) {axis = -1, num_outputs = 2} : f32[2, 4], f32[2, 4]
//!   %active = gelu(%gate) : f32[2, 4]
//!   %y = mul(%value, %active) : f32[2, 4]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 2], %down: f32[2, 1], %up: f32[1, 8]) {
//!   %low = matmul(%x, %down) : f32[2, 1]
//!   %0 = weight [1.0, 2.0, 3.0, 4.0, 9.0, 10.0, 11.0, 12.0] : f32[2, 4]
//!   %1 = weight [5.0, 6.0, 7.0, 8.0, 13.0, 14.0, 15.0, 16.0] : f32[2, 4]
//!   %2 = matmul(%x, %0) : f32[2, 4]
//!   %3 = matmul(%x, %1) : f32[2, 4]
//!   %4 = weight [1.0, 2.0, 3.0, 4.0] : f32[4]
//!   %5 = weight [5.0, 6.0, 7.0, 8.0] : f32[4]
//!   %6 = add(%2, %4) : f32[2, 4]
//!   %7 = add(%3, %5) : f32[2, 4]
//!   %8 = weight [4, 4] : i64[2]
//!   %9, %10 = split(%up, %8) {axis = 1} : f32[1, 4], f32[1, 4]
//!   %11 = matmul(%low, %9) : f32[2, 4]
//!   %12 = matmul(%low, %10) : f32[2, 4]
//!   %value = add(%6, %11) : f32[2, 4]
//!   %gate = add(%7, %12) : f32[2, 4]
//!   %active = gelu(%gate) : f32[2, 4]
//!   %y = mul(%value, %active) : f32[2, 4]
//!   return "y" = %y
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Conv, Gemm, OpKind, Split, Transpose};
use smallvec::SmallVec;

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{axis_of, channel_axis, is_constant, only_read_by, permutation};
use crate::rule::{FnRule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct SplitProjections;

const INFO: PassInfo = PassInfo { name: "split-projections", source: include_str!("split_projections.rs") };

impl Pass for SplitProjections {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let rule =
            FnRule { name: "split-of-projection", roots: &[OpKind::Split], rewrite: split_of_projection };
        apply_rules(graph, &[&rule], cx)
    }
}

fn split_of_projection(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let split = node.is::<Split>().ok_or(Skip::NoMatch)?;
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    let axis = axis_of(split.axis, x).ok_or(Skip::NoMatch)?;
    if !may_be_linear(x.producer().op().kind()) {
        return Err(Skip::NoMatch);
    }
    let mut ends: SmallVec<[u64; 4]> = SmallVec::new();
    for result in node.results() {
        let size = result.ty().shape[axis].known();
        let size = size.ok_or_else(|| because(node, "the sizes of its parts are not known"))?;
        ends.push(ends.last().copied().unwrap_or(0) + size);
    }
    let mut cut = Cut { patch, ends };
    let parts = cut.result(x, axis, node)?;
    let patch = cut.patch;
    node.results().zip(parts).try_for_each(|(result, part)| Ok(patch.replace(result.id(), part)?))
}

/// Whether an operation is a linear layer, or may be applied to the result of one and still be cut with it.
fn may_be_linear(kind: OpKind) -> bool {
    is_elementwise(kind) || matches!(kind, OpKind::MatMul | OpKind::Gemm | OpKind::Conv)
}

fn is_elementwise(kind: OpKind) -> bool {
    matches!(kind, OpKind::Add | OpKind::Sub | OpKind::Mul | OpKind::Div | OpKind::Neg | OpKind::Cast)
}

/// Values by part.
type Parts = SmallVec<[ValueId; 4]>;

/// Cuts values into the same parts.
struct Cut<'p, 'g> {
    patch: &'p mut Patch<'g>,
    /// Where the parts end, along the axis that is cut.
    ends: SmallVec<[u64; 4]>,
}

impl Cut<'_, '_> {
    /// The parts along `axis` of `value`, which a linear layer computes, and of which `reader` is the only reader.
    fn result(&mut self, value: ValueRef<'_>, axis: usize, reader: NodeRef<'_>) -> Result<Parts, Skip> {
        only_read_by(value, reader)?;
        let node = value.producer();
        let last = axis + 1 == value.ty().rank();
        match node.op().kind() {
            OpKind::MatMul if last && rank_of(node, "b") >= Some(2) => {
                self.linear(node, &[("b", rank_of(node, "b").map_or(0, |rank| rank - 1))])
            }
            OpKind::Gemm if last => {
                let swapped = node.is::<Gemm>().is_some_and(|gemm| gemm.transB);
                let rank = rank_of(node, "c").unwrap_or(0);
                self.linear(node, &[("b", usize::from(!swapped)), ("c", rank.saturating_sub(1))])
            }
            OpKind::Conv
                if channel_axis(node) == Some(axis)
                    && node.is::<Conv>().is_some_and(|conv| conv.group == 1) =>
            {
                self.linear(node, &[("w", 0), ("b", 0)])
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul | OpKind::Div | OpKind::Neg | OpKind::Cast => {
                self.elementwise(value, axis)
            }
            OpKind::MatMul | OpKind::Gemm | OpKind::Conv => Err(because(
                node,
                format!("axis {axis} of its result is not one that its weights give it alone"),
            )),
            _ => {
                Err(because(node, "it is no linear layer whose weights could be split instead of its result"))
            }
        }
    }

    /// The parts of the result of `node`, with the operands of the given names cut along their axes.
    fn linear(&mut self, node: NodeRef<'_>, cut: &[(&str, usize)]) -> Result<Parts, Skip> {
        let mut operands: SmallVec<[Option<Parts>; 4]> = SmallVec::new();
        for (operand, declared) in node.operands().zip(node.op().def().operands()) {
            let axis = cut.iter().find(|(name, _)| *name == declared.name).map(|(_, axis)| *axis);
            let parts = match (operand, axis) {
                (Some(value), Some(axis)) => Some(self.weight(value, axis)?),
                (Some(value), None) => Some(self.whole(value)),
                (None, _) => None,
            };
            operands.push(parts);
        }
        self.repeated(node, &operands)
    }

    /// The parts of an elementwise operation: at least one operand is cut, the others are constants, cut with it, or
    /// stretch along the axis.
    fn elementwise(&mut self, value: ValueRef<'_>, axis: usize) -> Result<Parts, Skip> {
        let node = value.producer();
        let mut operands: SmallVec<[Option<Parts>; 4]> = SmallVec::new();
        let mut stretches = true;
        for operand in node.operands().flatten() {
            let own_axis = (axis + operand.ty().rank()).checked_sub(value.ty().rank());
            let own_axis = own_axis.filter(|axis| operand.ty().shape[*axis].known() != Some(1));
            operands.push(Some(match own_axis {
                None => self.whole(operand),
                Some(axis) if is_constant(operand) => self.weight(operand, axis)?,
                Some(axis) => {
                    stretches = false;
                    self.result(operand, axis, node)?
                }
            }));
        }
        if stretches {
            return Err(because(node, "no operand of it is the result of a linear layer"));
        }
        self.repeated(node, &operands)
    }

    /// The parts of a weight: constants by recipes, others by a split.
    fn weight(&mut self, value: ValueRef<'_>, axis: usize) -> Result<Parts, Skip> {
        if value.ty().shape.get(axis).is_none_or(|dim| dim.known() == Some(1)) {
            return Ok(self.whole(value));
        }
        let node = value.producer();
        if is_constant(value) {
            let starts = [0].into_iter().chain(self.ends.clone());
            let ranges: SmallVec<[(u64, u64); 4]> = starts.zip(self.ends.clone()).collect();
            return ranges
                .into_iter()
                .map(|(from, to)| Ok(self.patch.cut(value.id(), axis, from, to)?))
                .collect();
        }
        if let (Some(transpose), Some(x)) = (node.is::<Transpose>(), node.operand("x")) {
            let of_x = permutation(transpose, x)[axis];
            let parts = self.weight(x, of_x)?;
            return self.repeated(node, &[Some(parts)]);
        }
        let starts = [0].into_iter().chain(self.ends.clone());
        let sizes: Vec<i64> = starts.zip(&self.ends).map(|(from, to)| (to - from).cast_signed()).collect();
        let sizes = self.patch.integers(&sizes)?;
        let split = Split { axis: axis as i64, num_outputs: None };
        let split = self.patch.add(split, &[Some(value.id()), Some(sizes)])?;
        Ok(self.patch.results(split).iter().copied().collect())
    }

    /// `value`, for every part.
    fn whole(&self, value: ValueRef<'_>) -> Parts {
        self.ends.iter().map(|_| value.id()).collect()
    }

    /// `node` once for each part.
    fn repeated(&mut self, node: NodeRef<'_>, operands: &[Option<Parts>]) -> Result<Parts, Skip> {
        (0..self.ends.len())
            .map(|part| {
                let operands: SmallVec<[Option<ValueId>; 4]> =
                    operands.iter().map(|parts| parts.as_ref().map(|parts| parts[part])).collect();
                Ok(self.patch.op(node.op().clone(), &operands)?)
            })
            .collect()
    }
}

fn rank_of(node: NodeRef<'_>, operand: &str) -> Option<usize> {
    node.operand(operand).map(|value| value.ty().rank())
}
