//! Folding the elements along some axes of a tensor.

use smallvec::SmallVec;

use super::broadcast::strides;
use super::map;
use super::walk::Walk;

/// Results that are computed side by side at least.
const ROW: usize = 256;

/// Which elements of a tensor make which element of the result.
pub(crate) struct Reduction {
    kept: Walk<1>,
    reduced: Walk<1>,
}

impl Reduction {
    /// Reduces the axes of a tensor of `sizes` for which `reduced` says so.
    pub(crate) fn new(sizes: &[usize], reduced: &[bool]) -> Self {
        let strides = strides(sizes);
        let part = |which: bool| {
            let axes = (0..sizes.len()).filter(|axis| reduced[*axis] == which);
            let (sizes, strides): (SmallVec<[usize; 6]>, SmallVec<[usize; 6]>) =
                axes.map(|axis| (sizes[axis], strides[axis])).unzip();
            Walk::new(&sizes, [&strides])
        };
        Self { kept: part(false), reduced: part(true) }
    }

    /// Number of elements that make one element of the result.
    pub(crate) fn count(&self) -> usize {
        self.reduced.len()
    }

    /// The result: elements folded one after the other into `start` by `step`, in the order in which they are stored.
    pub(crate) fn fold<T, A, R>(
        &self,
        elements: &[T],
        start: A,
        step: impl Fn(A, T) -> A + Sync,
        finish: impl Fn(A) -> R + Sync,
    ) -> Vec<R>
    where
        T: Copy + Sync,
        A: Copy + Send + Sync,
        R: Clone + Default + Send,
    {
        // Side by side, results of some rows share what is read from memory at a time.
        let group = if self.reduced.steps()[0] == 1 { 1 } else { ROW };
        map::fill_groups(
            self.kept.len(),
            group,
            self.count().saturating_mul(group),
            &|first, part: &mut [R]| {
                self.kept.runs(first..first + part.len(), &mut |[base], at, length| {
                    let results = &mut part[at..at + length];
                    if self.reduced.steps()[0] == 1 {
                        self.fold_lines(elements, base, results, start, &step, &finish);
                    } else {
                        self.fold_rows(elements, base, results, start, &step, &finish);
                    }
                });
            },
        )
    }

    /// One result after the other: elements of one result are neighbors.
    fn fold_lines<T: Copy, A: Copy, R>(
        &self,
        elements: &[T],
        base: usize,
        results: &mut [R],
        start: A,
        step: &impl Fn(A, T) -> A,
        finish: &impl Fn(A) -> R,
    ) {
        for (place, result) in results.iter_mut().enumerate() {
            let from = base + place * self.kept.steps()[0];
            let mut sum = start;
            self.reduced.runs(0..self.reduced.len(), &mut |[offset], _, length| {
                sum = elements[from + offset..][..length].iter().fold(sum, |sum, x| step(sum, *x));
            });
            *result = finish(sum);
        }
    }

    /// All results of a run side by side: elements of neighboring results are neighbors.
    fn fold_rows<T: Copy, A: Copy, R>(
        &self,
        elements: &[T],
        base: usize,
        results: &mut [R],
        start: A,
        step: &impl Fn(A, T) -> A,
        finish: &impl Fn(A) -> R,
    ) {
        let stride = self.reduced.steps()[0];
        let spread = self.kept.steps()[0];
        let mut sums = vec![start; results.len()];
        self.reduced.runs(0..self.reduced.len(), &mut |[offset], _, length| {
            for place in 0..length {
                let row = base + offset + place * stride;
                for (position, sum) in sums.iter_mut().enumerate() {
                    *sum = step(*sum, elements[row + position * spread]);
                }
            }
        });
        results.iter_mut().zip(sums).for_each(|(result, sum)| *result = finish(sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(sizes: &[usize], reduced: &[bool]) -> Vec<usize> {
        let elements: Vec<usize> = (0..sizes.iter().product()).collect();
        Reduction::new(sizes, reduced).fold(&elements, 0, |sum, x| sum + x, |sum| sum)
    }

    #[test]
    fn each_choice_of_axes() {
        assert_eq!(sum(&[2, 3], &[false, true]), [3, 12]);
        assert_eq!(sum(&[2, 3], &[true, false]), [3, 5, 7]);
        assert_eq!(sum(&[2, 3], &[true, true]), [15]);
        assert_eq!(sum(&[2, 3], &[false, false]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sum(&[2, 2, 2, 2], &[true, false, true, false]), [20, 24, 36, 40]);
        assert_eq!(sum(&[2, 2, 2, 2], &[false, true, false, true]), [10, 18, 42, 50]);
    }

    #[test]
    fn no_elements_give_the_start_or_no_results() {
        assert_eq!(sum(&[2, 0], &[false, true]), [0, 0]);
        assert_eq!(sum(&[0, 2], &[true, true]), [0]);
        assert_eq!(sum(&[0, 2], &[false, true]), [0usize; 0]);
        assert_eq!(sum(&[], &[]), [0]);
    }
}
