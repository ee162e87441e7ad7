//! `affine_grid`: the places that an affine map sends a regular grid to, as [`grid_sample`](super::GridSample) reads
//! them.
//!
//! `theta` is `[batch, 2, 3]` or `[batch, 3, 4]`, `size` the sizes of the image to sample, `[batch, channels, h, w]` or
//! `[batch, channels, d, h, w]`. The result is `[batch, h, w, 2]` or `[batch, d, h, w, 3]`: `theta . (x, y, 1)`, where
//! `x` and `y` run evenly from -1 to 1. Computed in f64.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffineGrid {
    /// Whether -1 and 1 are the centers of the outermost elements, instead of their outer edges.
    pub align_corners: bool,
}

impl OpDef for AffineGrid {
    const NAME: &'static str = "affine_grid";
    const OPERANDS: &'static [Operand] = &[one("theta"), one("size")];
    const RESULTS: &'static [&'static str] = &["grid"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("align_corners", &mut self.align_corners)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        operands.float(0)?;
        let theta = operands.ranked(0, 3)?;
        operands.one_of(1, &[DType::I64])?;
        let axes = match operands.ranked(1, 1)?.shape[0].known() {
            Some(4) => 2,
            Some(5) => 3,
            _ => return Err(operands.mismatch(1, "the sizes of 4 or 5 axes")),
        };
        operands.same_dim(0, &theta.shape[1], &Dim::Known(axes))?;
        operands.same_dim(0, &theta.shape[2], &Dim::Known(axes + 1))?;
        let mut shape = Shape::from_iter([theta.shape[0].clone()]);
        match operands.symbolic(1) {
            Some(sizes) => {
                let mut dims = sizes.elements.into_iter().map(|size| operands.dim(1, Some(size)));
                let batch = dims.next().transpose()?;
                if let Some(batch) = batch {
                    operands.same_dim(1, &batch, &theta.shape[0])?;
                }
                // Channels do not matter.
                for dim in dims.skip(1) {
                    shape.0.push(dim?);
                }
            }
            None => shape.0.extend((0..axes).map(|_| operands.fresh())),
        }
        shape.0.push(Dim::Known(axes));
        Ok(single(theta.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let sizes = sizes_of(&types[0])?;
        let (axes, spatial) = (sizes[sizes.len() - 1], &sizes[1..sizes.len() - 1]);
        let theta = operands.tensor(0)?.to_f64()?;
        let ticks: Vec<Vec<f64>> = spatial.iter().map(|size| self.ticks(*size)).collect();
        let places: usize = spatial.iter().product();
        let mut point = vec![1.0; axes + 1];
        let mut grid = Vec::with_capacity(sizes.iter().product());
        for theta in theta.chunks_exact(axes * (axes + 1)) {
            for place in 0..places {
                let mut rest = place;
                // The innermost axis is the first number of a point.
                for (number, ticks) in point.iter_mut().zip(ticks.iter().rev()) {
                    *number = ticks[rest % ticks.len()];
                    rest /= ticks.len();
                }
                let row = |row: &[f64]| row.iter().zip(&point).map(|(factor, number)| factor * number).sum::<f64>();
                grid.extend(theta.chunks_exact(axes + 1).map(row));
            }
        }
        let dtype = types[0].dtype;
        Ok(only(with_float!(dtype, T => {
            Tensor::from_compute(dtype, &sizes, grid.into_iter().map(T::from_f64).collect())?
        })))
    }
}

impl AffineGrid {
    /// `size` places from -1 to 1; a single one of aligned corners is at -1.
    fn ticks(&self, size: usize) -> Vec<f64> {
        let step = if self.align_corners { 2.0 / (size as f64 - 1.0).max(1.0) } else { 2.0 / size as f64 };
        let start = if self.align_corners { -1.0 } else { -1.0 + step / 2.0 };
        (0..size).map(|place| start + step * place as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn sizes(sizes: &[i64]) -> Tensor {
        Tensor::from_vec(&[sizes.len()], sizes.to_vec()).expect("a vector")
    }

    #[test]
    fn the_identity_gives_the_regular_grid() {
        let theta = tensor(&[1, 2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let grid = |align_corners, size: &[i64]| {
            evaluate(&AffineGrid { align_corners }.into(), &[&theta, &sizes(size)]).remove(0)
        };
        let edges = [-0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5, 0.5];
        assert_eq!(grid(false, &[1, 9, 2, 2]), tensor(&[1, 2, 2, 2], &edges));
        assert_eq!(grid(true, &[1, 9, 1, 3]), tensor(&[1, 1, 3, 2], &[-1.0, -1.0, 0.0, -1.0, 1.0, -1.0]));
    }

    #[test]
    fn three_axes_are_mapped_too() {
        let theta = tensor(&[1, 3, 4], &[1.0, 0.0, 0.0, 5.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
        let grid = evaluate(&AffineGrid { align_corners: true }.into(), &[&theta, &sizes(&[1, 1, 2, 1, 1])]);
        assert_eq!(grid[0], tensor(&[1, 2, 1, 1, 3], &[4.0, -2.0, -3.0, 4.0, -2.0, 3.0]));
    }

    #[test]
    fn sizes_of_another_number_of_axes_are_refused() {
        let theta = tensor(&[1, 2, 3], &[0.0; 6]);
        let message = refused(&AffineGrid::default().into(), &[&theta, &sizes(&[1, 1, 1, 1, 1])]);
        assert!(message.contains("`theta`"), "{message}");
        let message = refused(&AffineGrid::default().into(), &[&theta, &sizes(&[1, 1, -1, 1])]);
        assert!(message.contains("not negative"), "{message}");
    }
}
