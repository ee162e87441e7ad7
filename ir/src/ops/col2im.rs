//! `col2im`: an image from the columns of its blocks; elements that several blocks cover are summed.
//!
//! `x` is `[batch, channels * block size, blocks]`, as a convolution lays out the blocks it reads; `image_shape` and
//! `block_shape` are vectors of sizes of the spatial axes. The result is `[batch, channels, image..]`. Integers wrap.

use smallvec::SmallVec;

use super::window::Sliding;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single};
use super::sizes_of;
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Col2Im {
    /// Elements between the elements of a block, per spatial axis; empty for 1.
    pub dilations: Vec<u64>,
    /// Elements that blocks reach beyond the image before each spatial axis, then after each; empty for none.
    pub pads: Vec<u64>,
    /// Elements between one block and the next, per spatial axis; empty for 1.
    pub strides: Vec<u64>,
}

const IMAGE: usize = 1;
const BLOCK: usize = 2;

impl OpDef for Col2Im {
    const NAME: &'static str = "col2im";
    const OPERANDS: &'static [Operand] = &[one("x"), one("image_shape"), one("block_shape")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("dilations", &mut self.dilations)?;
        visitor.attr("pads", &mut self.pads)?;
        visitor.attr("strides", &mut self.strides)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let dtype = rules::number(operands, 0)?.dtype;
        let x = &operands.ranked(0, 3)?.shape;
        for index in [IMAGE, BLOCK] {
            operands.one_of(index, &[DType::I64])?;
            operands.ranked(index, 1)?;
        }
        let axes = operands.same_dim(BLOCK, &operands.ty(BLOCK)?.shape[0], &operands.ty(IMAGE)?.shape[0])?;
        let axes = axes.known().filter(|axes| (1..32).contains(axes));
        let axes = axes.ok_or_else(|| operands.mismatch(IMAGE, "the sizes of a fixed number of axes"))? as usize;
        let sliding = Sliding::new(axes, &self.strides, &self.pads, &self.dilations)?;
        let block = sizes_in(operands, BLOCK)?;
        let image = match operands.symbolic(IMAGE) {
            Some(sizes) => {
                let dims = sizes.elements.into_iter().map(|size| operands.dim(IMAGE, Some(size)));
                dims.collect::<Result<Vec<Dim>, _>>()?
            }
            None => (0..axes).map(|_| operands.fresh()).collect(),
        };
        let mut channels = operands.fresh();
        if let Some(block) = &block {
            let elements = block.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
            channels = match (x[1].known(), elements) {
                (Some(rows), Some(elements)) if elements > 0 && rows % elements == 0 => Dim::Known(rows / elements),
                (None, Some(elements)) if elements > 0 => channels,
                _ => return Err(operands.mismatch(0, format!("rows for each element of blocks of {block:?}"))),
            };
            let mut blocks = Some(1u64);
            for (axis, (image, block)) in image.iter().zip(block).enumerate() {
                let places = sliding.places(operands, axis, [image, &Dim::Known(*block)], false)?.known();
                blocks = blocks.zip(places).and_then(|(blocks, places)| blocks.checked_mul(places));
            }
            if let Some(blocks) = blocks {
                operands.same_dim(0, &x[2], &Dim::Known(blocks))?;
            }
        }
        Ok(single(dtype, [x[0].clone(), channels].into_iter().chain(image).collect::<Shape>()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_number!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl Col2Im {
    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let sizes = sizes_of(ty)?;
        let image = &sizes[2..];
        let block: Vec<usize> = operands.tensor(BLOCK)?.to_i64()?.iter().map(|size| *size as usize).collect();
        let sliding = Sliding::new(image.len(), &self.strides, &self.pads, &self.dilations)?;
        let taps: usize = block.iter().product();
        let count = x.sizes()[2];
        let mut y = vec![T::default(); sizes.iter().product()];
        let values = x.to_compute::<T>()?;
        if values.is_empty() || y.is_empty() {
            return Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?));
        }
        let blocks = places(image, &block, &sliding);
        for (channel, image_values) in y.chunks_exact_mut(image.iter().product()).enumerate() {
            for tap in 0..taps {
                let row = &values[(channel * taps + tap) * count..][..count];
                let start = steps(tap, &block, &sliding.dilations);
                for (index, value) in row.iter().enumerate() {
                    let step = steps(index, &blocks, &sliding.strides);
                    if let Some(place) = place(image, &start, &step, &sliding.pads_begin) {
                        image_values[place] = image_values[place].add(*value);
                    }
                }
            }
        }
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?))
    }
}

