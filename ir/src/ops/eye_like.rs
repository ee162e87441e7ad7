//! `eye_like`: a matrix of the sizes of `x` with 1 on the diagonal `k`, the elements `[i, i + k]`, and 0 elsewhere.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single, sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EyeLike {
    /// Type of the elements; absent means that of `x`.
    pub dtype: Option<DType>,
    /// Which diagonal: above the main one if positive, below it if negative.
    pub k: i64,
}

impl OpDef for EyeLike {
    const NAME: &'static str = "eye_like";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("dtype", &mut self.dtype)?;
        visitor.attr("k", &mut self.k)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ranked(0, 2)?;
        Ok(single(self.dtype.unwrap_or(x.dtype), x.shape.clone()))
    }

    fn eval(&self, _operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let sizes = sizes_of(&types[0])?;
        let (rows, columns) = (sizes[0], sizes[1]);
        with_number!(types[0].dtype, T => {
            let mut values = vec![T::default(); rows * columns];
            // Without columns there are rows, but no elements.
            for row in 0..rows.min(values.len()) {
                let column = usize::try_from((row as i64).saturating_add(self.k)).ok();
                if let Some(column) = column.filter(|column| *column < columns) {
                    values[row * columns + column] = T::ONE;
                }
            }
            Ok(only(Tensor::from_compute(types[0].dtype, &sizes, values)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, run_one};
    use super::*;

    #[test]
    fn ones_lie_on_the_diagonal() {
        let ones = |k| run_one(EyeLike { dtype: Some(DType::I8), k }, &[floats(&[2, 3])]).1;
        assert_eq!(ones(0), [1, 0, 0, 0, 1, 0]);
        assert_eq!(ones(2), [0, 0, 1, 0, 0, 0]);
        assert_eq!(ones(-1), [0, 0, 0, 1, 0, 0]);
        assert_eq!(ones(i64::MAX), [0; 6]);
        assert_eq!(ones(i64::MIN), [0; 6]);
    }

    #[test]
    fn only_matrices_have_a_diagonal() {
        assert!(run(EyeLike::default(), &[floats(&[2])]).is_err());
        assert!(run(EyeLike::default(), &[floats(&[0, 2])]).is_ok());
    }
}
