//! Walking several tensors of different strides together, in the order of a common index space.

use std::ops::Range;

use smallvec::SmallVec;

/// An index space and how far each of `N` tensors moves along each of its axes.
///
/// Axes of size 1 are dropped and neighbors along which every tensor moves evenly are joined, so that the last axis is
/// as long as it can be.
pub(crate) struct Walk<const N: usize> {
    /// Sizes of the joined axes; at least one.
    sizes: SmallVec<[usize; 6]>,
    /// Per joined axis, the distance in elements between neighbors in each tensor.
    strides: SmallVec<[[usize; N]; 6]>,
}

/// Gets the offset of a run's first position in each tensor, its distance from the start of the range that is walked
/// over, and its length.
pub(crate) type VisitRun<'a, const N: usize> = &'a mut dyn FnMut([usize; N], usize, usize);

impl<const N: usize> Walk<N> {
    /// The walk over an index space of `sizes`, with one list of strides per tensor.
    pub(crate) fn new(sizes: &[usize], strides: [&[usize]; N]) -> Self {
        let mut walk = Self { sizes: SmallVec::new(), strides: SmallVec::new() };
        for (axis, size) in sizes.iter().enumerate() {
            if *size != 1 {
                walk.push(*size, std::array::from_fn(|tensor| strides[tensor][axis]));
            }
        }
        if walk.sizes.is_empty() {
            walk.push(1, [0; N]);
        }
        walk
    }

    /// How far each tensor moves from one position of a run to the next.
    pub(crate) fn steps(&self) -> [usize; N] {
        self.strides.last().copied().unwrap_or([0; N])
    }

    /// Number of positions.
    pub(crate) fn len(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Calls `visit` for each run of positions along the last axis within `range`.
    pub(crate) fn runs(&self, range: Range<usize>, visit: VisitRun<'_, N>) {
        if range.is_empty() {
            return;
        }
        let (last, steps) = (self.sizes.len() - 1, self.steps());
        let (mut index, mut offsets) = self.locate(range.start);
        let mut done = 0;
        loop {
            let length = (self.sizes[last] - index[last]).min(range.len() - done);
            visit(offsets, done, length);
            done += length;
            if done == range.len() {
                return;
            }
            // Only the last run may end before its axis does, so the next one starts at the beginning of the axis.
            (0..N).for_each(|tensor| offsets[tensor] -= steps[tensor] * index[last]);
            index[last] = 0;
            self.advance(&mut index, &mut offsets);
        }
    }

    fn push(&mut self, size: usize, strides: [usize; N]) {
        if let (Some(outer), Some(moves)) = (self.sizes.last_mut(), self.strides.last_mut())
            && (0..N).all(|tensor| moves[tensor] == strides[tensor] * size)
        {
            *outer *= size;
            *moves = strides;
            return;
        }
        self.sizes.push(size);
        self.strides.push(strides);
    }

    /// The index and the offsets of a position.
    fn locate(&self, position: usize) -> (SmallVec<[usize; 6]>, [usize; N]) {
        let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, self.sizes.len());
        let mut offsets = [0; N];
        let mut rest = position;
        for axis in (0..self.sizes.len()).rev() {
            index[axis] = rest % self.sizes[axis];
            rest /= self.sizes[axis];
            (0..N).for_each(|tensor| offsets[tensor] += index[axis] * self.strides[axis][tensor]);
        }
        (index, offsets)
    }

    /// Moves to the next index of the axes before the last.
    fn advance(&self, index: &mut [usize], offsets: &mut [usize; N]) {
        for axis in (0..index.len() - 1).rev() {
            let strides = &self.strides[axis];
            index[axis] += 1;
            if index[axis] < self.sizes[axis] {
                (0..N).for_each(|tensor| offsets[tensor] += strides[tensor]);
                return;
            }
            // Back to the start of this axis; the next outer one moves on.
            (0..N).for_each(|tensor| offsets[tensor] -= strides[tensor] * (index[axis] - 1));
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(walk: &Walk<1>, range: Range<usize>) -> Vec<usize> {
        let mut found = Vec::new();
        walk.runs(range, &mut |[offset], at, length| {
            assert_eq!(at, found.len());
            found.extend((0..length).map(|place| offset + place * walk.steps()[0]));
        });
        found
    }

    #[test]
    fn any_part_of_a_transposed_walk_is_the_same_part_of_the_whole() {
        // A [4, 2, 3] tensor read as [2, 1, 3, 4].
        let walk = Walk::new(&[2, 1, 3, 4], [&[3, 9, 1, 6]]);
        let all = offsets(&walk, 0..24);
        assert_eq!(all[..6], [0, 6, 12, 18, 1, 7]);
        for start in 0..=24 {
            for end in start..=24 {
                assert_eq!(offsets(&walk, start..end), all[start..end]);
            }
        }
    }

    #[test]
    fn contiguous_axes_become_one_run() {
        let walk = Walk::new(&[2, 3, 1, 4], [&[12, 4, 4, 1], &[0, 0, 0, 0]]);
        let mut runs = 0;
        walk.runs(0..walk.len(), &mut |_, _, length| {
            runs += 1;
            assert_eq!(length, 24);
        });
        assert_eq!(runs, 1);
    }
}
