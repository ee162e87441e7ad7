//! `tile`: `x` repeated `repeats[i]` times along each axis `i`.

use smallvec::SmallVec;

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, single,
    sizes_of,
};
use crate::kernels::copy::Layout;
use crate::types::{Dim, DimExpr, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile;

impl OpDef for Tile {
    const NAME: &'static str = "tile";
    const OPERANDS: &'static [Operand] = &[one("x"), one("repeats")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if movement::list_len(operands, 1)? != x.rank() {
            return Err(operands.mismatch(1, format!("{} numbers, one for each axis", x.rank())));
        }
        let Some(repeats) = operands.symbolic(1) else {
            return Ok(single(x.dtype, x.shape.iter().map(|_| operands.fresh()).collect()));
        };
        let size = |(dim, repeat): (&Dim, &DimExpr)| {
            // The number itself must not be negative, even where there is nothing to repeat.
            operands.dim(1, Some(repeat.clone()))?;
            let product = dim.expr().mul(repeat);
            // A product of two numbers that is none is too large; one with a symbol may only have no polynomial.
            if product.is_none() && dim.known().is_some() && repeat.as_constant().is_some() {
                return Err(operands.mismatch(1, "repetitions that an axis has room for"));
            }
            operands.dim(1, product)
        };
        Ok(single(x.dtype, x.shape.iter().zip(&repeats.elements).map(size).collect::<Result<_, _>>()?))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let sizes = sizes_of(&types[0])?;
        let dense = Layout::dense(x.sizes());
        // Each axis becomes two: which repetition, and where in it.
        let mut pairs: Vec<usize> = Vec::with_capacity(2 * x.rank());
        let mut layout = Layout { strides: SmallVec::new(), ..dense };
        for (axis, size) in x.sizes().iter().enumerate() {
            pairs.extend([sizes[axis].checked_div(*size).unwrap_or(0), *size]);
            layout.strides.extend([0, dense.strides[axis]]);
        }
        Ok(only(movement::boxed(x, &pairs, &layout)?.reshaped(&sizes)?))
    }

    fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
        movement::symbolic_only(self, operands, 0..1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, list, run, run_one};
    use super::*;

    #[test]
    fn every_axis_repeats() {
        let x = ints(&[2, 2], &[1, 2, 3, 4]);
        let expected = (vec![2, 6], vec![1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]);
        assert_eq!(run_one(Tile, &[x.clone(), list(&[1, 3])]), expected);
        let expected = (vec![4, 2], vec![1, 2, 3, 4, 1, 2, 3, 4]);
        assert_eq!(run_one(Tile, &[x.clone(), list(&[2, 1])]), expected);
        assert_eq!(run_one(Tile, &[x, list(&[0, 1])]), (vec![0, 2], vec![]));
        assert_eq!(run_one(Tile, &[ints(&[], &[5]), list(&[])]), (vec![], vec![5]));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert!(run(Tile, &[floats(&[2]), list(&[1, 1])]).is_err());
        assert!(run(Tile, &[floats(&[2]), list(&[-1])]).is_err());
        assert!(run(Tile, &[floats(&[0]), list(&[-1])]).is_err());
        assert!(run(Tile, &[floats(&[2]), list(&[i64::MAX])]).is_err());
    }
}
