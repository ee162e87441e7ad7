//! Copying a box of elements between two layouts: transposing, slicing, expanding, tiling, joining and padding.
//!
//! A [`Layout`] says where in a slice the element at an index lies. [`copy`] first drops axes of size 1 and merges
//! axes that both layouts step through alike, so that most copies become a few long runs. What remains strided is
//! copied in square tiles, which keeps both sides in cache.

use smallvec::SmallVec;

use super::broadcast;

/// Where the elements of a box lie in a slice: the element at `index` at `offset + sum of index[i] * strides[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Position of the element whose indices are all 0.
    pub(crate) offset: usize,
    /// Distance between neighbors along each axis; negative where an axis is walked backward, 0 where it repeats.
    pub(crate) strides: SmallVec<[isize; 6]>,
}

impl Layout {
    /// Row-major order over `sizes`, from the start of the slice.
    pub(crate) fn dense(sizes: &[usize]) -> Self {
        Self::from_strides(&broadcast::strides(sizes))
    }

    /// A tensor of `sizes` read as one of `result` sizes: axes of size 1 and missing outer axes repeat.
    pub(crate) fn stretched(sizes: &[usize], result: &[usize]) -> Self {
        Self::from_strides(&broadcast::broadcast_strides(sizes, result))
    }

    /// The same elements with the axes in the order `perm`.
    pub(crate) fn permuted(&self, perm: &[usize]) -> Self {
        Self { offset: self.offset, strides: perm.iter().map(|axis| self.strides[*axis]).collect() }
    }

    fn from_strides(strides: &[usize]) -> Self {
        Self { offset: 0, strides: strides.iter().map(|stride| stride.cast_signed()).collect() }
    }
}

/// Whether a box of `sizes` laid out by `layout` is the start of a slice in row-major order.
pub(crate) fn is_dense(sizes: &[usize], layout: &Layout) -> bool {
    let axes = merged(sizes, &layout.strides, &Layout::dense(sizes).strides);
    layout.offset == 0 && matches!(axes.as_slice(), [axis] if axis.from == axis.to)
}

/// The box of `sizes` that `from` lays out in `source`, in row-major order.
pub(crate) fn read<L: Copy + Default + Send + Sync>(source: &[L], sizes: &[usize], from: &Layout) -> Vec<L> {
    let mut target = vec![L::default(); sizes.iter().product()];
    copy(sizes, (source, from), (&mut target, &Layout::dense(sizes)));
    target
}

/// Copies a box of `sizes` from one layout to the other. Strides of the target are not negative, and no two indices
/// share a place there. Both layouts must lie inside their slices.
pub(crate) fn copy<L: Copy + Send + Sync>(
    sizes: &[usize],
    (source, from): (&[L], &Layout),
    (target, to): (&mut [L], &Layout),
) {
    if sizes.contains(&0) {
        return;
    }
    let axes = merged(sizes, &from.strides, &to.strides);
    copy_axes(&axes, (source, from.offset), (target, to.offset));
}

/// An axis of a copy: how many elements, and how far apart they are on either side.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    from: isize,
    to: isize,
}

type Axes = SmallVec<[Axis; 6]>;

/// The axes of a copy without those of size 1, neighbors joined where both sides step through them as through one.
fn merged(sizes: &[usize], from: &[isize], to: &[isize]) -> Axes {
    let mut axes = Axes::new();
    for ((size, from), to) in sizes.iter().zip(from).zip(to) {
        let axis = Axis { size: *size, from: *from, to: *to };
        let span = axis.size.cast_signed();
        match axes.last_mut() {
            _ if axis.size == 1 => {}
            Some(outer) if outer.from == axis.from * span && outer.to == axis.to * span => {
                *outer = Axis { size: outer.size * axis.size, ..axis };
            }
            _ => axes.push(axis),
        }
    }
    if axes.is_empty() {
        axes.push(Axis { size: 1, from: 1, to: 1 });
    }
    axes
}

/// Elements from which on a copy is worth a second thread.
const PARALLEL: usize = 1 << 18;

