//! `deform_conv`: a convolution whose taps are moved by offsets that are computed for each place.
//!
//! `y[n, o, p] = b[o] + sum over c, k of w[o, c, k] * mask[n, g, k, p] * x[n, c, p * stride - pad + k * dilation +
//! offset[n, g, k, p]]`, where `x` is interpolated linearly between elements and zero outside, and `g` is the offset
//! group of channel `c`.
//!
//! - `x` is `[batch, channels, d1, .., dr]` with up to three spatial axes, `w` `[results, channels / group, k1, .., kr]`.
//! - `offset` is `[batch, offset_group * k1 * .. * kr * r, o1, .., or]`: for each tap, an offset along each axis.
//! - `b` is `[results]`, `mask` `[batch, offset_group * k1 * .. * kr, o1, .., or]`.

use rayon::prelude::*;
use smallvec::SmallVec;

use super::window::Sliding;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, single};
use super::{sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::matmul::{Element as Factor, Store, Threads, multiply};
use crate::kernels::matrix::{Matrix, MatrixMut};
use crate::kernels::sample::{Taps, corners, inside, linear};
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeformConv {
    /// Elements between one place of the window and the next, per spatial axis; empty for 1.
    pub strides: Vec<u64>,
    /// Elements that are missing before each spatial axis, then after each; empty for none.
    pub pads: Vec<u64>,
    /// Elements between the taps of the window before offsets, per spatial axis; empty for 1.
    pub dilations: Vec<u64>,
    /// Groups that the channels and results fall into.
    pub group: u64,
    /// Groups of channels that share offsets.
    pub offset_group: u64,
}

impl Default for DeformConv {
    fn default() -> Self {
        Self { strides: Vec::new(), pads: Vec::new(), dilations: Vec::new(), group: 1, offset_group: 1 }
    }
}

const W: usize = 1;
const OFFSET: usize = 2;
const BIAS: usize = 3;
const MASK: usize = 4;

impl OpDef for DeformConv {
    const NAME: &'static str = "deform_conv";
    const OPERANDS: &'static [Operand] =
        &[one("x"), one("w"), one("offset"), optional("b"), optional("mask")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("strides", &mut self.strides)?;
        visitor.attr("pads", &mut self.pads)?;
        visitor.attr("dilations", &mut self.dilations)?;
        visitor.attr("group", &mut self.group)?;
        visitor.attr("offset_group", &mut self.offset_group)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        if !(3..=5).contains(&x.rank()) {
            return Err(operands.mismatch(0, "a batch, channels and one to three spatial axes"));
        }
        for index in (W..=MASK).filter(|index| operands.has(*index)) {
            operands.same_dtype(index, 0)?;
        }
        let w = &operands.ranked(W, x.rank())?.shape;
        let axes = x.rank() - 2;
        let sliding = Sliding::new(axes, &self.strides, &self.pads, &self.dilations)?;
        self.check_groups(operands, w)?;
        let taps = w[2..].iter().try_fold(1u64, |taps, size| taps.checked_mul(size.known()?));
        let taps = taps.and_then(|taps| taps.checked_mul(self.offset_group));
        let mut shape = Shape::from_iter([x.shape[0].clone(), w[0].clone()]);
        let offset = &operands.ranked(OFFSET, x.rank())?.shape;
        for axis in 0..axes {
            let places = sliding.places(operands, axis, [&x.shape[axis + 2], &w[axis + 2]], false)?;
            shape.0.push(operands.same_dim(OFFSET, &offset[axis + 2], &places)?);
        }
        check_computed(operands, OFFSET, &shape, taps.and_then(|taps| taps.checked_mul(axes as u64)))?;
        if operands.has(MASK) {
            operands.ranked(MASK, x.rank())?;
            check_computed(operands, MASK, &shape, taps)?;
        }
        if operands.has(BIAS) {
            operands.same_dim(BIAS, &operands.ranked(BIAS, 1)?.shape[0], &w[0])?;
        }
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl DeformConv {
    /// Checks that the groups divide channels and results.
    fn check_groups(&self, operands: &Operands<'_>, w: &Shape) -> Result<(), InferError> {
        for (attr, groups) in [("group", self.group), ("offset_group", self.offset_group)] {
            if !(1..=1 << 32).contains(&groups) {
                let expected = "a positive number of groups".to_owned();
                return Err(InferError::Attribute { attr, found: groups.to_string(), expected });
            }
        }
        let channels = operands.ty(0)?.shape[1].known();
        if channels.is_some_and(|channels| channels % self.offset_group != 0) {
            return Err(operands.mismatch(0, format!("channels that {} offset groups divide", self.offset_group)));
        }
        let per_group = channels.map(|channels| (channels % self.group == 0).then(|| channels / self.group));
        if per_group.zip(w[1].known()).is_some_and(|(expected, found)| expected != Some(found)) {
            return Err(operands.mismatch(W, format!("the channels of `x` in {} groups", self.group)));
        }
        if w[0].known().is_some_and(|results| results % self.group != 0) {
            return Err(operands.mismatch(W, format!("results that {} groups divide", self.group)));
        }
        Ok(())
    }

    fn evaluate<T>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError>
    where
        T: Number + Factor<Sum = T>,
    {
        let (x, w) = (operands.tensor(0)?, operands.tensor(W)?);
        let sizes = sizes_of(ty)?;
        let axes = x.rank() - 2;
        let places: usize = sizes[2..].iter().product();
        let taps: usize = w.sizes()[2..].iter().product();
        let mask = operands.optional(MASK).map(Tensor::to_compute::<T>).transpose()?;
        let problem = Problem {
            op: self,
            sliding: Sliding::new(axes, &self.strides, &self.pads, &self.dilations)?,
            x: &x.to_compute::<T>()?,
            offset: &operands.tensor(OFFSET)?.to_compute::<T>()?,
            mask: mask.as_deref(),
            channels: x.sizes()[1],
            sizes: &x.sizes()[2..],
            kernel: &w.sizes()[2..],
            places: &sizes[2..],
        };
        let weights = w.to_compute::<T>()?;
        let bias = operands.optional(BIAS).map(Tensor::to_compute::<T>).transpose()?;
        let mut y = vec![T::default(); sizes.iter().product()];
        if y.is_empty() {
            return Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?));
        }
        let group = self.group as usize;
        let (depth, results) = (w.sizes()[1] * taps, sizes[1] / group);
        for (sample, y) in y.chunks_exact_mut(sizes[1] * places).enumerate() {
            let columns = problem.columns(sample);
            for (index, y) in y.chunks_exact_mut(results * places).enumerate() {
                if let Some(bias) = &bias {
                    let rows = y.chunks_exact_mut(places).zip(&bias[index * results..]);
                    rows.for_each(|(row, bias)| row.fill(*bias));
                }
                let weights = Matrix::row_major(&weights[index * results * depth..], results, depth)?;
                let columns = Matrix::row_major(&columns[index * depth * places..], depth, places)?;
                let mut target = MatrixMut::row_major(y, results, places)?;
                multiply(weights, columns, &mut target, Store::Add, Threads::All)?;
            }
        }
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?))
    }
}

