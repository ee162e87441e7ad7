//! Walking operands of different sizes together.

use smallvec::SmallVec;

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
pub(crate) fn zip<A: Copy, B: Copy, R>(
    a: (&[A], &[usize]),
    b: (&[B], &[usize]),
    sizes: &[usize],
    combine: impl Fn(A, B) -> R,
) -> Vec<R> {
    if a.1 == b.1 {
        return a.0.iter().zip(b.0).map(|(x, y)| combine(*x, *y)).collect();
    }
    let (a_strides, b_strides) = (broadcast_strides(a.1, sizes), broadcast_strides(b.1, sizes));
    let row = sizes.last().copied().unwrap_or(1);
    let (a_step, b_step) = (last(&a_strides), last(&b_strides));
    let mut result = Vec::with_capacity(sizes.iter().product());
    for_each_row(sizes, [&a_strides, &b_strides], |[a_at, b_at]| match (a_step, b_step) {
        (0, 0) => result.extend((0..row).map(|_| combine(a.0[a_at], b.0[b_at]))),
        (0, _) => result.extend(b.0[b_at..b_at + row].iter().map(|y| combine(a.0[a_at], *y))),
        (_, 0) => result.extend(a.0[a_at..a_at + row].iter().map(|x| combine(*x, b.0[b_at]))),
        _ => {
            let pairs = a.0[a_at..a_at + row].iter().zip(&b.0[b_at..b_at + row]);
            result.extend(pairs.map(|(x, y)| combine(*x, *y)));
        }
    });
    result
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
}
