//! `max_unpool`: puts elements back where `max_pool` took them from; all others are 0.
//!
//! `x` and `indices` are of one shape, `[n, channels, spatial..]`. `indices` numbers the elements of the plane that was
//! pooled, whose spatial sizes are `(size - 1) * strides + kernel_shape` less the padding of both sides. With
//! `output_shape`, that result stands at the start of every axis of a larger one.

use super::pool::kernel_shape;
use super::window::Sliding;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional};
use super::{rules, single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::broadcast::strides;
use crate::tensor::{Number, Sizes, Tensor};
use crate::types::{Dim, DimExpr, Shape, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxUnpool {
    /// Taps of the window along each spatial axis.
    pub kernel_shape: Vec<u64>,
    /// Elements between one place of the window and the next, per spatial axis; empty for 1.
    pub strides: Vec<u64>,
    /// Padding before each spatial axis, then after each; empty for none.
    pub pads: Vec<u64>,
}

impl OpDef for MaxUnpool {
    const NAME: &'static str = "max_unpool";
    const OPERANDS: &'static [Operand] = &[one("x"), one("indices"), optional("output_shape")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("kernel_shape", &mut self.kernel_shape)?;
        visitor.attr("strides", &mut self.strides)?;
        visitor.attr("pads", &mut self.pads)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (x, indices) = (rules::number(operands, 0)?, operands.one_of(1, &[DType::I64])?);
        if x.rank() < 3 {
            return Err(operands.mismatch(0, "batch, channels and at least one spatial axis"));
        }
        operands.ranked(1, x.rank())?;
        for (own, other) in indices.shape.iter().zip(x.shape.iter()) {
            operands.same_dim(1, own, other)?;
        }
        let pooled = self.pooled(operands, &x.shape)?;
        if operands.has(2) {
            return Ok(single(x.dtype, wanted(operands, &pooled)?));
        }
        Ok(single(x.dtype, pooled))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_number!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl MaxUnpool {
    /// The shape of the tensor that was pooled.
    fn pooled(&self, operands: &Operands<'_>, x: &Shape) -> Result<Shape, InferError> {
        let axes = x.rank() - 2;
        let sliding = Sliding::new(axes, &self.strides, &self.pads, &[])?;
        let kernel = kernel_shape(&self.kernel_shape, axes)?;
        let size = |axis: usize| {
            let stride = sliding.strides[axis] as i64;
            let padding = (sliding.pads_begin[axis] + sliding.pads_end[axis]) as i64;
            let reach = x[axis + 2].expr().mul(&DimExpr::constant(stride));
            let rest = DimExpr::constant(kernel[axis] as i64 - stride - padding);
            operands.dim(0, reach.and_then(|reach| reach.add(&rest)))
        };
        x[..2].iter().cloned().map(Ok).chain((0..axes).map(size)).collect()
    }

    /// As [`pooled`](Self::pooled), in numbers.
    fn pooled_sizes(&self, x: &[usize]) -> Result<Sizes, EvalError> {
        let sliding = Sliding::new(x.len() - 2, &self.strides, &self.pads, &[])?;
        let size = |(axis, size): (usize, &usize)| {
            let reach = size.checked_mul(sliding.strides[axis])?;
            let padding = sliding.pads_begin[axis] + sliding.pads_end[axis];
            reach.checked_add(self.kernel_shape[axis] as usize)?.checked_sub(sliding.strides[axis] + padding)
        };
        let spatial = x[2..].iter().enumerate().map(size).collect::<Option<Sizes>>();
        let pooled: Option<Sizes> = spatial.map(|spatial| x[..2].iter().copied().chain(spatial).collect());
        // A size of 0 must not hide that the others overflow.
        let whole = |sizes: &Sizes| {
            sizes.iter().try_fold(1usize, |product, size| product.checked_mul((*size).max(1)))
        };
        let pooled = pooled.filter(|sizes| whole(sizes).is_some());
        pooled.ok_or_else(|| EvalError::Unsupported("a plane whose elements cannot be counted".to_owned()))
    }

    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let (x, indices) = (operands.tensor(0)?, operands.tensor(1)?);
        let pooled = self.pooled_sizes(x.sizes())?;
        let sizes = sizes_of(ty)?;
        let mut result = vec![T::default(); sizes.iter().product()];
        let (from, to) = (strides(&pooled), strides(&sizes));
        let count: usize = pooled.iter().product();
        for (value, index) in x.to_compute::<T>()?.iter().zip(indices.elements::<i64>()?.iter()) {
            let place = usize::try_from(*index).ok().filter(|place| *place < count);
            let place = place.ok_or_else(|| EvalError::Value {
                operand: "indices",
                found: index.to_string(),
                expected: format!("numbers of elements of a tensor of {pooled:?}"),
            })?;
            // The same coordinates in the larger tensor.
            let moved = (0..pooled.len()).map(|axis| place / from[axis] % pooled[axis] * to[axis]);
            result[moved.sum::<usize>()] = *value;
        }
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, result)?))
    }
}

