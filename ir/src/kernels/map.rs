//! Computing the elements of a result in parallel.
//!
//! Work is cut into chunks of fixed length and every element is computed on its own, so neither the number of threads
//! nor their timing shows in a result.

use rayon::prelude::*;

/// Elements per piece of work: enough to outweigh the cost of handing it to a thread.
const CHUNK: usize = 1 << 14;

/// Computes a chunk of a result: gets the position of its first element, and the chunk.
///
/// Kernels hand their loops over behind this pointer, so that what surrounds them is compiled once for each type and not
/// once for each function; it is followed once in thousands of elements.
pub(crate) type FillChunk<'a, R> = &'a (dyn Fn(usize, &mut [R]) + Sync);

/// A vector of `length` elements.
pub(crate) fn fill<R: Clone + Default + Send>(length: usize, fill: FillChunk<'_, R>) -> Vec<R> {
    fill_groups(length, 1, 1, fill)
}

/// As [`fill`], with chunks that hold whole groups of `group` elements, but for the last, which ends with the result. Each
/// group is as much work as `work` elements are.
pub(crate) fn fill_groups<R: Clone + Default + Send>(
    length: usize,
    group: usize,
    work: usize,
    fill: FillChunk<'_, R>,
) -> Vec<R> {
    let mut result = vec![R::default(); length];
    let chunk = (CHUNK / work.max(1)).max(1) * group.max(1);
    if length <= chunk {
        fill(0, &mut result);
    } else {
        result.par_chunks_mut(chunk).enumerate().for_each(|(index, part)| fill(index * chunk, part));
    }
    result
}

/// `function` of each element.
pub(crate) fn map<T: Copy + Sync, R: Clone + Default + Send>(
    values: &[T],
    function: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    fill(values.len(), &|start, part: &mut [R]| {
        for (result, value) in part.iter_mut().zip(&values[start..]) {
            *result = function(*value);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_in_order() {
        let values: Vec<u32> = (0..3 * CHUNK as u32 + 7).collect();
        assert_eq!(map(&values, |value| value * 2), values.iter().map(|value| value * 2).collect::<Vec<_>>());
        assert_eq!(map(&[] as &[u32], |value| value), [0u32; 0]);
    }

    #[test]
    fn groups_are_not_split() {
        let group = CHUNK + 1;
        let starts = fill_groups(3 * group, group, group, &|start, part: &mut [usize]| part.fill(start));
        let expected: Vec<usize> = (0..3 * group).map(|at| at / group * group).collect();
        assert!(starts == expected, "each chunk is a group of {group}");
    }
}
