//! Orders of stored axes in terms of the axes that the graph sees: what values of different factors have in common.

use quad_ir::types::Dim;

use super::view::{Axes, View};

/// A factor, by the axis that the graph sees and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Part {
    /// The axis.
    pub(crate) axis: usize,
    /// Which of its factors.
    pub(crate) factor: usize,
}

/// Stored axes, each a product of parts.
pub(crate) type Order = Vec<Vec<Part>>;

impl View {
    /// `axes` in terms of what the graph sees.
    pub(crate) fn order(&self, axes: &Axes) -> Order {
        let part = |factor: &usize| {
            let find = |seen: &Vec<usize>| seen.iter().position(|other| other == factor);
            let found = self.seen.iter().enumerate().find_map(|(axis, seen)| Some((axis, find(seen)?)));
            let (axis, factor) = found.expect("every factor is part of an axis that is seen");
            Part { axis, factor }
        };
        axes.iter().map(|axis| axis.iter().map(part).collect()).collect()
    }

    /// The axes that `order` means; parts that are not there have size 1.
    pub(crate) fn axes(&self, order: &Order) -> Axes {
        let factor = |part: &Part| self.seen.get(part.axis)?.get(part.factor).copied();
        order.iter().map(|axis| axis.iter().filter_map(factor).collect()).collect()
    }

    /// The size of `part`.
    pub(crate) fn part_size(&self, part: Part) -> Dim {
        let factor = self.seen.get(part.axis).and_then(|axis| axis.get(part.factor));
        factor.map_or(Dim::Known(1), |factor| self.factors[*factor].clone())
    }

    /// The order in which the graph sees the axes.
    pub(crate) fn seen_order(&self) -> Order {
        self.order(&self.seen)
    }

    /// The order in which the axes are stored, neighbors that are one axis for the graph merged.
    pub(crate) fn stored_order(&self) -> Order {
        self.order(&self.merged())
    }

    /// A value stored in `order`, of which the graph sees `rank` axes with parts of the sizes given.
    pub(crate) fn of(order: &Order, rank: usize, size: impl Fn(Part) -> Dim) -> Self {
        let mut view = Self { factors: Vec::new(), stored: Vec::new(), seen: Vec::new() };
        let mut parts: Vec<Vec<(usize, usize)>> = vec![Vec::new(); rank];
        for axis in order {
            let first = view.factors.len();
            for part in axis {
                let size = size(*part);
                if size != Dim::Known(1) {
                    parts[part.axis].push((part.factor, view.factors.len()));
                    view.factors.push(size);
                }
            }
            view.stored.push((first..view.factors.len()).collect());
        }
        for axis in &mut parts {
            axis.sort_unstable();
        }
        view.seen =
            parts.into_iter().map(|axis| axis.into_iter().map(|(_, factor)| factor).collect()).collect();
        view
    }
}

/// `order` with axes cut wherever `key` changes from one part to the next.
pub(crate) fn cut_where<K: PartialEq>(order: &Order, key: impl Fn(Part) -> K) -> Order {
    let mut cut = Order::new();
    for axis in order {
        let mut pieces: Order = Vec::new();
        for part in axis {
            let same = |piece: &&mut Vec<Part>| piece.last().is_some_and(|last| key(*last) == key(*part));
            match pieces.last_mut().filter(same) {
                Some(piece) => piece.push(*part),
                None => pieces.push(vec![*part]),
            }
        }
        if pieces.is_empty() {
            pieces.push(Vec::new());
        }
        cut.append(&mut pieces);
    }
    cut
}

/// `order` with at most `max_rank` axes: those of size 1 are dropped, then neighbors of equal `key` are merged. An axis
/// without a key stays by itself. `None` when that is not enough.
pub(crate) fn fitted<K: PartialEq>(
    mut order: Order,
    max_rank: Option<usize>,
    key: impl Fn(&[Part]) -> Option<K>,
) -> Option<Order> {
    let Some(max_rank) = max_rank else { return Some(order) };
    while order.len() > max_rank {
        if let Some(empty) = order.iter().position(Vec::is_empty) {
            order.remove(empty);
            continue;
        }
        let alike = |pair: &[Vec<Part>]| key(&pair[0]).is_some_and(|own| key(&pair[1]) == Some(own));
        let at = order.windows(2).position(alike)?;
        let mut next = order.remove(at + 1);
        order[at].append(&mut next);
    }
    Some(order)
}

/// Where `order` has an axis that is all of the axis that the graph sees as `axis`, which has `parts` parts.
pub(crate) fn whole(order: &Order, axis: usize, parts: usize) -> Option<usize> {
    let all: Vec<Part> = (0..parts).map(|factor| Part { axis, factor }).collect();
    order.iter().position(|found| *found == all)
}

/// `order` in which the axis at `at` is a single part, the first of `axis`.
pub(crate) fn single_part(mut order: Order, at: usize, axis: usize) -> Order {
    order[at] = vec![Part { axis, factor: 0 }];
    order
}
