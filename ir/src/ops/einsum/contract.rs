//! Multiplying the operands of an `einsum` pair by pair, each pair as a stack of matrix products.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::equation::Label;
use crate::kernels::broadcast::{for_each_row, strides};
use crate::kernels::normalize;
use crate::ops::EvalError;
use crate::ops::products::{Term, stacked};
use crate::tensor::Number;

/// Elements beyond which a product of some of the operands is not formed: the result may be small all the same.
const MAX_INTERMEDIATE: usize = 1 << 25;

/// A tensor whose axes have labels, each label once. Axes of size 1 are left out: an element does not depend on them,
/// and so they stretch.
pub(super) struct View<'a, T: Clone> {
    values: Cow<'a, [T]>,
    axes: Vec<Axis>,
}

/// An axis of a [`View`].
#[derive(Clone, Copy, Debug)]
struct Axis {
    label: Label,
    size: usize,
    /// Elements between neighbors.
    stride: usize,
}

impl<'a, T: Term> View<'a, T> {
    /// A tensor of `sizes` with a label for each axis. Axes with the same label become their diagonal.
    pub(super) fn new(values: Cow<'a, [T]>, sizes: &[usize], labels: &[Label]) -> Self {
        let mut axes: Vec<Axis> = Vec::with_capacity(labels.len());
        for ((label, size), stride) in
            labels.iter().zip(sizes).zip(strides(sizes)).filter(|axis| *axis.0.1 != 1)
        {
            match axes.iter_mut().find(|axis| axis.label == *label) {
                Some(axis) => axis.stride += stride,
                None => axes.push(Axis { label: *label, size: *size, stride }),
            }
        }
        Self { values, axes }
    }

    /// A view of elements that lie in order.
    fn contiguous(values: Vec<T>, labels: &[(Label, usize)]) -> Self {
        let sizes: Vec<usize> = labels.iter().map(|(_, size)| *size).collect();
        let names: Vec<Label> = labels.iter().map(|(label, _)| *label).collect();
        Self::new(Cow::Owned(values), &sizes, &names)
    }

    fn axis(&self, label: Label) -> Option<&Axis> {
        self.axes.iter().find(|axis| axis.label == label)
    }

    fn has(&self, label: Label) -> bool {
        self.axis(label).is_some()
    }

    /// The axes whose labels are wanted, with their sizes.
    fn sized(&self, wanted: impl Fn(Label) -> bool) -> Vec<(Label, usize)> {
        self.axes.iter().filter(|axis| wanted(axis.label)).map(|axis| (axis.label, axis.size)).collect()
    }

    /// Whether the elements lie in the order of `labels`.
    fn lies_as(&self, labels: &[(Label, usize)]) -> bool {
        let sizes: SmallVec<[usize; 6]> = labels.iter().map(|(_, size)| *size).collect();
        let lies = |((label, size), stride): (&(Label, usize), usize)| {
            *size == 1 || self.axis(*label).is_some_and(|axis| axis.stride == stride)
        };
        product(labels) == self.values.len() && labels.iter().zip(strides(&sizes)).all(lies)
    }

    /// The elements in the order of `labels`; they are repeated along an axis that is not there.
    fn gather(&self, labels: &[(Label, usize)]) -> Cow<'_, [T]> {
        if self.lies_as(labels) {
            return Cow::Borrowed(&self.values);
        }
        let sizes: SmallVec<[usize; 6]> = labels.iter().map(|(_, size)| *size).collect();
        let stride = |(label, _): &(Label, usize)| self.axis(*label).map_or(0, |axis| axis.stride);
        let steps: SmallVec<[usize; 6]> = labels.iter().map(stride).collect();
        let (row, step) = (sizes.last().copied().unwrap_or(1), steps.last().copied().unwrap_or(0));
        let mut gathered = Vec::with_capacity(sizes.iter().product());
        for_each_row(&sizes, [&steps], |[start]| match step {
            1 => gathered.extend_from_slice(&self.values[start..start + row]),
            _ => gathered.extend((0..row).map(|place| self.values[start + place * step])),
        });
        Cow::Owned(gathered)
    }

    /// The sums over the axes that `keep` does not want.
    fn summed(self, keep: impl Fn(Label) -> bool) -> Self {
        let (kept, dropped) = (self.sized(&keep), self.sized(|label| !keep(label)));
        if dropped.is_empty() {
            return self;
        }
        let run = product(&dropped);
        let ordered = self.gather(&[kept.as_slice(), &dropped].concat());
        // No elements sum to 0.
        let sums = if run == 0 {
            vec![T::default(); product(&kept)]
        } else {
            ordered.chunks(run).map(total).collect()
        };
        Self::contiguous(sums, &kept)
    }
}

/// The sums of products of all operands, in the order of `result`, whose axes have `sizes`.
pub(super) fn contract<T: Term>(
    views: Vec<View<'_, T>>,
    result: &[Label],
    sizes: &[usize],
) -> Result<Vec<T>, EvalError> {
    let mut left: Vec<View<'_, T>> = views;
    left.reverse();
    let Some(mut done) = left.pop() else {
        return Err(EvalError::Unsupported("an equation without operands".to_owned()));
    };
    while let Some(next) = left.pop() {
        let needed = |label: Label| result.contains(&label) || left.iter().any(|view| view.has(label));
        done = pair(done, next, needed, left.is_empty())?;
    }
    let done = done.summed(|label| result.contains(&label));
    let labels: Vec<(Label, usize)> = result.iter().copied().zip(sizes.iter().copied()).collect();
    Ok(if done.lies_as(&labels) { done.values.into_owned() } else { done.gather(&labels).into_owned() })
}

/// The product of two operands, summed over the labels that are not `needed` any more.
fn pair<'a, T: Term>(
    a: View<'a, T>,
    b: View<'a, T>,
    needed: impl Fn(Label) -> bool,
    last: bool,
) -> Result<View<'a, T>, EvalError> {
    // What only one of them has is summed before, which keeps the matrices small.
    let a = a.summed(|label| needed(label) || b.has(label));
    let b = b.summed(|label| needed(label) || a.has(label));
    let batch = a.sized(|label| b.has(label) && needed(label));
    let inner = a.sized(|label| b.has(label) && !needed(label));
    let rows = a.sized(|label| !b.has(label));
    let columns = b.sized(|label| !a.has(label));
    let labels = [batch.as_slice(), &rows, &columns].concat();
    let whole = labels.iter().try_fold(1usize, |product, (_, size)| product.checked_mul((*size).max(1)));
    if !last && whole.is_none_or(|whole| whole > MAX_INTERMEDIATE) {
        return Err(EvalError::Unsupported(format!(
            "an equation whose operands, multiplied from left to right, make a tensor of more than {MAX_INTERMEDIATE} \
             elements on the way"
        )));
    }
    let [count, m, k, n] = [&batch, &rows, &inner, &columns].map(|labels| product(labels));
    let lhs = a.gather(&[batch.as_slice(), &rows, &inner].concat());
    let rhs = b.gather(&[batch.as_slice(), &inner, &columns].concat());
    Ok(View::contiguous(stacked((&lhs, &[count, m, k]), (&rhs, &[count, k, n]))?, &labels))
}

/// The sum of `run`; that of floats is formed in `f64`.
fn total<T: Term>(run: &[T]) -> T {
    if T::IS_FLOAT {
        return T::from_f64(normalize::sum(run, |value| value));
    }
    run.iter().fold(T::default(), |sum, value| <T as Number>::add(sum, *value))
}

fn product(labels: &[(Label, usize)]) -> usize {
    labels.iter().map(|(_, size)| *size).product()
}
