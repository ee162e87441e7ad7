//! Operations on several values that are stored alike: elementwise ones, and joining along an axis.

use quad_ir::ops::{Concat, Op};
use quad_ir::types::Dim;

use super::{Given, Plan, Planner, Reason, normal_axis};
use crate::layout::order::{Order, Part, cut_where, fitted, single_part, whole};
use crate::layout::view::{View, cut_alike};

/// What moving all elements of a value costs, where their number is not known.
const UNKNOWN: u64 = 1 << 32;

/// Axes of an image, which operations over planes want even where some have size 1.
const USUAL_RANK: usize = 4;

/// What speaks against an order, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    /// Elements that must move.
    cost: u64,
    /// Axes that are seen as one and not stored as one.
    torn: usize,
    /// Axes less than usual.
    missing: usize,
    /// Nothing is moved yet. An order that is moved already is better: then its transpose comes later, and may meet
    /// another.
    plain: bool,
    /// Place among the operands.
    at: usize,
}

impl Planner<'_, '_> {
    /// Elements at the same place: all operands are stored in the order of one of those that have all elements.
    pub(super) fn elementwise(&self) -> Result<Plan, Reason> {
        let shape = self.result_shape();
        let rank = shape.rank();
        let mut views = self.aligned(rank)?;
        for axis in 0..rank {
            cut_axis(&mut views, axis)?;
        }
        let has = |view: &View, axis: usize| !view.seen[axis].is_empty();
        let full = |view: &&View| (0..rank).all(|axis| has(view, axis) || shape[axis] == Dim::Known(1));
        let order = self.cheapest(
            &views,
            &views.iter().map(|(_, view)| view).filter(full).collect::<Vec<_>>(),
            None,
        )?;
        let readers = |axis: usize| -> Vec<bool> { views.iter().map(|(_, view)| has(view, axis)).collect() };
        let order = cut_where(&order, |part| readers(part.axis));
        let key = |axis: &[Part]| axis.first().map(|part| readers(part.axis));
        let order =
            fitted(order, self.settings.max_rank, key).ok_or("it needs more axes than a value may have")?;
        let sizes = |part: Part| {
            let sizes = views.iter().map(|(_, view)| view.part_size(part));
            sizes.max_by_key(|size| *size != Dim::Known(1)).unwrap_or(Dim::Known(1))
        };
        let result = View::of(&order, rank, sizes);
        let mut operands = vec![Given::Nothing; self.views.len()];
        for (index, view) in views {
            operands[index] = Self::broadcast_operand(view, &order, rank);
        }
        Ok(Plan { op: self.node.op().clone(), operands, results: vec![result] })
    }

    /// The views of all operands, with axes of size 1 before their own so that they have `rank`.
    fn aligned(&self, rank: usize) -> Result<Vec<(usize, View)>, Reason> {
        let mut views = Vec::new();
        for (index, view) in self.views.iter().enumerate() {
            let Some(view) = view else { continue };
            let missing =
                rank.checked_sub(view.seen.len()).ok_or("an operand has more axes than the result")?;
            let mut view = view.clone();
            view.seen.splice(0..0, vec![Vec::new(); missing]);
            views.push((index, view));
        }
        Ok(views)
    }

    /// The order of one of `leaders` in which the fewest elements of `views` must move. With `whole_axis`, that axis is
    /// one of its own in it.
    fn cheapest(
        &self,
        views: &[(usize, View)],
        leaders: &[&View],
        whole_axis: Option<usize>,
    ) -> Result<Order, Reason> {
        let computed = views.iter().filter(|(index, _)| !self.is_constant(*index)).count();
        let mut orders: Vec<(Order, Choice)> = Vec::new();
        for (at, view) in leaders.iter().enumerate() {
            let order = match whole_axis {
                // What is stored apart is merged where values of different axes meet, not before.
                None if computed < 2 => view.order(&view.stored),
                None => view.stored_order(),
                Some(axis) => with_whole_axis(view, axis)?,
            };
            let cost = |(index, other): &(usize, View)| self.cost_of(*index, other, &order, whole_axis);
            let whole_axes = (0..view.seen.len()).filter(|axis| {
                whole(&order, *axis, view.seen[*axis].len()).is_some() || whole_axis == Some(*axis)
            });
            let choice = Choice {
                cost: views.iter().map(cost).sum(),
                torn: view.seen.len() - whole_axes.count(),
                missing: USUAL_RANK.saturating_sub(order.len()),
                plain: view.is_plain(),
                at,
            };
            orders.push((order, choice));
        }
        let best = orders.into_iter().min_by_key(|(_, choice)| *choice);
        best.map(|(order, _)| order).ok_or_else(|| "no operand has all elements".into())
    }

    fn is_constant(&self, index: usize) -> bool {
        self.operand(index).is_none_or(|value| value.weight().is_some() || value.constant().is_some())
    }

