//! Gathering and scattering blocks of elements whose places are computed: what all indexing operations come down to.
//!
//! The callers check indices and turn them into places; the kernels only move blocks.

use smallvec::SmallVec;

/// The places of the elements of a box, in row-major order: sums of index times stride.
pub(crate) struct Places<'a> {
    sizes: &'a [usize],
    strides: &'a [usize],
    index: SmallVec<[usize; 6]>,
    place: usize,
    left: usize,
}

impl<'a> Places<'a> {
    /// The places of a box of `sizes` whose neighbors along axis `i` are `strides[i]` apart.
    pub(crate) fn new(sizes: &'a [usize], strides: &'a [usize]) -> Self {
        let index = SmallVec::from_elem(0, sizes.len());
        Self { sizes, strides, index, place: 0, left: sizes.iter().product() }
    }
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place;
        for axis in (0..self.sizes.len()).rev() {
            self.index[axis] += 1;
            self.place += self.strides[axis];
            if self.index[axis] < self.sizes[axis] {
                break;
            }
            self.place -= self.strides[axis] * self.sizes[axis];
            self.index[axis] = 0;
        }
        Some(place)
    }
}

/// The places of blocks of `inner` elements picked along an axis of `size`, once per index of the axes before it.
pub(crate) fn along_axis(
    outer: usize,
    size: usize,
    inner: usize,
    picks: &[usize],
) -> impl Iterator<Item = usize> {
    (0..outer).flat_map(move |row| picks.iter().map(move |pick| (row * size + pick) * inner))
}

/// The blocks of `block` elements of `source` that begin at `places`, of which there are `count`, one after the other.
pub(crate) fn gather<L: Copy>(
    source: &[L],
    block: usize,
    count: usize,
    places: impl Iterator<Item = usize>,
) -> Vec<L> {
    let mut result = Vec::with_capacity(count * block);
    if block == 0 {
        // Nothing is read, however often.
        return result;
    }
    if block == 1 {
        result.extend(places.map(|place| source[place]));
        return result;
    }
    places.for_each(|place| result.extend_from_slice(&source[place..place + block]));
    result
}

/// Puts the blocks of `updates`, of `block` elements each, to `places` of `target`, one after the other: each element
/// becomes `combine` of what is there and what comes.
pub(crate) fn scatter<L: Copy>(
    target: &mut [L],
    block: usize,
    places: impl Iterator<Item = usize>,
    updates: &[L],
    combine: impl Fn(L, L) -> L,
) {
    if block == 0 {
        return;
    }
    for (place, update) in places.zip(updates.chunks_exact(block)) {
        for (slot, value) in target[place..place + block].iter_mut().zip(update) {
            *slot = combine(*slot, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_strides() {
        assert_eq!(Places::new(&[2, 3], &[10, 1]).collect::<Vec<_>>(), [0, 1, 2, 10, 11, 12]);
        assert_eq!(Places::new(&[2, 2], &[0, 5]).collect::<Vec<_>>(), [0, 5, 0, 5]);
        assert_eq!(Places::new(&[], &[]).collect::<Vec<_>>(), [0]);
        assert_eq!(Places::new(&[3, 0], &[1, 1]).count(), 0);
    }

    #[test]
    fn blocks_are_gathered_along_an_axis() {
        let source: Vec<u8> = (0..12).collect();
        // Of two rows of three blocks of two elements, the last and the first.
        let blocks = gather(&source, 2, 4, along_axis(2, 3, 2, &[2, 0]));
        assert_eq!(blocks, [4, 5, 0, 1, 10, 11, 6, 7]);
    }

    #[test]
    fn scattering_combines_in_order() {
        let mut target = [1, 1, 1];
        scatter(&mut target, 1, [2, 2, 0].into_iter(), &[5, 6, 7], |old, new| old * 10 + new);
        assert_eq!(target, [17, 1, 156]);
        scatter(&mut target, 0, [9].into_iter(), &[], |_, new| new);
        assert_eq!(target, [17, 1, 156]);
    }
}
