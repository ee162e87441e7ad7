//! `average_pool`: the mean of the elements under each place of a window.
//!
//! `x` is `[n, channels, spatial..]`. Padding counts as zeros with `count_include_pad`; what a window reaches beyond the
//! padding never counts. The mean of no elements is NaN.

use rayon::prelude::*;

use super::layout::FEATURES;
use super::pool::pool_op;
use super::{EvalError, InferError, Inputs, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

pool_op! {
    /// See the [module](self).
    AveragePool {
        /// Whether padding counts as elements that are 0.
        count_include_pad: bool = false,
    }

    const NAME: &'static str = "average_pool";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
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

impl AveragePool {
    fn evaluate<T: Number>(&self, x: &Tensor, ty: &TensorType) -> Result<Results, EvalError> {
        let sizes = sizes_of(ty)?;
        let pool = self.pool().over(x, &sizes)?;
        let values = x.to_compute::<T>()?;
        let mut results = vec![T::default(); sizes.iter().product()];
        let (from, to) = (pool.input_plane(), pool.output_plane().max(1));
        results.par_chunks_mut(to).enumerate().for_each(|(index, results)| {
            let plane = &values[index * from..][..from];
            let window = pool.window();
            let add = |(sum, count): (f64, usize), place: usize| (sum + plane[place].to_f64(), count + 1);
            window.fold((0.0, 0), add, |place, (sum, met)| {
                let padded = || window.padded_taps(place, &pool.sliding.pads_end);
                let count = if self.count_include_pad { padded() } else { met as f64 };
                results[place] = T::from_f64(sum / count);
            });
        });
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, results)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, tensor};

    #[test]
    fn padding_counts_where_asked() {
        let x = tensor(&[1, 1, 3], &[2.0, 4.0, 6.0]);
        let mean = |count_include_pad| {
            let (kernel_shape, pads) = (vec![2], vec![1, 0]);
            let op = AveragePool { kernel_shape, pads, count_include_pad, ..AveragePool::default() };
            evaluate(&op.into(), &[&x]).remove(0)
        };
        assert_eq!(mean(false), tensor(&[1, 1, 3], &[2.0, 3.0, 5.0]));
        assert_eq!(mean(true), tensor(&[1, 1, 3], &[1.0, 3.0, 5.0]));
    }

    #[test]
    fn a_huge_window_over_padding_is_counted() {
        let huge = i32::MAX as u64;
        let op = AveragePool {
            kernel_shape: vec![huge; 3],
            pads: vec![huge - 1, huge - 1, huge - 1, 0, 0, 0],
            count_include_pad: true,
            ..AveragePool::default()
        };
        let y = evaluate(&op.into(), &[&tensor(&[1, 1, 1, 1, 1], &[1.0])]);
        assert_eq!(y[0], tensor(&[1, 1, 1, 1, 1], &[(huge as f64).powi(-3) as f32]));
    }

    #[test]
    fn what_lies_beyond_the_padding_never_counts() {
        let op = AveragePool {
            kernel_shape: vec![3],
            strides: vec![3],
            pads: vec![0, 1],
            ceil_mode: true,
            count_include_pad: true,
            ..AveragePool::default()
        };
        // The second window meets one element, one padded one, and one beyond.
        let y = evaluate(&op.into(), &[&tensor(&[1, 1, 4], &[3.0, 6.0, 9.0, 8.0])]);
        assert_eq!(y[0], tensor(&[1, 1, 2], &[6.0, 4.0]));
    }
}
