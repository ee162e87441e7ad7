//! Orders of axes.

use quad_ir::ops::Transpose;
use smallvec::SmallVec;

/// An order of axes, as `transpose` has it: axis `i` of the result is axis `self[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Perm(SmallVec<[usize; 6]>);

impl Perm {
    /// The order `axes`, when it names each axis once.
    pub fn new(axes: impl IntoIterator<Item = usize>) -> Option<Self> {
        let axes: SmallVec<[usize; 6]> = axes.into_iter().collect();
        let mut seen: SmallVec<[bool; 6]> = SmallVec::from_elem(false, axes.len());
        for axis in &axes {
            let first = seen.get_mut(*axis).is_some_and(|seen| !std::mem::replace(seen, true));
            if !first {
                return None;
            }
        }
        Some(Self(axes))
    }

    /// The order in which `op` puts the axes of an operand with `rank` of them.
    pub fn of(op: &Transpose, rank: usize) -> Option<Self> {
        let Some(perm) = &op.perm else { return Some(Self((0..rank).rev().collect())) };
        let axes: Option<SmallVec<[usize; 6]>> = perm.iter().map(|axis| resolve(*axis, rank)).collect();
        Self::new(axes?).filter(|perm| perm.rank() == rank)
    }

    /// How many axes there are.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// For each axis of the result, the axis of the operand.
    pub fn axes(&self) -> &[usize] {
        &self.0
    }

    /// As [`axes`](Self::axes), as the attribute of `transpose` is written.
    pub fn to_attribute(&self) -> Vec<i64> {
        self.0.iter().map(|axis| *axis as i64).collect()
    }

    /// Whether every axis stays.
    pub fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(index, axis)| index == *axis)
    }

    /// The order that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut inverse = self.0.clone();
        for (index, axis) in self.0.iter().enumerate() {
            inverse[*axis] = index;
        }
        Self(inverse)
    }

    /// This order, and then `after`: `transpose(transpose(x, self), after)`. Both have the same rank.
    #[must_use]
    pub fn then(&self, after: &Self) -> Self {
        Self(after.0.iter().map(|axis| self.0[*axis]).collect())
    }

    /// The order of the axes that are left when the axes `removed` of the operand go.
    #[must_use]
    pub fn without(&self, removed: &[usize]) -> Self {
        let kept = self.0.iter().filter(|axis| !removed.contains(axis));
        let below = |axis: usize| removed.iter().filter(|removed| **removed < axis).count();
        Self(kept.map(|axis| axis - below(*axis)).collect())
    }

    /// `items`, one for each axis of the operand, as the axes of the result have them.
    pub fn apply<T: Clone>(&self, items: &[T]) -> Option<SmallVec<[T; 6]>> {
        self.0.iter().map(|axis| items.get(*axis).cloned()).collect()
    }
}

/// `axis` of a tensor of `rank` axes, counted from the front.
pub fn resolve(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perm(axes: &[usize]) -> Perm {
        Perm::new(axes.iter().copied()).expect("each axis once")
    }

    #[test]
    fn an_order_and_its_inverse_cancel() {
        let order = perm(&[2, 0, 3, 1]);
        assert!(order.then(&order.inverse()).is_identity());
        assert!(order.inverse().then(&order).is_identity());
    }

    #[test]
    fn composing_is_transposing_twice() {
        let (first, second) = (perm(&[1, 2, 0]), perm(&[0, 2, 1]));
        let twice = second.apply(&first.apply(&["a", "b", "c"]).expect("three")).expect("three");
        assert_eq!(first.then(&second).apply(&["a", "b", "c"]).expect("three"), twice);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        assert_eq!(Perm::new([0, 0]), None);
        assert_eq!(Perm::new([1]), None);
        assert_eq!(Perm::of(&Transpose { perm: Some(vec![0, -1]) }, 2), Some(perm(&[0, 1])));
        assert_eq!(Perm::of(&Transpose { perm: Some(vec![0]) }, 2), None);
        assert_eq!(Perm::of(&Transpose::default(), 3), Some(perm(&[2, 1, 0])));
    }

    #[test]
    fn axes_that_go_leave_the_order_of_the_others() {
        assert_eq!(perm(&[2, 0, 3, 1]).without(&[0]), perm(&[1, 2, 0]));
        assert_eq!(perm(&[2, 0, 3, 1]).without(&[3, 2]), perm(&[0, 1]));
    }
}
