//! Working along one axis of a tensor: each line of elements on its own.

use super::map;

/// A tensor of `sizes` whose lines along `axis`, of `n` elements, become lines of `length` elements by `line`.
///
/// `line` gets the elements in order and writes all of the result; lines are independent of each other.
pub(crate) fn map_along<T: Copy + Default + Sync, R: Copy + Default + Send>(
    elements: &[T],
    sizes: &[usize],
    axis: usize,
    length: usize,
    line: &(dyn Fn(&[T], &mut [R]) + Sync),
) -> Vec<R> {
    let n = sizes[axis];
    let inner: usize = sizes[axis + 1..].iter().product();
    let outer: usize = sizes[..axis].iter().product();
    if outer * inner * length == 0 {
        return Vec::new();
    }
    // A block holds all lines that differ in their inner position only; in it they are interleaved.
    map::fill_groups(
        outer * length * inner,
        length * inner,
        length.max(n) * inner,
        &|start, part: &mut [R]| {
            let first = start / (length * inner);
            for (block, result) in part.chunks_exact_mut(length * inner).enumerate() {
                let source = &elements[(first + block) * n * inner..][..n * inner];
                if inner == 1 {
                    line(source, result);
                } else {
                    interleaved(source, result, inner, n, line);
                }
            }
        },
    )
}

/// One block of [`map_along`]: line `i` is every `inner`-th element from `i` on.
fn interleaved<T: Copy + Default, R: Copy + Default>(
    source: &[T],
    result: &mut [R],
    inner: usize,
    n: usize,
    line: &dyn Fn(&[T], &mut [R]),
) {
    let mut from = vec![T::default(); n];
    let mut to = vec![R::default(); result.len() / inner];
    for position in 0..inner {
        for (place, element) in from.iter_mut().enumerate() {
            *element = source[place * inner + position];
        }
        line(&from, &mut to);
        for (place, element) in to.iter().enumerate() {
            result[place * inner + position] = *element;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reversed(line: &[i32], result: &mut [i32]) {
        result.copy_from_slice(line);
        result.reverse();
    }

    #[test]
    fn lines_of_each_axis() {
        let x: Vec<i32> = (0..12).collect();
        assert_eq!(map_along(&x, &[2, 3, 2], 0, 2, &reversed), [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]);
        assert_eq!(map_along(&x, &[2, 3, 2], 1, 3, &reversed), [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7]);
        assert_eq!(map_along(&x, &[2, 3, 2], 2, 2, &reversed), [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]);
    }

    #[test]
    fn lines_may_shrink_to_one_element_and_be_empty() {
        let sum = |line: &[i32], result: &mut [i32]| result.fill(line.iter().sum());
        assert_eq!(map_along(&[1, 2, 3, 4, 5, 6], &[3, 2], 0, 1, &sum), [9, 12]);
        assert_eq!(map_along(&[], &[0, 2], 0, 1, &sum), [0, 0]);
        assert_eq!(map_along(&[], &[2, 0], 0, 1, &sum), [0i32; 0]);
    }
}
