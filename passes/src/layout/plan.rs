//! What a node becomes when its operands are stored otherwise than the graph sees them.
//!
//! A plan says in which order each operand is wanted, which operation is computed of them, and how the graph's axes are
//! found in its results. It is made from sizes alone, before anything is added to the graph, so that a node for which
//! there is no plan can be computed as the graph sees it.

mod along;
mod broadcast;
mod planes;
mod product;

use std::borrow::Cow;

use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::layout::layout_of;
use quad_ir::ops::{Op, OpTraits};
use quad_ir::types::Shape;

use super::order::{Order, cut_where, fitted, whole};
use super::view::{Axes, View};

/// What arranging values may do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Whether operations over planes get their channels last.
    pub(crate) channels_last: bool,
    /// Axes that a value may have.
    pub(crate) max_rank: Option<usize>,
}

/// What a node becomes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) op: Op,
    pub(crate) operands: Vec<Given>,
    pub(crate) results: Vec<View>,
}

/// How an operand is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// Left out.
    Nothing,
    /// As the graph sees it.
    AsSeen,
    /// With factors cut as in this view, and these axes.
    Stored(View, Axes),
    /// These integers instead.
    Integers(Vec<i64>),
    /// These numbers instead.
    Numbers(Vec<f32>),
}

/// Why a node is computed as the graph sees it.
pub(crate) type Reason = Cow<'static, str>;

/// A node and how its operands are stored.
pub(crate) struct Planner<'a, 'g> {
    pub(crate) node: NodeRef<'g>,
    /// One view for each operand.
    pub(crate) views: &'a [Option<View>],
    pub(crate) settings: Settings,
}

impl<'g> Planner<'_, 'g> {
    /// What the node becomes.
    pub(crate) fn plan(&self) -> Result<Plan, Reason> {
        let op = self.node.op();
        if op.def().traits().contains(OpTraits::ELEMENTWISE) {
            return self.elementwise();
        }
        if layout_of(op).is_some() {
            return self.planes();
        }
        match op {
            Op::MatMul(_) => self.product(),
            Op::Concat(concat) => self.concat(concat.axis),
            Op::Gather(gather) => self.gather(gather.axis),
            Op::Split(split) => self.split(split),
            Op::Slice(_) => self.slice(),
            Op::Pad(_) => self.pad(),
            Op::Resize(resize) => self.resize(resize),
            Op::Softmax(softmax) => self.softmax(softmax.axis),
            Op::LogSoftmax(softmax) => self.softmax(softmax.axis),
            Op::LayerNorm(norm) => self.layer_norm(norm.axis),
            Op::RmsNorm(norm) => self.layer_norm(norm.axis),
            Op::ReduceSum(_)
            | Op::ReduceProd(_)
            | Op::ReduceMean(_)
            | Op::ReduceMax(_)
            | Op::ReduceMin(_)
            | Op::ReduceL1(_)
            | Op::ReduceL2(_)
            | Op::ReduceSumSquare(_)
            | Op::ReduceLogSum(_)
            | Op::ReduceLogSumExp(_) => self.reduce(),
            _ => Err("it is defined for axes as they are".into()),
        }
    }

    /// The plan to compute the node as the graph sees it.
    pub(crate) fn as_seen(&self) -> Plan {
        let given = |view: &Option<View>| if view.is_some() { Given::AsSeen } else { Given::Nothing };
        let results = self.node.results().map(|result| View::plain(&result.ty().shape));
        Plan {
            op: self.node.op().clone(),
            operands: self.views.iter().map(given).collect(),
            results: results.collect(),
        }
    }

    fn view(&self, index: usize) -> Result<&View, Reason> {
        self.views.get(index).and_then(Option::as_ref).ok_or_else(|| "an operand is missing".into())
    }

    fn operand(&self, index: usize) -> Option<ValueRef<'g>> {
        self.node.operands().nth(index).flatten()
    }

    fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.operand(index)?.constant()?.to_i64().ok()
    }

    fn result_shape(&self) -> &'g Shape {
        &self.node.result().ty().shape
    }

    /// The order in which `x` is stored, or else the one that is seen, with each of `special` an axis of its own, and where
    /// those are.
    fn isolated(&self, x: &View, special: &[usize]) -> Result<(Order, Vec<usize>), Reason> {
        if special.iter().any(|axis| x.seen[*axis].is_empty()) {
            return Err("it works along an axis of size 1".into());
        }
        let key = |part: super::order::Part| special.contains(&part.axis).then_some(part.axis);
        let plain = |axis: &[super::order::Part]| axis.iter().all(|part| key(*part).is_none()).then_some(());
        for order in [x.stored_order(), x.seen_order()] {
            let Some(order) = fitted(cut_where(&order, key), self.settings.max_rank, plain) else { continue };
            let places = special.iter().map(|axis| whole(&order, *axis, x.seen[*axis].len()));
            if let Some(places) = places.collect::<Option<Vec<usize>>>() {
                return Ok((order, places));
            }
        }
        Err("it needs more axes than a value may have".into())
    }
}

/// The axis that `axis` means among `rank`; negative ones count from the end.
fn normal_axis(axis: i64, rank: usize) -> Result<usize, Reason> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start).map_err(|_| "it names an axis that is not there".into())
}