/// The sizes that a constant operand holds; none may be negative.
fn sizes_in(operands: &Operands<'_>, index: usize) -> Result<Option<Vec<u64>>, InferError> {
    let Some(sizes) = operands.integers(index) else { return Ok(None) };
    let sizes: Result<Vec<u64>, _> = sizes.iter().map(|size| u64::try_from(*size)).collect();
    sizes.map(Some).map_err(|_| operands.mismatch(index, "sizes that are not negative"))
}

/// Number of blocks along each axis.
fn places(image: &[usize], block: &[usize], sliding: &Sliding) -> Vec<usize> {
    let along = |axis: usize| {
        let padded = image[axis] + sliding.pads_begin[axis] + sliding.pads_end[axis];
        let span = (block[axis] - 1) * sliding.dilations[axis] + 1;
        (padded - span) / sliding.strides[axis] + 1
    };
    (0..image.len()).map(along).collect()
}

/// How far along each axis the element at `number` in a box of `sizes` lies, its neighbors `apart` from each other.
fn steps(mut number: usize, sizes: &[usize], apart: &[usize]) -> SmallVec<[usize; 4]> {
    let mut steps: SmallVec<[usize; 4]> = apart.into();
    for (step, size) in steps.iter_mut().zip(sizes).rev() {
        *step *= number % size;
        number /= size;
    }
    steps
}

/// The element of the image that lies `start` and `step` from the padding; `None` for the padding itself.
fn place(image: &[usize], start: &[usize], step: &[usize], pads: &[usize]) -> Option<usize> {
    let mut place = 0;
    for (axis, size) in image.iter().enumerate() {
        let index = (start[axis] + step[axis]).checked_sub(pads[axis]).filter(|index| index < size)?;
        place = place * size + index;
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn sizes(sizes: &[i64]) -> Tensor {
        Tensor::from_vec(&[sizes.len()], sizes.to_vec()).expect("a vector")
    }

    #[test]
    fn overlaps_are_summed() {
        // Blocks of 2 in a line of 3: (1, 2) and (10, 20).
        let x = tensor(&[1, 2, 2], &[1.0, 10.0, 2.0, 20.0]);
        let y = evaluate(&Col2Im::default().into(), &[&x, &sizes(&[3]), &sizes(&[2])]);
        assert_eq!(y[0], tensor(&[1, 1, 3], &[1.0, 12.0, 20.0]));
    }

    #[test]
    fn padding_is_cut_off() {
        let op = Col2Im { pads: vec![1, 1], strides: vec![2], ..Col2Im::default() };
        let x = tensor(&[1, 2, 2], &[1.0, 10.0, 2.0, 20.0]);
        // Blocks start at -1 and 1.
        let y = evaluate(&op.into(), &[&x, &sizes(&[2]), &sizes(&[2])]);
        assert_eq!(y[0], tensor(&[1, 1, 2], &[2.0, 10.0]));
    }

    #[test]
    fn channels_and_dilated_axes() {
        let op = Col2Im { dilations: vec![1, 2], ..Col2Im::default() };
        let x = Tensor::from_vec(&[1, 4, 1], vec![1i32, 2, 3, 4]).expect("four elements");
        let y = evaluate(&op.into(), &[&x, &sizes(&[1, 3]), &sizes(&[1, 2])]);
        assert_eq!(y[0], Tensor::from_vec(&[1, 2, 1, 3], vec![1i32, 0, 2, 3, 0, 4]).expect("six elements"));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let x = tensor(&[1, 2, 2], &[0.0; 4]);
        let refuse = |image: &[i64], block: &[i64]| {
            refused(&Col2Im::default().into(), &[&x, &sizes(image), &sizes(block)])
        };
        assert!(refuse(&[4], &[2]).contains("`x`"));
        assert!(refuse(&[3], &[3]).contains("rows for each element"));
        assert!(refuse(&[3], &[0]).contains("rows for each element"));
        assert!(refuse(&[3], &[-2]).contains("not negative"));
        assert!(refuse(&[-3], &[2]).contains("not negative"));
        assert!(refuse(&[1, 3], &[2]).contains("`block_shape`"));
    }
}
