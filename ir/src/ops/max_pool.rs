//! `max_pool`: the largest element under each place of a window, and where it lies.
//!
//! `x` is `[n, channels, spatial..]`. Padding does not take part: a window that meets no element gives the lowest value
//! of the element type. NaN under a window gives NaN. `indices` numbers the elements of the whole of `x`, -1 for none;
//! of equal elements the first one counts. With `layout = "nhwc"` the axes of `x`, `y` and `indices` are
//! `[n, spatial.., channels]`, and `indices` counts as if they were `[n, channels, spatial..]`.

use rayon::prelude::*;

use super::layout::TWO_RESULTS;
use super::pool::pool_op;
use super::{EvalError, InferError, Inputs, Operand, Operands, Results, Types, one, rules, sizes_of};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_number;

pool_op! {
    /// See the [module](self).
    MaxPool {
        /// Whether `indices` counts the elements of a plane with the first spatial axis fastest.
        storage_order: bool = false,
    }

    const NAME: &'static str = "max_pool";
    const OPERANDS: &'static [Operand] = &[one("x")];
    const RESULTS: &'static [&'static str] = &["y", "indices"];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&TWO_RESULTS, operands, |operands| {
            let dtype = rules::number(operands, 0)?.dtype;
            let shape = self.pool().shape(operands)?;
            Ok(smallvec::smallvec![TensorType::new(dtype, shape.clone()), TensorType::new(DType::I64, shape)])
        })
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&TWO_RESULTS, operands, types, |operands, types| {
            with_number!(types[0].dtype, T => self.evaluate::<T>(operands.tensor(0)?, &types[0]))
        })
    }
}

/// The largest element met so far and its place in the plane.
#[derive(Clone, Copy)]
struct Largest<T> {
    value: T,
    place: Option<usize>,
}

impl MaxPool {
    fn evaluate<T: Number>(&self, x: &Tensor, ty: &TensorType) -> Result<Results, EvalError> {
        let sizes = sizes_of(ty)?;
        let pool = self.pool().over(x, &sizes)?;
        let values = x.to_compute::<T>()?;
        let mut results = vec![T::default(); sizes.iter().product()];
        let mut indices = vec![0i64; results.len()];
        let (from, to) = (pool.input_plane(), pool.output_plane().max(1));
        let planes = results.par_chunks_mut(to).zip(indices.par_chunks_mut(to)).enumerate();
        planes.for_each(|(index, (results, indices))| {
            let plane = &values[index * from..][..from];
            let start = Largest { value: T::LOWEST, place: None };
            let larger = |largest: Largest<T>, place: usize| {
                let value = plane[place];
                let wins = largest.place.is_none() || value > largest.value;
                let poisons = value.is_nan() && !largest.value.is_nan();
                if wins || poisons { Largest { value, place: Some(place) } } else { largest }
            };
            pool.window().fold(start, larger, |place, largest| {
                results[place] = largest.value;
                let within = |found: usize| (index * from + self.number(found, &x.sizes()[2..])) as i64;
                indices[place] = largest.place.map_or(-1, within);
            });
        });
        Ok(smallvec::smallvec![
            Tensor::from_compute(ty.dtype, &sizes, results)?,
            Tensor::from_vec(&sizes, indices)?,
        ])
    }

    /// The number of an element within its plane, in storage order.
    fn number(&self, place: usize, spatial: &[usize]) -> usize {
        if !self.storage_order {
            return place;
        }
        let (mut rest, mut number) = (place, 0);
        for (axis, size) in spatial.iter().enumerate().rev() {
            number += rest % size * spatial[..axis].iter().product::<usize>();
            rest /= size;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn indices(sizes: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_vec(sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn the_first_largest_element_and_its_number() {
        let op = MaxPool { kernel_shape: vec![2], pads: vec![1, 0], ..MaxPool::default() };
        let results = evaluate(&op.into(), &[&tensor(&[2, 1, 3], &[-1.0, -1.0, -2.0, 3.0, 5.0, 4.0])]);
        assert_eq!(results[0], tensor(&[2, 1, 3], &[-1.0, -1.0, -1.0, 3.0, 5.0, 5.0]));
        assert_eq!(results[1], indices(&[2, 1, 3], &[0, 0, 1, 3, 4, 4]));
    }

    #[test]
    fn numbers_in_column_order() {
        let op = MaxPool { kernel_shape: vec![1, 1], storage_order: true, ..MaxPool::default() };
        let results = evaluate(&op.into(), &[&tensor(&[1, 2, 2, 3], &[0.0; 12])]);
        assert_eq!(results[1], indices(&[1, 2, 2, 3], &[0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]));
    }

    #[test]
    fn not_a_number_is_not_lost() {
        let op = MaxPool { kernel_shape: vec![2], ..MaxPool::default() };
        let results = evaluate(&op.into(), &[&tensor(&[1, 1, 3], &[f32::NAN, 1.0, f32::NAN])]);
        assert!(results[0].to_f64().expect("numbers").iter().all(|value| value.is_nan()));
    }

    #[test]
    fn a_huge_window_over_padding_takes_no_time() {
        let huge = 1 << 30;
        let op = MaxPool { kernel_shape: vec![huge + 1], pads: vec![huge, 0], ..MaxPool::default() };
        let results = evaluate(&op.into(), &[&tensor(&[1, 1, 1], &[7.0])]);
        assert_eq!(results[0], tensor(&[1, 1, 1], &[7.0]));
    }

    #[test]
    fn a_window_needs_a_size() {
        let x = tensor(&[1, 1, 3], &[0.0; 3]);
        assert!(refused(&MaxPool::default().into(), &[&x]).contains("`kernel_shape`"));
        let wide = MaxPool { kernel_shape: vec![4], ..MaxPool::default() };
        assert!(refused(&wide.into(), &[&x]).contains("fits into the padded input"));
    }
}