    fn cost_of(&self, index: usize, view: &View, order: &Order, whole_axis: Option<usize>) -> u64 {
        if self.is_constant(index) {
            return 0;
        }
        let axes = axes_of(view, order, whole_axis);
        if stripped(&axes) == stripped(&view.stored) {
            return 0;
        }
        let ascending = axes.concat().windows(2).all(|pair| pair[0] < pair[1]);
        let elements = view.factors.iter().map(Dim::known).product::<Option<u64>>().unwrap_or(UNKNOWN);
        if ascending { 1 } else { elements.max(2) }
    }

    /// How an operand that may stretch is wanted: axes of size 1 in front are as they are, or left out.
    fn broadcast_operand(view: View, order: &Order, rank: usize) -> Given {
        let axes = view.axes(order);
        let own = stripped(&axes) == stripped(&view.stored);
        let leads = (0..rank)
            .all(|axis| order.iter().flatten().any(|part| part.axis == axis) != view.seen[axis].is_empty());
        if own && view.stored.len() <= axes.len() && (!leads || view.stored.len() == axes.len()) {
            let stored = view.stored.clone();
            return Given::Stored(view, stored);
        }
        let axes = if leads { axes } else { stripped(&axes).to_vec() };
        Given::Stored(view, axes)
    }

    /// Joining along an axis: all operands are stored in the order of one of them, in which it is an axis of its own.
    pub(super) fn concat(&self, axis: i64) -> Result<Plan, Reason> {
        let rank = self.result_shape().rank();
        let axis = normal_axis(axis, rank)?;
        let mut views = self.aligned(rank)?;
        for other in (0..rank).filter(|other| *other != axis) {
            cut_axis(&mut views, other)?;
        }
        let leaders: Vec<&View> =
            views.iter().map(|(_, view)| view).filter(|view| !view.seen[axis].is_empty()).collect();
        let order = self.cheapest(&views, &leaders, Some(axis))?;
        let key = |parts: &[Part]| parts.iter().all(|part| part.axis != axis).then_some(());
        let order =
            fitted(order, self.settings.max_rank, key).ok_or("it needs more axes than a value may have")?;
        let at = whole(&order, axis, 1).ok_or("an axis has no place of its own")?;
        let sizes = |part: Part| {
            if part.axis == axis { self.result_shape()[axis].clone() } else { views[0].1.part_size(part) }
        };
        let result = View::of(&order, rank, sizes);
        let operands = views.iter().map(|(_, view)| {
            let axes = axes_of(view, &order, Some(axis));
            Given::Stored(view.clone(), axes)
        });
        let operands = operands.collect();
        let Op::Concat(concat) = self.node.op() else { return Err("it joins nothing".into()) };
        let same = order.len() == rank && normal_axis(concat.axis, rank)? == at;
        let axis = if same { concat.axis } else { at as i64 };
        Ok(Plan { op: Concat { axis }.into(), operands, results: vec![result] })
    }
}

/// The order in which `view` is stored, or else the one that is seen, with `axis` an axis of its own.
fn with_whole_axis(view: &View, axis: usize) -> Result<Order, Reason> {
    let parts = view.seen[axis].len();
    let stored = cut_where(&view.stored_order(), |part| part.axis == axis);
    let order = if whole(&stored, axis, parts).is_some() { stored } else { view.seen_order() };
    let at = whole(&order, axis, parts).ok_or("an axis has no place of its own")?;
    Ok(single_part(order, at, axis))
}

/// The axes of `view` that `order` means, where a part of `whole_axis` means all of it.
fn axes_of(view: &View, order: &Order, whole_axis: Option<usize>) -> Vec<Vec<usize>> {
    let mut axes = view.axes(order);
    if let Some(axis) = whole_axis
        && let Some(at) = whole(order, axis, 1)
    {
        axes[at].clone_from(&view.seen[axis]);
    }
    axes
}

/// `axes` without those of size 1 in front.
fn stripped(axes: &[Vec<usize>]) -> &[Vec<usize>] {
    let first = axes.iter().position(|axis| !axis.is_empty()).unwrap_or(axes.len());
    &axes[first..]
}

/// Cuts axis `axis` alike wherever it does not stretch.
fn cut_axis(views: &mut [(usize, View)], axis: usize) -> Result<(), Reason> {
    let mut only: Vec<View> = views.iter().map(|(_, view)| view.clone()).collect();
    let there = |at: &usize| !only[*at].seen[axis].is_empty();
    let places: Vec<(usize, usize)> = (0..only.len()).filter(there).map(|at| (at, axis)).collect();
    if !cut_alike(&mut only, &places) {
        return Err(format!("its operands make up axis {axis} in ways that do not fit").into());
    }
    for ((_, view), cut) in views.iter_mut().zip(only) {
        *view = cut;
    }
    Ok(())
}
