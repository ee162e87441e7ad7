//! `non_zero`: the indices of the elements that are not 0, one column each, in row-major order.
//!
//! The result has a row for each axis of `x`: none for a tensor without axes.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::dtype::DType;
use crate::kernels::broadcast;
use crate::tensor::Tensor;
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonZero;

impl OpDef for NonZero {
    const NAME: &'static str = "non_zero";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let truths = operands.constant(0).and_then(|x| x.to_bools().ok());
        let count = truths.map(|truths| truths.iter().filter(|truth| **truth).count() as u64);
        let count = count.map_or_else(|| operands.fresh(), Dim::Known);
        Ok(single(DType::I64, Shape::from_iter([Dim::Known(x.rank() as u64), count])))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let truths = x.to_bools()?;
        let numbers: Vec<usize> =
            truths.iter().enumerate().filter_map(|(number, truth)| truth.then_some(number)).collect();
        let strides = broadcast::strides(x.sizes());
        let rows = strides.iter().zip(x.sizes());
        let indices =
            rows.flat_map(|(stride, size)| numbers.iter().map(move |number| (number / stride % size) as i64));
        Ok(only(Tensor::from_vec(&[x.rank(), numbers.len()], indices.collect())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, ints, run_one, tensor};
    use super::*;

    #[test]
    fn each_column_is_an_index() {
        let x = ints(&[2, 2], &[1, 0, 1, 1]);
        assert_eq!(run_one(NonZero, &[x]), (vec![2, 3], vec![0, 1, 1, 0, 0, 1]));
    }

    #[test]
    fn what_is_no_number_is_not_zero() {
        let x = tensor(&[3], &[f32::NAN, -0.0, 1.0]);
        assert_eq!(run_one(NonZero, &[x]), (vec![1, 2], vec![0, 2]));
    }

    #[test]
    fn tensors_without_axes_or_elements() {
        assert_eq!(run_one(NonZero, &[ints(&[], &[5])]), (vec![0, 1], vec![]));
        assert_eq!(run_one(NonZero, &[floats(&[0, 3])]), (vec![2, 0], vec![]));
    }
}