/// Copies `axes`, halving the outermost one over threads while its halves are large and apart.
fn copy_axes<L: Copy + Send + Sync>(
    axes: &[Axis],
    (source, from): (&[L], usize),
    (target, to): (&mut [L], usize),
) {
    let elements: usize = axes.iter().map(|axis| axis.size).product();
    let inner_span: isize = axes[1..].iter().map(|axis| (axis.size.cast_signed() - 1) * axis.to).sum();
    let (outer, half) = (axes[0], axes[0].size / 2);
    if elements < PARALLEL || half == 0 || outer.to <= inner_span {
        return copy_boxes(axes, (source, from), (target, to));
    }
    let (mut low, mut high): (Axes, Axes) = (axes.into(), axes.into());
    low[0].size = half;
    high[0].size -= half;
    let middle = from.wrapping_add_signed(outer.from * half.cast_signed());
    let (first, second) = target.split_at_mut(to + half * outer.to.cast_unsigned());
    rayon::join(
        || copy_axes(&low, (source, from), (first, to)),
        || copy_axes(&high, (source, middle), (second, 0)),
    );
}

/// Copies `axes` as a sequence of two-dimensional boxes: the last axis, and the one that is contiguous in the source
/// where the last is not.
fn copy_boxes<L: Copy>(axes: &[Axis], (source, from): (&[L], usize), (target, to): (&mut [L], usize)) {
    let mut outer: Axes = axes.into();
    let Some(inner) = outer.pop() else { return };
    let contiguous =
        if matches!(inner.from, 0 | 1) { None } else { outer.iter().rposition(|axis| axis.from == 1) };
    // Without a better partner a box has the next axis out as its rows.
    let rows = match contiguous {
        Some(position) => outer.remove(position),
        None => outer.pop().unwrap_or(Axis { size: 1, from: 0, to: 0 }),
    };
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, outer.len());
    let (mut from, mut to) = (from, to);
    loop {
        copy_box([rows, inner], (source, from), (target, to));
        let mut position = outer.len();
        loop {
            if position == 0 {
                return;
            }
            position -= 1;
            let axis = outer[position];
            index[position] += 1;
            if index[position] < axis.size {
                from = from.wrapping_add_signed(axis.from);
                to = to.wrapping_add_signed(axis.to);
                break;
            }
            // Back to the start of this axis; the next outer one moves on.
            index[position] = 0;
            let back = axis.size.cast_signed() - 1;
            from = from.wrapping_add_signed(-axis.from * back);
            to = to.wrapping_add_signed(-axis.to * back);
        }
    }
}

/// Edge of the tiles in which strided boxes are copied: 16 rows of 16 words fill 16 cache lines on either side.
const TILE: usize = 16;

fn copy_box<L: Copy>(
    [rows, inner]: [Axis; 2],
    (source, from): (&[L], usize),
    (target, to): (&mut [L], usize),
) {
    let source_row = |row: usize| from.wrapping_add_signed(rows.from * row.cast_signed());
    let target_row = |row: usize| to.wrapping_add_signed(rows.to * row.cast_signed());
    match (inner.from, inner.to) {
        (1, 1) => {
            for row in 0..rows.size {
                let run = &source[source_row(row)..][..inner.size];
                target[target_row(row)..][..inner.size].copy_from_slice(run);
            }
        }
        (0, 1) => {
            for row in 0..rows.size {
                target[target_row(row)..][..inner.size].fill(source[source_row(row)]);
            }
        }
        _ => {
            for first_row in (0..rows.size).step_by(TILE) {
                for first in (0..inner.size).step_by(TILE) {
                    let count = TILE.min(inner.size - first);
                    for row in first_row..rows.size.min(first_row + TILE) {
                        let at = source_row(row).wrapping_add_signed(inner.from * first.cast_signed());
                        let place = target_row(row).wrapping_add_signed(inner.to * first.cast_signed());
                        copy_run(count, (source, at, inner.from), (target, place, inner.to));
                    }
                }
            }
        }
    }
}

