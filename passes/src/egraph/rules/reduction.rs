//! What all reductions have in common.

use quad_ir::ops::{
    Op, ReduceL1, ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceMax, ReduceMean, ReduceMin, ReduceProd,
    ReduceSum, ReduceSumSquare,
};

use crate::egraph::perm::resolve;
use crate::egraph::rule::Site;
use crate::egraph::term::Term;

/// The attributes of a reduction, whichever it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// Whether reduced axes stay, with size 1.
    pub(super) keepdims: bool,
    noop_with_empty_axes: bool,
}

impl Reduction {
    /// Whether `op` is a reduction.
    pub(super) fn is(op: &Op) -> bool {
        Self::of(op).is_some()
    }

    /// The attributes of `op`, when it is a reduction.
    pub(super) fn of(op: &Op) -> Option<Self> {
        match op {
            Op::ReduceSum(ReduceSum { keepdims, noop_with_empty_axes })
            | Op::ReduceProd(ReduceProd { keepdims, noop_with_empty_axes })
            | Op::ReduceMean(ReduceMean { keepdims, noop_with_empty_axes })
            | Op::ReduceMax(ReduceMax { keepdims, noop_with_empty_axes })
            | Op::ReduceMin(ReduceMin { keepdims, noop_with_empty_axes })
            | Op::ReduceL1(ReduceL1 { keepdims, noop_with_empty_axes })
            | Op::ReduceL2(ReduceL2 { keepdims, noop_with_empty_axes })
            | Op::ReduceSumSquare(ReduceSumSquare { keepdims, noop_with_empty_axes })
            | Op::ReduceLogSum(ReduceLogSum { keepdims, noop_with_empty_axes })
            | Op::ReduceLogSumExp(ReduceLogSumExp { keepdims, noop_with_empty_axes }) => {
                Some(Self { keepdims: *keepdims, noop_with_empty_axes: *noop_with_empty_axes })
            }
            _ => None,
        }
    }

    /// The axes that `site`, which is this reduction, is over; `None` when they are not known.
    pub(super) fn axes(self, site: &Site<'_, '_>) -> Option<Vec<usize>> {
        let rank = site.ty_of(site.operand(0)?)?.rank();
        let given = match site.operand(1) {
            Some(axes) => site.tensor(axes)?.to_i64().ok()?,
            None => Vec::new(),
        };
        if given.is_empty() && !self.noop_with_empty_axes {
            return Some((0..rank).collect());
        }
        given.iter().map(|axis| resolve(*axis, rank)).collect()
    }

    /// The reduction of `site` of `x` over other axes.
    pub(super) fn over(
        self,
        site: &Site<'_, '_>,
        x: Term,
        axes: impl IntoIterator<Item = usize>,
    ) -> Option<Term> {
        let mut axes: Vec<i64> = axes.into_iter().map(|axis| axis as i64).collect();
        axes.sort_unstable();
        // Without axes the same operation may mean all.
        if axes.is_empty() && !self.noop_with_empty_axes {
            return None;
        }
        Some(site.with_operands([x, Term::integers(&axes)?]))
    }
}
