//! Walking operands of different sizes together.

use smallvec::SmallVec;

use super::map;
use super::walk::Walk;

/// Distance in elements between neighbors along each axis of a row-major tensor.
pub(crate) fn strides(sizes: &[usize]) -> SmallVec<[usize; 6]> {
    let mut strides: SmallVec<[usize; 6]> = SmallVec::from_elem(1, sizes.len());
    for axis in (1..sizes.len()).rev() {
        strides[axis - 1] = strides[axis] * sizes[axis];
    }
    strides
}

/// Strides with which a tensor of `sizes` is read as one of `result` sizes: 0 along stretched axes.
pub(crate) fn broadcast_strides(sizes: &[usize], result: &[usize]) -> SmallVec<[usize; 6]> {
    let own = strides(sizes);
    let missing = result.len() - sizes.len();
    let stride = |axis: usize| {
        let own_axis = axis.checked_sub(missing)?;
        (sizes[own_axis] != 1).then(|| own[own_axis])
    };
    (0..result.len()).map(|axis| stride(axis).unwrap_or(0)).collect()
}

/// Calls `visit` with the offsets of each row (the last axis) of several tensors read as one of `sizes`, in row-major
/// order. `strides` has one entry per tensor.
pub(crate) fn for_each_row<const N: usize>(
    sizes: &[usize],
    strides: [&[usize]; N],
    mut visit: impl FnMut([usize; N]),
) {
    let outer = &sizes[..sizes.len().saturating_sub(1)];
    if sizes.contains(&0) {
        return;
    }
    let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, outer.len());
    let mut offsets = [0; N];
    loop {
        visit(offsets);
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < outer[axis] {
                (0..N).for_each(|tensor| offsets[tensor] += strides[tensor][axis]);
                break;
            }
            // Back to the start of this axis; the next outer one moves on.
            index[axis] = 0;
            (0..N).for_each(|tensor| offsets[tensor] -= strides[tensor][axis] * (outer[axis] - 1));
        }
    }
}

/// `combine` of each pair of elements of two tensors broadcast to `sizes`.
pub(crate) fn zip<A: Copy + Sync, B: Copy + Sync, R: Clone + Default + Send>(
    a: (&[A], &[usize]),
    b: (&[B], &[usize]),
    sizes: &[usize],
    combine: impl Fn(A, B) -> R + Sync,
) -> Vec<R> {
    zip_runs(a, b, sizes, &|run, a, b| match (a, b) {
        (Run::Each(a), Run::Each(b)) => {
            run.iter_mut().zip(a.iter().zip(b)).for_each(|(result, (x, y))| *result = combine(*x, *y));
        }
        (Run::Each(a), Run::Same(y)) => {
            run.iter_mut().zip(a).for_each(|(result, x)| *result = combine(*x, y));
        }
        (Run::Same(x), Run::Each(b)) => {
            run.iter_mut().zip(b).for_each(|(result, y)| *result = combine(x, *y));
        }
        (Run::Same(x), Run::Same(y)) => run.fill_with(|| combine(x, y)),
    })
}

/// The elements of a tensor of `sizes` stretched to `result` sizes.
pub(crate) fn stretch<A: Copy>(values: &[A], sizes: &[usize], result: &[usize]) -> Vec<A> {
    if sizes == result {
        return values.to_vec();
    }
    let strides = broadcast_strides(sizes, result);
    let row = result.last().copied().unwrap_or(1);
    let mut stretched = Vec::with_capacity(result.iter().product());
    for_each_row(result, [&strides], |[start]| match last(&strides) {
        0 => stretched.extend(std::iter::repeat_n(values[start], row)),
        _ => stretched.extend_from_slice(&values[start..start + row]),
    });
    stretched
}

fn last(strides: &[usize]) -> usize {
    strides.last().copied().unwrap_or(0)
}

/// Computes a run of results from what two operands contribute to it.
type FillRun<'a, A, B, R> = &'a (dyn Fn(&mut [R], Run<'_, A>, Run<'_, B>) + Sync);