/// What the columns of all samples are made of.
struct Problem<'a, T> {
    op: &'a DeformConv,
    sliding: Sliding,
    x: &'a [T],
    offset: &'a [T],
    mask: Option<&'a [T]>,
    channels: usize,
    sizes: &'a [usize],
    kernel: &'a [usize],
    places: &'a [usize],
}

impl<T: Number> Problem<'_, T> {
    /// What each tap of each channel reads at each place: `[channels, taps, places]`.
    fn columns(&self, sample: usize) -> Vec<T> {
        let (taps, places): (usize, usize) = (self.kernel.iter().product(), self.places.iter().product());
        let (plane, groups): (usize, usize) = (self.sizes.iter().product(), self.op.offset_group as usize);
        let per_group = self.channels / groups;
        let mut columns = vec![T::default(); self.channels * taps * places];
        if columns.is_empty() {
            return columns;
        }
        columns.par_chunks_exact_mut(taps * places).enumerate().for_each(|(channel, columns)| {
            let x = &self.x[(sample * self.channels + channel) * plane..][..plane];
            let group = sample * groups + channel / per_group;
            for (row, column) in columns.chunks_exact_mut(places).enumerate() {
                for (place, element) in column.iter_mut().enumerate() {
                    let mask = self.mask.map_or(T::ONE, |mask| mask[(group * taps + row) * places + place]);
                    *element = self.value(x, (group * taps + row) * places, row, place).mul(mask);
                }
            }
        });
        columns
    }

    /// `x` where tap `tap` reads it at `place`. `start` is where the taps' offsets would start if each had one number.
    fn value(&self, x: &[T], start: usize, tap: usize, place: usize) -> T {
        let axes = self.sizes.len();
        let places: usize = self.places.iter().product();
        let (taps, at) = (unravel(tap, self.kernel), unravel(place, self.places));
        let axis = |axis: usize| -> Taps {
            let offset = self.offset[start * axes + axis * places + place].to_f64();
            let whole = at[axis] * self.sliding.strides[axis] + taps[axis] * self.sliding.dilations[axis];
            let size = self.sizes[axis];
            let place = whole as f64 - self.sliding.pads_begin[axis] as f64 + offset;
            linear(place, move |index| inside(index, size))
        };
        let found: SmallVec<[Taps; 3]> = (0..axes).map(axis).collect();
        let products = corners(&found, self.sizes);
        products.iter().fold(T::default(), |sum, (place, weight)| sum.add(x[*place].mul(T::from_f64(*weight))))
    }
}