/// Copies `count` elements with a stride on either side.
fn copy_run<L: Copy>(
    count: usize,
    (source, mut from, from_step): (&[L], usize, isize),
    (target, mut to, to_step): (&mut [L], usize, isize),
) {
    if to_step == 1 {
        for slot in &mut target[to..to + count] {
            *slot = source[from];
            from = from.wrapping_add_signed(from_step);
        }
        return;
    }
    for _ in 0..count {
        target[to] = source[from];
        from = from.wrapping_add_signed(from_step);
        to = to.wrapping_add_signed(to_step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The element at every index of a box, one by one.
    fn expected(source: &[u32], sizes: &[usize], from: &Layout) -> Vec<u32> {
        let mut result = Vec::new();
        let total: usize = sizes.iter().product();
        for number in 0..total {
            let (mut rest, mut at) = (number, from.offset.cast_signed());
            for axis in (0..sizes.len()).rev() {
                at += (rest % sizes[axis]).cast_signed() * from.strides[axis];
                rest /= sizes[axis];
            }
            result.push(source[at.cast_unsigned()]);
        }
        result
    }

    fn numbers(count: usize) -> Vec<u32> {
        (0..count as u32).collect()
    }

    #[test]
    fn a_matrix_is_transposed() {
        let layout = Layout::dense(&[2, 3]).permuted(&[1, 0]);
        assert_eq!(read(&numbers(6), &[3, 2], &layout), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn a_scalar_and_an_empty_box() {
        assert_eq!(read(&[7], &[], &Layout::dense(&[])), [7]);
        assert_eq!(read(&[7], &[2, 0], &Layout::dense(&[2, 0])), [0; 0]);
    }

    #[test]
    fn large_boxes_are_split_over_threads_without_a_seam() {
        let sizes = [3, 700, 301];
        let source = numbers(sizes.iter().product());
        for perm in [[0, 2, 1], [2, 1, 0], [1, 0, 2]] {
            let layout = Layout::dense(&sizes).permuted(&perm);
            let result = [sizes[perm[0]], sizes[perm[1]], sizes[perm[2]]];
            assert_eq!(read(&source, &result, &layout), expected(&source, &result, &layout), "{perm:?}");
        }
    }

    #[test]
    fn dense_layouts_are_told_from_others() {
        let dense = Layout::dense(&[2, 1, 3]);
        assert!(is_dense(&[2, 3, 1], &dense.permuted(&[0, 2, 1])));
        assert!(!is_dense(&[3, 1, 2], &dense.permuted(&[2, 1, 0])));
        assert!(!is_dense(&[2, 3], &Layout { offset: 1, ..Layout::dense(&[2, 3]) }));
        assert!(!is_dense(&[4], &Layout::stretched(&[1], &[4])));
    }

    proptest! {
        #[test]
        fn any_layout_reads_what_its_formula_says(
            axes in prop::collection::vec((1usize..20, 0u8..4), 0..5),
        ) {
            // Each axis is kept, reversed, taken every second element, or repeated.
            let sizes: Vec<usize> = axes.iter().map(|(size, _)| *size).collect();
            let mut layout = Layout::dense(&sizes);
            let mut result = sizes.clone();
            for (axis, (size, kind)) in axes.iter().enumerate() {
                let stride = layout.strides[axis];
                match kind {
                    0 => {}
                    1 => {
                        layout.offset += (size - 1) * stride.cast_unsigned();
                        layout.strides[axis] = -stride;
                    }
                    2 => {
                        layout.strides[axis] *= 2;
                        result[axis] = size.div_ceil(2);
                    }
                    _ => layout.strides[axis] = 0,
                }
            }
            prop_assume!(sizes.iter().product::<usize>() < 10_000);
            let source = numbers(sizes.iter().product());
            prop_assert_eq!(read(&source, &result, &layout), expected(&source, &result, &layout));
            let perm: Vec<usize> = (0..sizes.len()).rev().collect();
            let (layout, result) = (layout.permuted(&perm), result.into_iter().rev().collect::<Vec<_>>());
            prop_assert_eq!(read(&source, &result, &layout), expected(&source, &result, &layout));
        }
    }
}
