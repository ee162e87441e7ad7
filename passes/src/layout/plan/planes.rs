//! Operations over planes of channels: convolutions, pooling, normalizations of channels, squares of pixels.

use quad_ir::ops::Op;
use quad_ir::ops::layout::{DataLayout, Role, Roles, layout_of, with_layout};

use super::{Given, Plan, Planner, Reason};
use crate::layout::order::{Order, Part, fitted, whole};
use crate::layout::view::View;

impl Planner<'_, '_> {
    /// Channels last, where they are to be, and as the graph sees them where not.
    pub(super) fn planes(&self) -> Result<Plan, Reason> {
        let op = self.node.op();
        let (layout, roles) = layout_of(op).ok_or("it has no layout")?;
        let turn = layout == DataLayout::Nchw && self.settings.channels_last;
        let x = self.view(0)?;
        let rank = x.seen.len();
        let is_norm = matches!(op, Op::GroupNorm(_) | Op::InstanceNorm(_) | Op::BatchNorm(_));
        // Channels last, in terms of the axes that are seen.
        let last = if turn { Role::Features.channels_last(rank) } else { (0..rank).collect() };
        let any_plane = is_norm && rank > 2 && (turn || layout == DataLayout::Nhwc);
        let stored = any_plane.then(|| self.stored_planes(x, last[0], last[rank - 1])).flatten();
        if !turn && stored.is_none() {
            return Err("its axes are in the order that it is defined for".into());
        }
        let seen: Order = x.seen_order();
        let order = stored.unwrap_or_else(|| last.iter().map(|axis| seen[*axis].clone()).collect());
        let operands = self.plane_operands(roles, &order, turn);
        let op = if turn { with_layout(op.clone(), DataLayout::Nhwc) } else { op.clone() };
        let results = self.node.results().enumerate().map(|(index, result)| {
            let seen = View::plain(&result.ty().shape);
            if index >= roles.results {
                return seen;
            }
            if is_norm {
                return View::of(&order, rank, |part| x.part_size(part));
            }
            let order = last.iter().map(|axis| vec![Part { axis: *axis, factor: 0 }]).collect();
            View::of(&order, rank, |part| result.ty().shape[part.axis].clone())
        });
        Ok(Plan { op, operands, results: results.collect() })
    }

    /// Features in `order`, kernels with channels last where that is `turn`ed to, and all others as they are.
    fn plane_operands(&self, roles: &Roles, order: &Order, turn: bool) -> Vec<Given> {
        let given = |(index, view): (usize, &Option<View>)| {
            let role = roles.operands.iter().find(|(number, _)| *number == index).map(|(_, role)| *role);
            match (view, role) {
                (None, _) => Given::Nothing,
                (Some(view), Some(Role::Features)) => Given::Stored(view.clone(), view.axes(order)),
                (Some(view), Some(role)) if turn => {
                    let last = role.channels_last(view.seen.len());
                    Given::Stored(view.clone(), last.iter().map(|axis| view.seen[*axis].clone()).collect())
                }
                (Some(_), _) => Given::AsSeen,
            }
        };
        self.views.iter().enumerate().map(given).collect()
    }

    /// How `x` is stored, when its batch is the first axis and its channels are the last: normalizations do not ask how
    /// the plane between them is cut into axes.
    fn stored_planes(&self, x: &View, batch: usize, channels: usize) -> Option<Order> {
        let key =
            |axis: &[Part]| axis.iter().all(|part| part.axis != batch && part.axis != channels).then_some(());
        let order = fitted(x.order(&x.stored), self.settings.max_rank, key)?;
        let first = x.seen[batch].is_empty() && order.first().is_some_and(Vec::is_empty);
        let first = first || whole(&order, batch, x.seen[batch].len()) == Some(0);
        let last = whole(&order, channels, x.seen[channels].len()) == Some(order.len() - 1);
        (first && last && !x.seen[channels].is_empty() && order.len() > 2).then_some(order)
    }
}
