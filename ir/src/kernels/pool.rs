//! Folding the elements under a window, for pooling.
//!
//! Only taps that meet an element are visited, so the work is bounded by the sizes of operand and result however large
//! a window claims to be.

use super::window::Spatial;

/// The geometry of a pooling window; one entry per spatial axis in each list.
///
/// The window at place `o` meets the elements `o * stride + tap * dilation - pad_begin` that exist.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolWindow<'a> {
    /// Lengths of the plane that is read.
    pub(crate) input: &'a [usize],
    /// Lengths of the plane of places.
    pub(crate) output: &'a [usize],
    /// Numbers of taps.
    pub(crate) kernel: &'a [usize],
    /// Elements between places, at least one.
    pub(crate) strides: &'a [usize],
    /// Elements between taps, at least one.
    pub(crate) dilations: &'a [usize],
    /// Padding before the first element.
    pub(crate) pads_begin: &'a [usize],
}

/// The elements that a window meets along one axis: the first one, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    first: usize,
    count: usize,
}

impl PoolWindow<'_> {
    /// Folds `step` over the elements under the window at each place, in row-major order, and hands each result to
    /// `finish` with its place. Elements and places are numbered row-major within their planes.
    pub(crate) fn fold<A: Copy>(
        &self,
        start: A,
        mut step: impl FnMut(A, usize) -> A,
        mut finish: impl FnMut(usize, A),
    ) {
        let Some((&width, outer)) = self.output.split_last() else { return };
        let last = outer.len();
        let columns: Vec<Reach> = (0..width).map(|column| self.reach(last, column)).collect();
        let mut rows = Vec::new();
        for line in 0..outer.iter().product() {
            self.rows(line, &mut rows);
            for (column, reach) in columns.iter().enumerate() {
                let mut folded = start;
                for row in &rows {
                    let elements = (0..reach.count).map(|tap| row + reach.first + tap * self.dilations[last]);
                    folded = elements.fold(folded, &mut step);
                }
                finish(line * width + column, folded);
            }
        }
    }

    /// Number of taps at `place` that fall on an element or on padding, with `pads_end` elements of padding after the
    /// last one: a window may reach over the padding too.
    pub(crate) fn padded_taps(&self, place: usize, pads_end: &[usize]) -> f64 {
        // The number is divided by, and no word holds that of a window which claims to be huge along several axes.
        let (mut place, mut taps) = (place, 1.0);
        for axis in (0..self.output.len()).rev() {
            let start = place % self.output[axis] * self.strides[axis];
            place /= self.output[axis];
            let end = self.pads_begin[axis] + self.input[axis] + pads_end[axis];
            let reachable = end.saturating_sub(start).div_ceil(self.dilations[axis]);
            taps *= reachable.min(self.kernel[axis]) as f64;
        }
        taps
    }

    /// Where the rows of elements that the window meets at output line `line` start.
    fn rows(&self, line: usize, rows: &mut Vec<usize>) {
        let last = self.output.len() - 1;
        let mut coordinates = Spatial::from_elem(0, last);
        let mut rest = line;
        for axis in (0..last).rev() {
            coordinates[axis] = rest % self.output[axis];
            rest /= self.output[axis];
        }
        rows.clear();
        rows.push(0);
        for (axis, place) in coordinates.into_iter().enumerate() {
            let reach = self.reach(axis, place);
            let scale = self.input[axis + 1];
            let taps = |start: usize| {
                let elements = (0..reach.count).map(move |tap| reach.first + tap * self.dilations[axis]);
                elements.map(move |element| (start + element) * scale)
            };
            *rows = rows.iter().copied().flat_map(taps).collect();
        }
    }

    /// What the window at `place` meets along `axis`.
    fn reach(&self, axis: usize, place: usize) -> Reach {
        let (start, pad) = (place * self.strides[axis], self.pads_begin[axis]);
        let dilation = self.dilations[axis];
        let skipped = pad.saturating_sub(start).div_ceil(dilation);
        let end = (pad + self.input[axis]).saturating_sub(start).div_ceil(dilation).min(self.kernel[axis]);
        let count = end.saturating_sub(skipped);
        // The element of a tap that is met is never before the first one.
        let first = if count > 0 { start + skipped * dilation - pad } else { 0 };
        Reach { first, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Elements met at each place of a window over a line, by trying every tap.
    fn by_hand([input, kernel, stride, dilation, pad]: [usize; 5], places: usize) -> Vec<Vec<usize>> {
        let met = |place: usize| {
            let taps = (0..kernel).map(|tap| (place * stride + tap * dilation).checked_sub(pad));
            taps.flatten().filter(|element| *element < input).collect()
        };
        (0..places).map(met).collect()
    }

    fn folded(window: &PoolWindow<'_>) -> Vec<Vec<usize>> {
        let mut met = vec![Vec::new(); window.output.iter().product()];
        // The fold carries copies only, so it numbers the elements in base 100.
        window.fold(
            0usize,
            |sum, element| sum * 100 + element + 1,
            |place, mut sum| {
                while sum > 0 {
                    met[place].insert(0, sum % 100 - 1);
                    sum /= 100;
                }
            },
        );
        met
    }

    proptest! {
        #[test]
        fn every_element_under_the_window_is_met_once(
            input in 0usize..9, kernel in 1usize..6, stride in 1usize..4, dilation in 1usize..4, pad in 0usize..6,
            places in 0usize..8,
        ) {
            let window = PoolWindow {
                input: &[input], output: &[places], kernel: &[kernel], strides: &[stride], dilations: &[dilation],
                pads_begin: &[pad],
            };
            prop_assert_eq!(folded(&window), by_hand([input, kernel, stride, dilation, pad], places));
        }
    }

    #[test]
    fn a_plane_is_met_row_by_row() {
        let window = PoolWindow {
            input: &[3, 4],
            output: &[2, 2],
            kernel: &[2, 2],
            strides: &[2, 2],
            dilations: &[1, 2],
            pads_begin: &[1, 0],
        };
        assert_eq!(folded(&window), [vec![0, 2], vec![2], vec![4, 6, 8, 10], vec![6, 10]]);
        assert_eq!([0, 1, 2, 3].map(|place| window.padded_taps(place, &[0, 0])), [4.0, 2.0, 4.0, 2.0]);
        assert_eq!([0, 1, 2, 3].map(|place| window.padded_taps(place, &[0, 1])), [4.0; 4]);
    }
}