/// Checks the sizes of an operand that is computed for each place: `count` numbers for each.
fn check_computed(
    operands: &Operands<'_>,
    index: usize,
    result: &Shape,
    count: Option<u64>,
) -> Result<(), InferError> {
    let shape = &operands.ty(index)?.shape;
    operands.same_dim(index, &shape[0], &result[0])?;
    if let Some(count) = count {
        operands.same_dim(index, &shape[1], &Dim::Known(count))?;
    }
    for (own, places) in shape[2..].iter().zip(&result[2..]) {
        operands.same_dim(index, own, places)?;
    }
    Ok(())
}

/// The index along each axis of the element at `place`.
fn unravel(mut place: usize, sizes: &[usize]) -> SmallVec<[usize; 3]> {
    let mut index: SmallVec<[usize; 3]> = sizes.into();
    for (index, size) in index.iter_mut().zip(sizes).rev() {
        *index = place % size;
        place /= size;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Conv;
    use crate::ops::testing::{evaluate, evaluate_some, refused, tensor};

    fn wave(sizes: &[usize], step: f32) -> Tensor {
        let count: usize = sizes.iter().product();
        tensor(sizes, &(0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>())
    }

    #[test]
    fn without_offsets_it_is_a_convolution() {
        let (x, w, b) = (wave(&[2, 4, 5, 6], 0.3), wave(&[6, 2, 3, 2], 0.7), wave(&[6], 1.0));
        let (strides, pads, dilations) = (vec![2, 1], vec![1, 0, 2, 1], vec![1, 2]);
        let conv = Conv { strides: strides.clone(), pads: pads.clone(), dilations: dilations.clone(), group: 2, ..Conv::default() };
        let expected = evaluate(&conv.into(), &[&x, &w, &b]).remove(0);
        let offset = Tensor::zeros(x.dtype(), &[2, 2 * 6 * 2, expected.sizes()[2], expected.sizes()[3]]).expect("small");
        let op = DeformConv { strides, pads, dilations, group: 2, offset_group: 2 };
        let found = evaluate(&op.into(), &[&x, &w, &offset, &b]).remove(0);
        assert_eq!(found.sizes(), expected.sizes());
        let pairs = found.to_f64().expect("numbers").into_iter().zip(expected.to_f64().expect("numbers"));
        assert!(pairs.into_iter().all(|(found, expected)| (found - expected).abs() < 1e-5));
    }

    #[test]
    fn offsets_move_taps_and_masks_scale_them() {
        let (x, w) = (tensor(&[1, 1, 3], &[1.0, 2.0, 4.0]), tensor(&[1, 1, 1], &[1.0]));
        // Places 0.5, -0.5 and 5.
        let offset = tensor(&[1, 1, 3], &[0.5, -1.5, 3.0]);
        let run = |mask: Option<&Tensor>| {
            let operands = [Some(&x), Some(&w), Some(&offset), None, mask];
            evaluate_some(&DeformConv::default().into(), &operands).remove(0)
        };
        assert_eq!(run(None), tensor(&[1, 1, 3], &[1.5, 0.5, 0.0]));
        assert_eq!(run(Some(&tensor(&[1, 1, 3], &[2.0, 4.0, 1.0]))), tensor(&[1, 1, 3], &[3.0, 2.0, 0.0]));
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let (x, w) = (wave(&[1, 2, 3], 0.3), wave(&[2, 2, 1], 0.7));
        let op = DeformConv::default();
        assert!(refused(&op.clone().into(), &[&x, &w, &wave(&[1, 2, 3], 0.1)]).contains("`offset`"));
        assert!(refused(&op.into(), &[&x, &w, &wave(&[1, 1, 4], 0.1)]).contains("`offset`"));
        let groups = DeformConv { group: 0, ..DeformConv::default() };
        assert!(refused(&groups.into(), &[&x, &w, &wave(&[1, 1, 3], 0.1)]).contains("`group`"));
        let groups = DeformConv { offset_group: 3, ..DeformConv::default() };
        assert!(refused(&groups.into(), &[&x, &w, &wave(&[1, 3, 3], 0.1)]).contains("offset groups"));
    }
}