/// The sizes that `output_shape` asks for, none smaller than in `pooled`.
fn wanted(operands: &Operands<'_>, pooled: &Shape) -> Result<Shape, InferError> {
    let vector = operands.one_of(2, &[DType::I64])?;
    if vector.rank() != 1 || vector.shape[0].known().is_some_and(|length| length != pooled.rank() as u64) {
        return Err(operands.mismatch(2, format!("a vector of {} sizes", pooled.rank())));
    }
    let Some(sizes) = operands.symbolic(2) else {
        return Ok(pooled.iter().map(|_| operands.fresh()).collect());
    };
    let larger =
        |(size, pooled): (DimExpr, &Dim)| {
            let dim = operands.dim(2, Some(size))?;
            match (dim.known(), pooled.known()) {
                (Some(size), Some(least)) if size < least => Err(operands
                    .mismatch(2, format!("no size smaller than what was pooled, {least}, found {size}"))),
                _ => Ok(dim),
            }
        };
    sizes.elements.into_iter().zip(pooled.iter()).map(larger).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn unpool() -> MaxUnpool {
        MaxUnpool { kernel_shape: vec![2], strides: vec![2], ..MaxUnpool::default() }
    }

    fn integers(sizes: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_vec(sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn elements_go_back_to_their_places() {
        let x = tensor(&[1, 2, 2], &[5.0, 6.0, 7.0, 8.0]);
        let indices = integers(&[1, 2, 2], &[1, 2, 4, 7]);
        let y = evaluate(&unpool().into(), &[&x, &indices]);
        assert_eq!(y[0], tensor(&[1, 2, 4], &[0.0, 5.0, 6.0, 0.0, 7.0, 0.0, 0.0, 8.0]));
        let larger = evaluate(&unpool().into(), &[&x, &indices, &integers(&[3], &[1, 2, 5])]);
        assert_eq!(larger[0], tensor(&[1, 2, 5], &[0.0, 5.0, 6.0, 0.0, 0.0, 7.0, 0.0, 0.0, 8.0, 0.0]));
    }

    #[test]
    fn wrong_sizes_and_places_are_refused() {
        let x = tensor(&[1, 1, 1], &[5.0]);
        let outside = integers(&[1, 1, 1], &[2]);
        assert!(refused(&unpool().into(), &[&x, &outside, &integers(&[3], &[1, 1, 1])]).contains("smaller"));
        let op = unpool();
        let tensors = [Some(x), Some(outside)];
        let types = [TensorType::known(DType::F32, &[1, 1, 2])];
        let error =
            op.eval(&Inputs::new(MaxUnpool::OPERANDS, &tensors), &types).expect_err("2 is out of range");
        assert!(error.to_string().starts_with("operand `indices` holds 2"), "{error}");
    }
}
