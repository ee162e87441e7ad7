//! The fewest transposes and reshapes that bring stored axes into another order.

use quad_ir::types::Shape;

use super::view::{Axes, View};

/// A node that moves elements or renames axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    /// Axis `i` of the result is axis `order[i]`.
    Transpose(Vec<usize>),
    /// The same elements with other axes.
    Reshape(Shape),
}

/// The moves that make the axes `target` of what `view` stores; `None` when sizes cannot be said. No value on the way has
/// more than `max_rank` axes, unless it is the first or the last one.
pub(crate) fn moves(view: &View, target: &Axes, max_rank: Option<usize>) -> Option<Vec<Move>> {
    if view.stored == *target {
        return Some(Vec::new());
    }
    let shape = view.shape(target)?;
    if target.concat().windows(2).all(|pair| pair[0] < pair[1]) {
        return Some(vec![Move::Reshape(shape)]);
    }
    let fits = |axes: &Axes| max_rank.is_none_or(|max_rank| axes.len() <= max_rank);
    if fits(target)
        && let Some(order) = order_of(&view.stored, target)
    {
        return Some(vec![Move::Transpose(order)]);
    }
    // The stored axes, then a reshape.
    let whole = joined(&view.stored, target).filter(|_| fits(&view.stored));
    if let Some(order) = whole {
        return Some(vec![Move::Transpose(order), Move::Reshape(shape)]);
    }
    // A reshape to the axes wanted, in the order in which they are stored.
    let mut before: Axes = target.clone();
    before.sort();
    if fits(target)
        && before.concat().windows(2).all(|pair| pair[0] < pair[1])
        && let Some(order) = order_of(&before, target)
    {
        return Some(vec![Move::Reshape(view.shape(&before)?), Move::Transpose(order)]);
    }
    let blocks = blocks(target);
    let mut before = blocks.clone();
    before.sort();
    if fits(&blocks) {
        let order = order_of(&before, &blocks)?;
        let moves = [Move::Reshape(view.shape(&before)?), Move::Transpose(order), Move::Reshape(shape)];
        return Some(moves.into());
    }
    exchanges(view, before, &blocks, shape)
}

/// The order in which whole axes `from` are the axes `to`; those of size 1 one after the other.
fn order_of(from: &Axes, to: &Axes) -> Option<Vec<usize>> {
    let mut free: Vec<usize> = (0..from.len()).collect();
    let mut take = |axis: &Vec<usize>| {
        let at = free.iter().position(|index| from[*index] == *axis)?;
        Some(free.remove(at))
    };
    let order: Option<Vec<usize>> = to.iter().map(&mut take).collect();
    order.filter(|_| free.is_empty())
}

/// The order of the axes `stored` in which their factors are in the order of `target`, when none is torn.
fn joined(stored: &Axes, target: &Axes) -> Option<Vec<usize>> {
    let wanted = target.concat();
    let place =
        |axis: &Vec<usize>| axis.first().and_then(|first| wanted.iter().position(|factor| factor == first));
    // Axes of size 1 may be anywhere: they come first.
    let mut order: Vec<usize> = (0..stored.len()).collect();
    order.sort_by_key(|index| place(&stored[*index]));
    let found: Vec<usize> = order.iter().flat_map(|index| stored[*index].iter().copied()).collect();
    (found == wanted).then_some(order)
}

/// The factors of `target`, those merged that are neighbors before and after.
fn blocks(target: &Axes) -> Axes {
    let mut blocks: Axes = Vec::new();
    for factor in target.concat() {
        match blocks.last_mut().filter(|block| block.last().is_some_and(|last| last + 1 == factor)) {
            Some(block) => block.push(factor),
            None => blocks.push(vec![factor]),
        }
    }
    blocks
}

/// Brings `blocks` into their order by exchanging neighbors, which takes four axes at most.
fn exchanges(view: &View, mut now: Axes, blocks: &Axes, shape: Shape) -> Option<Vec<Move>> {
    let mut moves = Vec::new();
    for (at, block) in blocks.iter().enumerate() {
        let found = now.iter().position(|other| other == block)?;
        if found == at {
            continue;
        }
        let parts = [&now[..at], &now[found..=found], &now[at..found], &now[found + 1..]];
        let after: Axes = parts.iter().map(|part| part.concat()).filter(|axis| !axis.is_empty()).collect();
        let mut before = after.clone();
        before.swap(usize::from(at > 0), usize::from(at > 0) + 1);
        moves.push(Move::Reshape(view.shape(&before)?));
        moves.push(Move::Transpose(order_of(&before, &after)?));
        let block = now.remove(found);
        now.insert(at, block);
    }
    moves.push(Move::Reshape(shape));
    Some(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sizes: &[u64]) -> View {
        View::plain(&Shape::known(sizes))
    }

    fn reshape(sizes: &[u64]) -> Move {
        Move::Reshape(Shape::known(sizes))
    }

    #[test]
    fn one_move_where_one_is_enough() {
        let view = stored(&[2, 3, 1, 4]);
        let found = |target: &[&[usize]]| {
            moves(&view, &target.iter().map(|axis| axis.to_vec()).collect(), None).expect("sizes are known")
        };
        assert_eq!(found(&[&[0], &[1], &[], &[2]]), []);
        assert_eq!(found(&[&[0], &[1, 2]]), [reshape(&[2, 12])]);
        assert_eq!(found(&[&[0], &[], &[2], &[1]]), [Move::Transpose(vec![0, 2, 3, 1])]);
    }

    #[test]
    fn two_moves_where_axes_are_torn_or_joined() {
        let heads = stored(&[2, 5, 12]).reshaped(&Shape::known(&[2, 5, 3, 4])).expect("cut");
        let apart = moves(&heads, &vec![vec![0], vec![2], vec![1], vec![3]], None).expect("known");
        assert_eq!(apart, [reshape(&[2, 5, 3, 4]), Move::Transpose(vec![0, 2, 1, 3])]);
        let together =
            moves(&stored(&[2, 3, 5, 4]), &vec![vec![0], vec![2], vec![1, 3]], None).expect("known");
        assert_eq!(together, [Move::Transpose(vec![0, 2, 1, 3]), reshape(&[2, 5, 12])]);
    }

    #[test]
    fn many_axes_are_exchanged_four_at_a_time() {
        let view = stored(&[2, 3, 4, 5, 6]);
        let target: Axes = [4, 2, 0, 3, 1].iter().map(|factor| vec![*factor]).collect();
        let found = moves(&view, &target, Some(4)).expect("known");
        for one in &found[..found.len() - 1] {
            let small = match one {
                Move::Transpose(order) => order.len() <= 4,
                Move::Reshape(shape) => shape.rank() <= 4,
            };
            assert!(small, "{one:?}");
        }
        assert_eq!(found.last(), Some(&reshape(&[6, 4, 2, 5, 3])));
    }
}