fn zip_runs<A: Copy + Sync, B: Copy + Sync, R: Clone + Default + Send>(
    a: (&[A], &[usize]),
    b: (&[B], &[usize]),
    sizes: &[usize],
    fill_run: FillRun<'_, A, B, R>,
) -> Vec<R> {
    let walk = Walk::new(sizes, [&broadcast_strides(a.1, sizes), &broadcast_strides(b.1, sizes)]);
    let [a_step, b_step] = walk.steps();
    map::fill(walk.len(), &|start, part: &mut [R]| {
        walk.runs(start..start + part.len(), &mut |[a_at, b_at], at, length| {
            let (x, y) = (Run::new(a.0, a_at, a_step, length), Run::new(b.0, b_at, b_step, length));
            fill_run(&mut part[at..at + length], x, y);
        });
    })
}

/// Of each triple of elements broadcast to `sizes`, the second where the first holds, else the third.
pub(crate) fn select<A: Clone + Copy + Default + Send + Sync>(
    condition: (&[bool], &[usize]),
    a: (&[A], &[usize]),
    b: (&[A], &[usize]),
    sizes: &[usize],
) -> Vec<A> {
    let strides = [condition.1, a.1, b.1].map(|own| broadcast_strides(own, sizes));
    let walk = Walk::new(sizes, [&strides[0], &strides[1], &strides[2]]);
    let steps = walk.steps();
    map::fill(walk.len(), &|start, part: &mut [A]| {
        walk.runs(start..start + part.len(), &mut |offsets, at, length| {
            for (place, result) in part[at..at + length].iter_mut().enumerate() {
                let [at, x, y] = std::array::from_fn(|tensor| offsets[tensor] + place * steps[tensor]);
                *result = if condition.0[at] { a.0[x] } else { b.0[y] };
            }
        });
    })
}

/// The elements that an operand contributes to a run.
#[derive(Clone, Copy)]
enum Run<'a, T> {
    /// One for each position.
    Each(&'a [T]),
    /// The same for all positions.
    Same(T),
}

impl<'a, T: Copy> Run<'a, T> {
    /// `step` is 1, or 0 where the operand is stretched: row-major operands have no others along the last axis.
    fn new(elements: &'a [T], at: usize, step: usize, length: usize) -> Self {
        if step == 0 { Self::Same(elements[at]) } else { Self::Each(&elements[at..at + length]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_and_a_row_make_a_table() {
        let table = zip((&[10, 20], &[2, 1]), (&[1, 2, 3], &[3]), &[2, 3], |a, b| a + b);
        assert_eq!(table, [11, 12, 13, 21, 22, 23]);
    }

    #[test]
    fn rows_columns_and_scalars_stretch() {
        assert_eq!(stretch(&[1, 2], &[2], &[2, 2]), [1, 2, 1, 2]);
        assert_eq!(stretch(&[1, 2], &[2, 1], &[2, 2]), [1, 1, 2, 2]);
        assert_eq!(stretch(&[1], &[], &[1, 2]), [1, 1]);
        assert_eq!(stretch(&[1], &[1], &[0]), [0; 0]);
    }

    #[test]
    fn scalars_and_empty_tensors() {
        assert_eq!(zip((&[2], &[]), (&[3], &[]), &[], |a, b| a * b), [6]);
        assert_eq!(zip((&[2], &[1]), (&[] as &[i32], &[0]), &[0], |a, b| a * b), [0; 0]);
    }

    #[test]
    fn a_channel_bias_over_many_chunks() {
        let (channels, area) = (3, 20_000);
        let x: Vec<usize> = (0..channels * area).collect();
        let sum =
            zip((&x, &[1, channels, area]), (&[7, 8, 9], &[channels, 1]), &[1, channels, area], |a, b| a + b);
        let expected: Vec<usize> = x.iter().map(|at| at + 7 + at / area).collect();
        assert!(sum == expected, "each channel has its own bias");
    }

    #[test]
    fn three_operands_stretch_along_different_axes() {
        let picked = select((&[true, false], &[2, 1]), (&[1, 2, 3], &[3]), (&[-1], &[]), &[2, 3]);
        assert_eq!(picked, [1, 2, 3, -1, -1, -1]);
    }
}
