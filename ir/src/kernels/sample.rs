//! Sampling a plane between its elements.

use smallvec::SmallVec;

/// What a place along one axis is a weighted sum of: indices, `None` where the element counts as zero, and weights.
pub(crate) type Taps = SmallVec<[(Option<usize>, f64); 4]>;

/// What a place in a plane is a weighted sum of: positions in row-major order, and weights.
pub(crate) type Corners = SmallVec<[(usize, f64); 8]>;

/// The elements at all combinations of `taps`, outermost axis first, of a plane of `sizes`.
pub(crate) fn corners(taps: &[Taps], sizes: &[usize]) -> Corners {
    let mut corners = Corners::from_slice(&[(0, 1.0)]);
    for (taps, size) in taps.iter().zip(sizes) {
        let next = |&(place, weight): &(usize, f64)| {
            taps.iter().filter_map(move |(index, own)| Some((place * size + (*index)?, weight * own)))
        };
        corners = corners.iter().flat_map(next).collect();
    }
    corners
}

/// The two neighbors of `place`, which `element` looks up by their indices.
pub(crate) fn linear(place: f64, element: impl Fn(i64) -> Option<usize>) -> Taps {
    let below = place.floor();
    let part = place - below;
    let index = below as i64;
    Taps::from_slice(&[(element(index), 1.0 - part), (element(index.saturating_add(1)), part)])
}

/// The index itself, where an axis of `size` has it.
pub(crate) fn inside(index: i64, size: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|index| *index < size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_multiply_weights_and_leave_out_what_is_outside() {
        let axis = |place: f64, size| linear(place, move |index| inside(index, size));
        let found = corners(&[axis(-0.25, 2), axis(1.5, 3)], &[2, 3]);
        assert_eq!(found.as_slice(), [(1, 0.375), (2, 0.375)]);
        assert_eq!(corners(&[axis(f64::INFINITY, 2)], &[2]).as_slice(), []);
    }
}
