//! Which axes of a tensor become which under other sizes.

use std::ops::Range;

use smallvec::SmallVec;

/// Neighbouring axes of a tensor, and the neighbouring axes that they are under other sizes: both have the same number of
/// elements, and no part of them has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Axes before.
    pub from: Range<usize>,
    /// Axes after.
    pub to: Range<usize>,
}

/// The groups that a reshape of `from` to `to` consists of, in order. Axes of size 1 are in no group: they come and go.
/// `None` when the numbers of elements differ, or one is 0, so that sizes say nothing.
pub fn groups(from: &[u64], to: &[u64]) -> Option<SmallVec<[Group; 6]>> {
    let mut groups = SmallVec::new();
    let (mut i, mut j) = (0, 0);
    loop {
        i += from[i..].iter().take_while(|size| **size == 1).count();
        j += to[j..].iter().take_while(|size| **size == 1).count();
        if i == from.len() && j == to.len() {
            return Some(groups);
        }
        let (start_i, start_j) = (i, j);
        let (mut left, mut right) = (*from.get(i)?, *to.get(j)?);
        (i, j) = (i + 1, j + 1);
        while left != right {
            if left == 0 || right == 0 {
                return None;
            }
            if left < right {
                left = left.checked_mul(*from.get(i)?)?;
                i += 1;
            } else {
                right = right.checked_mul(*to.get(j)?)?;
                j += 1;
            }
        }
        if left == 0 {
            return None;
        }
        groups.push(Group { from: start_i..i, to: start_j..j });
    }
}

/// The sizes of an operand of sizes `operand` that is stretched over `from`, when that becomes `to`: each group is stretched
/// as a whole, or not at all. `None` when there is no such shape.
pub fn regrouped(operand: &[u64], from: &[u64], to: &[u64]) -> Option<SmallVec<[u64; 6]>> {
    let missing = from.len().checked_sub(operand.len())?;
    let own = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| operand[axis]);
    let mut sizes: SmallVec<[u64; 6]> = SmallVec::from_elem(1, to.len());
    for group in groups(from, to)? {
        if group.from.clone().all(|axis| own(axis) == from[axis]) {
            sizes[group.to.clone()].copy_from_slice(&to[group.to]);
        } else if !group.from.clone().all(|axis| own(axis) == 1) {
            return None;
        }
    }
    Some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(from: &[u64], to: &[u64]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
        let groups = groups(from, to)?;
        Some(groups.into_iter().map(|group| (group.from, group.to)).collect())
    }

    #[test]
    fn axes_split_and_join() {
        assert_eq!(ranges(&[2, 3, 4], &[6, 2, 2]), Some(vec![(0..2, 0..1), (2..3, 1..3)]));
        assert_eq!(ranges(&[1, 8, 6], &[1, 8, 1, 6, 1]), Some(vec![(1..2, 1..2), (2..3, 3..4)]));
        assert_eq!(ranges(&[4, 6], &[6, 4]), Some(vec![(0..2, 0..2)]));
        assert_eq!(ranges(&[1, 1], &[]), Some(vec![]));
        assert_eq!(ranges(&[2, 3], &[5]), None);
        assert_eq!(ranges(&[0, 3], &[3, 0]), None);
    }

    #[test]
    fn operands_follow_as_far_as_they_are_stretched_in_whole_groups() {
        let sizes = |operand: &[u64], from: &[u64], to: &[u64]| {
            regrouped(operand, from, to).map(|sizes| sizes.to_vec())
        };
        assert_eq!(sizes(&[4], &[2, 15, 4], &[2, 3, 5, 4]), Some(vec![1, 1, 1, 4]));
        assert_eq!(sizes(&[15, 1], &[2, 15, 4], &[2, 3, 5, 4]), Some(vec![1, 3, 5, 1]));
        assert_eq!(sizes(&[5, 1], &[2, 3, 5, 4], &[2, 15, 4]), None);
        assert_eq!(sizes(&[], &[2, 3], &[6]), Some(vec![1]));
    }
}
