//! Means, variances and norms, summed in `f64`, and the scaling that follows them.
//!
//! Sums are formed in a fixed order that does not depend on the number of threads.

use super::broadcast::{broadcast_strides, for_each_row, strides};
use crate::tensor::{Number, Sizes};

/// Sums that run beside each other, so that one addition need not wait for the one before.
const LANES: usize = 8;

/// Mean and population variance of `values`; not numbers when there are none.
pub(crate) fn moments<T: Number>(values: &[T]) -> (f64, f64) {
    let mean = sum(values, |value| value) / values.len() as f64;
    let variance = sum(values, |value| (value - mean) * (value - mean)) / values.len() as f64;
    (mean, variance)
}

/// Mean of the squares of `values`; not a number when there are none.
pub(crate) fn mean_square<T: Number>(values: &[T]) -> f64 {
    sum(values, |value| value * value) / values.len() as f64
}

/// The sum of `function` of each value.
pub(crate) fn sum<T: Number>(values: &[T], function: impl Fn(f64) -> f64) -> f64 {
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|value| function(value.to_f64())).sum();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += function(value.to_f64()));
    }
    lanes.iter().sum::<f64>() + rest
}

/// What a normalized value is multiplied by and what is added to it, one entry for each place in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowAffine<'a> {
    /// Factors.
    pub(crate) scale: &'a [f64],
    /// Addends, if there are any.
    pub(crate) bias: Option<&'a [f64]>,
}

/// Replaces each value `x` of a row by `(x - mean) * factor * scale + bias`.
pub(crate) fn rescale_row<T: Number>(row: &mut [T], mean: f64, factor: f64, affine: RowAffine<'_>) {
    let normalize = |value: T, scale: f64| (value.to_f64() - mean) * factor * scale;
    let scaled = row.iter_mut().zip(affine.scale);
    match affine.bias {
        Some(bias) => scaled.zip(bias).for_each(|((value, scale), bias)| {
            *value = T::from_f64(normalize(*value, *scale) + bias);
        }),
        None => scaled.for_each(|(value, scale)| *value = T::from_f64(normalize(*value, *scale))),
    }
}

/// Replaces each value `x` of a run that shares one scale and bias by `(x - mean) * factor + bias`.
pub(crate) fn rescale_run<T: Number>(run: &mut [T], mean: f64, factor: f64, bias: f64) {
    for value in run {
        *value = T::from_f64((value.to_f64() - mean) * factor + bias);
    }
}

/// Which statistic each element of a tensor belongs to, when statistics are taken over some of its axes.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    sizes: Sizes,
    groups: Sizes,
}

impl Groups {
    /// Statistics over the axes `axes` of a tensor of `sizes`.
    pub(crate) fn over(axes: &[usize], sizes: &[usize]) -> Self {
        let kept = |(axis, size): (usize, &usize)| if axes.contains(&axis) { 1 } else { *size };
        Self { sizes: sizes.into(), groups: sizes.iter().enumerate().map(kept).collect() }
    }

    /// Number of statistics.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().product()
    }

    /// Number of elements that go into one statistic.
    pub(crate) fn elements(&self) -> usize {
        let reduced = self.sizes.iter().zip(&self.groups).filter(|(size, kept)| size != kept);
        reduced.map(|(size, _)| *size).product()
    }

    /// Calls `visit` with the places of each element and of its statistic, in order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let (own, group) = (strides(&self.sizes), broadcast_strides(&self.groups, &self.sizes));
        let row = self.sizes.last().copied().unwrap_or(1);
        let step = group.last().copied().unwrap_or(0);
        for_each_row(&self.sizes, [&own, &group], |[start, first]| {
            (0..row).for_each(|place| visit(start + place, first + place * step));
        });
    }

    /// For each statistic, the sum of `function` of its elements; `function` also sees which statistic it is.
    pub(crate) fn sums<T: Number>(&self, values: &[T], function: impl Fn(f64, usize) -> f64) -> Vec<f64> {
        let mut sums = vec![0.0; self.len()];
        self.for_each(|place, group| sums[group] += function(values[place].to_f64(), group));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_of_a_few_numbers() {
        assert_eq!(moments(&[1.0f32, 2.0, 3.0, 6.0]), (3.0, 3.5));
        assert!(moments::<f32>(&[]).0.is_nan());
        assert_eq!(mean_square(&[3.0f32, -1.0]), 5.0);
    }

    #[test]
    fn a_large_mean_does_not_swallow_the_variance() {
        let values: Vec<f32> = (0..100_000).map(|index| 8e6 + (index % 2) as f32).collect();
        assert_eq!(moments(&values), (8e6 + 0.5, 0.25));
    }

    #[test]
    fn groups_over_outer_and_inner_axes() {
        let values = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let sums = |axes: &[usize]| Groups::over(axes, &[2, 3]).sums(&values, |value, _| value);
        assert_eq!(sums(&[0]), [5.0, 7.0, 9.0]);
        assert_eq!(sums(&[1]), [6.0, 15.0]);
        assert_eq!(sums(&[0, 1]), [21.0]);
        assert_eq!(Groups::over(&[0, 1], &[2, 3]).elements(), 6);
        assert_eq!(Groups::over(&[], &[]).sums(&[7.0f32], |value, _| value), [7.0]);
    }

    proptest! {
        #[test]
        fn sums_in_lanes_are_sums(values in prop::collection::vec(-100i32..100, 0..40)) {
            let exact: i32 = values.iter().sum();
            let found = sum(&values, |value| value);
            prop_assert_eq!(found, f64::from(exact));
        }
    }
}
