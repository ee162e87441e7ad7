//! Reading an axis at other places: copies of single elements, or weighted sums of a few.
//!
//! A tensor is seen as `[outer, length, inner]` around the axis; the result is `[outer, count, inner]`.

use rayon::prelude::*;

use crate::tensor::Number;

/// Elements below which a second thread costs more than it saves.
const PARALLEL_ELEMENTS: usize = 1 << 15;

/// For each place along the axis of the result, the places it is a weighted sum of.
#[derive(Clone, Debug)]
pub(crate) struct Taps<T> {
    /// Places in a sum, the same number for each; at least one.
    pub(crate) width: usize,
    /// Places of the operand, `width` for each place of the result; each below the operand's length.
    pub(crate) places: Vec<usize>,
    /// The weights of `places`.
    pub(crate) weights: Vec<T>,
}

/// The elements at `places` along the middle axis of `[outer, length, inner]`; each place is below `length`.
pub(crate) fn gather<T: Copy + Default + Send + Sync>(
    values: &[T],
    [outer, length, inner]: [usize; 3],
    places: &[usize],
) -> Vec<T> {
    let block = places.len() * inner;
    let mut result = vec![T::default(); outer * block];
    let fill = |source: &[T], target: &mut [T]| {
        if inner == 1 {
            target.iter_mut().zip(places).for_each(|(element, place)| *element = source[*place]);
            return;
        }
        for (row, place) in target.chunks_exact_mut(inner).zip(places) {
            row.copy_from_slice(&source[place * inner..][..inner]);
        }
    };
    for_each_block(values, length * inner, &mut result, block, fill);
    result
}

/// The sums that `taps` describes along the middle axis of `[outer, length, inner]`.
pub(crate) fn weighted<T: Number>(
    values: &[T],
    [outer, length, inner]: [usize; 3],
    taps: &Taps<T>,
) -> Vec<T> {
    let block = taps.places.len() / taps.width * inner;
    let mut result = vec![T::default(); outer * block];
    let sums = || taps.places.chunks_exact(taps.width).zip(taps.weights.chunks_exact(taps.width));
    let fill = |source: &[T], target: &mut [T]| {
        if inner == 1 {
            for (element, (places, weights)) in target.iter_mut().zip(sums()) {
                let products = places.iter().zip(weights).map(|(place, weight)| source[*place].mul(*weight));
                *element = products.fold(T::default(), Number::add);
            }
            return;
        }
        for (row, (places, weights)) in target.chunks_exact_mut(inner).zip(sums()) {
            for (place, weight) in places.iter().zip(weights) {
                let source = &source[place * inner..][..inner];
                row.iter_mut().zip(source).for_each(|(sum, value)| *sum = sum.add(value.mul(*weight)));
            }
        }
    };
    for_each_block(values, length * inner, &mut result, block, fill);
    result
}

/// Calls `fill` with each block of the operand and of the result, over threads when there is enough to do.
fn for_each_block<T: Copy + Send + Sync>(
    values: &[T],
    source_block: usize,
    result: &mut [T],
    block: usize,
    fill: impl Fn(&[T], &mut [T]) + Send + Sync,
) {
    if result.is_empty() {
        return;
    }
    let source = |index: usize| &values[index * source_block..][..source_block];
    if result.len() < PARALLEL_ELEMENTS {
        result.chunks_exact_mut(block).enumerate().for_each(|(index, target)| fill(source(index), target));
    } else {
        let blocks = result.par_chunks_exact_mut(block).enumerate();
        blocks.for_each(|(index, target)| fill(source(index), target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_on_an_inner_and_on_the_last_axis() {
        let values = [1, 2, 3, 4];
        assert_eq!(gather(&values, [1, 2, 2], &[1, 1, 0]), [3, 4, 3, 4, 1, 2]);
        assert_eq!(gather(&values, [2, 2, 1], &[1, 0, 0]), [2, 1, 1, 4, 3, 3]);
        assert_eq!(gather(&values, [2, 2, 1], &[]), [0; 0]);
    }

    #[test]
    fn sums_the_same_on_any_axis() {
        let taps = Taps { width: 2, places: vec![0, 1, 1, 1], weights: vec![0.25f32, 0.75, 0.5, 0.5] };
        assert_eq!(weighted(&[4.0, 8.0], [1, 2, 1], &taps), [7.0, 8.0]);
        assert_eq!(weighted(&[4.0, 0.0, 8.0, 1.0], [1, 2, 2], &taps), [7.0, 0.75, 8.0, 1.0]);
    }
}
