//! `lp_pool`: the norm of order `p` of the elements under each place of a window.
//!
//! `y = (sum of |x| ^ p) ^ (1 / p)`. `x` is `[n, channels, spatial..]`; padding is 0 and so does not matter.

use rayon::prelude::*;

use super::layout::FEATURES;
use super::pool::pool_op;
use super::{EvalError, InferError, Inputs, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

pool_op! {
    /// See the [module](self).
    LpPool {
        /// The order of the norm, at least 1.
        p: i64 = 2,
    }

    const NAME: &'static str = "lp_pool";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        if self.p < 1 {
            let expected = "at least 1".to_owned();
            return Err(InferError::Attribute { attr: "p", found: self.p.to_string(), expected });
        }
        self.layout.infer(&FEATURES, operands, |operands| {
            Ok(single(operands.float(0)?.dtype, self.pool().shape(operands)?))
        })
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&FEATURES, operands, types, |operands, types| {
            with_float!(types[0].dtype, T => self.evaluate::<T>(operands.tensor(0)?, &types[0]))
        })
    }
}

impl LpPool {
    fn evaluate<T: Number>(&self, x: &Tensor, ty: &TensorType) -> Result<Results, EvalError> {
        let sizes = sizes_of(ty)?;
        let pool = self.pool().over(x, &sizes)?;
        let order = self.p as f64;
        let values = x.to_compute::<T>()?;
        let mut results = vec![T::default(); sizes.iter().product()];
        let (from, to) = (pool.input_plane(), pool.output_plane().max(1));
        results.par_chunks_mut(to).enumerate().for_each(|(index, results)| {
            let plane = &values[index * from..][..from];
            let add = |sum: f64, place: usize| sum + plane[place].to_f64().abs().powf(order);
            pool.window().fold(0.0, add, |place, sum| results[place] = T::from_f64(sum.powf(order.recip())));
        });
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, results)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn norms_of_windows() {
        let x = tensor(&[1, 1, 3], &[3.0, -4.0, 0.0]);
        let norm = |p| LpPool { kernel_shape: vec![2], p, ..LpPool::default() };
        assert_eq!(evaluate(&norm(2).into(), &[&x])[0], tensor(&[1, 1, 2], &[5.0, 4.0]));
        assert_eq!(evaluate(&norm(1).into(), &[&x])[0], tensor(&[1, 1, 2], &[7.0, 4.0]));
        assert!(refused(&norm(0).into(), &[&x]).contains("`p`"));
    }
}
