//! `det`: the determinant of each matrix over the last two axes, by elimination in f64.

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Det;

impl OpDef for Det {
    const NAME: &'static str = "det";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        let [batch @ .., rows, columns] = &x.shape[..] else {
            return Err(operands.mismatch(0, "at least two axes"));
        };
        operands.same_dim(0, columns, rows)?;
        Ok(single(x.dtype, batch.iter().cloned().collect()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let size = x.sizes()[x.rank() - 1];
        let sizes = sizes_of(&types[0])?;
        // The determinant of a matrix without rows is the empty product.
        let determinants = if size == 0 {
            vec![1.0; sizes.iter().product()]
        } else {
            x.to_f64()?.chunks_exact_mut(size * size).map(|matrix| determinant(matrix, size)).collect()
        };
        let dtype = types[0].dtype;
        Ok(only(with_float!(dtype, T => {
            Tensor::from_compute(dtype, &sizes, determinants.into_iter().map(T::from_f64).collect())?
        })))
    }
}

/// The determinant of a square matrix, which is overwritten.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for step in 0..size {
        // The largest pivot loses the fewest digits.
        let magnitude = |row: &usize| matrix[row * size + step].abs();
        let pivot = (step..size).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b))).unwrap_or(step);
        if pivot != step {
            (0..size).for_each(|column| matrix.swap(pivot * size + column, step * size + column));
            product = -product;
        }
        let (above, below) = matrix.split_at_mut((step + 1) * size);
        let row = &above[step * size..];
        if row[step] == 0.0 {
            return 0.0;
        }
        product *= row[step];
        for other in below.chunks_exact_mut(size) {
            let factor = other[step] / row[step];
            other.iter_mut().zip(row).skip(step).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn determinants_by_hand() {
        let stack = [1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0, 1.0, 2.0, 2.0, 4.0];
        assert_eq!(evaluate(&Det.into(), &[&tensor(&[3, 2, 2], &stack)])[0], tensor(&[3], &[-2.0, -1.0, 0.0]));
        let large = [2.0, 0.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0, 4.0];
        assert_eq!(evaluate(&Det.into(), &[&tensor(&[3, 3], &large)])[0], tensor(&[], &[18.0]));
        assert_eq!(evaluate(&Det.into(), &[&tensor(&[2, 0, 0], &[])])[0], tensor(&[2], &[1.0, 1.0]));
    }

    #[test]
    fn only_square_matrices_have_one() {
        assert!(refused(&Det.into(), &[&tensor(&[1, 2], &[0.0; 2])]).contains("`x`"));
        assert!(refused(&Det.into(), &[&tensor(&[2], &[0.0; 2])]).contains("two axes"));
    }
}
