//! `softmax`, `log_softmax` and `hardmax`: each line of elements along an axis becomes a distribution.
//!
//! With `m` the largest element of a line, `softmax` is `e^(x - m) / sum of e^(x - m)`, `log_softmax` is
//! `x - m - log(sum of e^(x - m))`, and `hardmax` is 1 for the first largest element and 0 for the others.
//!
//! ONNX defines the first two by a chain of simpler operations. For elements of 16 bits it is visible that each of them
//! rounds its results, so differences, exponentials and sums are rounded here, too.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::arg_extreme::find;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::along_axis::map_along;
use crate::kernels::real::Real;
use crate::tensor::{Element, Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// Declares the three; the last column makes a line of results of a line of elements.
macro_rules! distributions {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $line:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Along which axis; negative ones count from the end.
            pub axis: i64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { axis: -1 }
            }
        }

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x")];

            fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
                visitor.attr("axis", &mut self.axis)
            }

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                let x = operands.float(0)?;
                rules::axis("axis", self.axis, x.rank())?;
                Ok(single(x.dtype, x.shape.clone()))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                let x = operands.tensor(0)?;
                let axis = rules::axis("axis", self.axis, x.rank())?;
                let result = with_float!(types[0].dtype, T => {
                    let elements = x.to_compute::<T>()?;
                    let line = |line: &[T], result: &mut [T]| $line(line, result, x.dtype());
                    let values = map_along(&elements, x.sizes(), axis, x.sizes()[axis], &line);
                    Tensor::from_compute(x.dtype(), x.sizes(), values)?
                });
                Ok(only(result))
            }
        }
    )*};
}

distributions! {
    /// Exponentials, scaled so that each line adds up to 1.
    Softmax = "softmax", softmax_line;
    /// The logarithm of [`Softmax`], without the loss of what that rounds to zero.
    LogSoftmax = "log_softmax", log_softmax_line;
    /// 1 for the first largest element of each line, 0 for the others.
    Hardmax = "hardmax", hardmax_line;
}

/// Whether steps round to less than they are computed in.
fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// One number as [`round`] rounds it.
fn rounded<T: Number>(value: f64, dtype: DType) -> f64 {
    if !is_narrow(dtype) {
        return value;
    }
    let mut value = [T::from_f64(value)];
    round(&mut value, dtype);
    value[0].to_f64()
}

/// Rounds elements, computed in `f32`, to narrow types; others are left as they are.
fn round<T: Number>(values: &mut [T], dtype: DType) {
    match dtype {
        DType::F16 => round_parts(values, |part, halves: &mut [f16; PART]| {
            halves[..part.len()].convert_from_f32_slice(part);
            halves[..part.len()].convert_to_f32_slice(part);
        }),
        DType::BF16 => round_parts(values, |part, halves: &mut [bf16; PART]| {
            halves[..part.len()].convert_from_f32_slice(part);
            halves[..part.len()].convert_to_f32_slice(part);
        }),
        _ => {}
    }
}

/// Elements that are rounded at a time.
const PART: usize = 256;

fn round_parts<T: Number, H: Element>(values: &mut [T], convert: impl Fn(&mut [f32], &mut [H; PART])) {
    let mut halves = [H::zeroed(); PART];
    bytemuck::cast_slice_mut(values).chunks_mut(PART).for_each(|part| convert(part, &mut halves));
}

/// Writes the distance of each element from the largest one, which is returned.
fn distances<T: Real>(line: &[T], result: &mut [T], dtype: DType) -> f64 {
    let largest = largest(line);
    for (result, x) in result.iter_mut().zip(line) {
        *result = T::from_f64(x.to_f64() - largest);
    }
    round(result, dtype);
    largest
}

/// Writes the exponential of each element's distance from the largest one, and returns that and the sum.
fn exponentials<T: Real>(line: &[T], result: &mut [T], dtype: DType) -> (f64, f64) {
    let largest = if is_narrow(dtype) {
        let largest = distances(line, result, dtype);
        for result in result.iter_mut() {
            *result = T::from_f64(T::exp_of(result.to_f64()));
        }
        largest
    } else {
        let largest = largest(line);
        for (result, x) in result.iter_mut().zip(line) {
            *result = T::from_f64(T::exp_of(x.to_f64() - largest));
        }
        largest
    };
    round(result, dtype);
    (largest, rounded::<T>(sum(result), dtype))
}

fn softmax_line<T: Real>(line: &[T], result: &mut [T], dtype: DType) {
    let (_, sum) = exponentials(line, result, dtype);
    let scale = 1.0 / sum;
    for result in result {
        *result = T::from_f64(result.to_f64() * scale);
    }
}

fn log_softmax_line<T: Real>(line: &[T], result: &mut [T], dtype: DType) {
    let (largest, sum) = exponentials(line, result, dtype);
    let shift = rounded::<T>(libm::log(sum), dtype);
    if is_narrow(dtype) {
        distances(line, result, dtype);
        for result in result {
            *result = T::from_f64(result.to_f64() - shift);
        }
    } else {
        for (result, x) in result.iter_mut().zip(line) {
            *result = T::from_f64(x.to_f64() - (largest + shift));
        }
    }
}

fn hardmax_line<T: Number>(line: &[T], result: &mut [T], _dtype: DType) {
    result.fill(T::default());
    if let Some(largest) = result.get_mut(find(line, false, |a, b| a > b) as usize) {
        *largest = T::ONE;
    }
}

/// The largest element. NaN does not count; it comes back through the sum.
fn largest<T: Number>(line: &[T]) -> f64 {
    let mut largest = [T::LOWEST; 8];
    let (parts, rest) = line.as_chunks::<8>();
    for part in parts {
        for (largest, x) in largest.iter_mut().zip(part) {
            *largest = if *x > *largest { *x } else { *largest };
        }
    }
    let of_all = largest.iter().chain(rest).fold(T::LOWEST, |largest, x| if *x > largest { *x } else { largest });
    of_all.to_f64()
}

/// The sum, in eight interleaved parts so that it is not one long chain of additions.
fn sum<T: Number>(line: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    let (parts, rest) = line.as_chunks::<8>();
    for part in parts {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += x.to_f64();
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| x.to_f64()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn result(op: impl Into<Op>, sizes: &[usize], x: &[f32]) -> Vec<f32> {
        evaluate(&op.into(), &[&tensor(sizes, x)])[0].elements().expect("f32").into_owned()
    }

    #[test]
    fn each_line_adds_up_to_one() {
        let x: Vec<f32> = (0..6 * 37).map(|at| ((at * 7919) % 101) as f32 / 10.0).collect();
        for axis in 0..3 {
            let y = result(Softmax { axis }, &[2, 37, 3], &x);
            let total: f64 = y.iter().map(|y| f64::from(*y)).sum();
            let lines = f64::from(6 * 37 / [2, 37, 3][axis as usize]);
            assert!((total - lines).abs() < 1e-4, "axis {axis}: {total}");
        }
    }

    #[test]
    fn small_lines_by_hand() {
        let third = 1.0 / 3.0;
        assert_eq!(result(Softmax::default(), &[3], &[5.0; 3]), [third; 3]);
        assert_eq!(result(Softmax { axis: 0 }, &[2, 2], &[0.0, 7.0, 0.0, 7.0]), [0.5; 4]);
        // e^-2 is 0.13534, so the sum is 1.13534.
        let logs = result(LogSoftmax::default(), &[2], &[1.0, 3.0]);
        assert!((logs[0] + 2.126_928).abs() < 1e-6 && (logs[1] + 0.126_928).abs() < 1e-6, "{logs:?}");
        assert_eq!(result(Hardmax { axis: -1 }, &[2, 3], &[1.0, 4.0, 4.0, 2.0, 0.0, 1.0]), [0., 1., 0., 1., 0., 0.]);
    }

    #[test]
    fn extreme_elements() {
        assert_eq!(result(Softmax::default(), &[3], &[1e30, 0.0, -1e30]), [1.0, 0.0, 0.0]);
        assert_eq!(result(Softmax::default(), &[2], &[f32::NEG_INFINITY, 3.0]), [0.0, 1.0]);
        assert_eq!(result(LogSoftmax::default(), &[2], &[1000.0, 0.0]), [0.0, -1000.0]);
        for line in [[f32::INFINITY, 1.0], [f32::NEG_INFINITY, f32::NEG_INFINITY], [f32::NAN, 1.0]] {
            assert!(result(Softmax::default(), &[2], &line).iter().any(|y| y.is_nan()), "{line:?}");
        }
        assert_eq!(result(Softmax::default(), &[2, 0], &[]), [0.0f32; 0]);
        assert_eq!(result(Hardmax::default(), &[2, 0], &[]), [0.0f32; 0]);
    }

    #[test]
    fn narrow_elements_are_rounded_between_steps() {
        // 2048 elements of probability 1 in 2049: a sum of halves rounds to 2048.
        let x = Tensor::from_f32(DType::F16, &[2049], &vec![0.0; 2049]).expect("as many elements");
        let y = evaluate(&Softmax::default().into(), &[&x])[0].to_f64().expect("numbers");
        assert_eq!(y, vec![1.0 / 2048.0; 2049]);
    }

    #[test]
    fn a_scalar_has_no_axis() {
        let refused = refused(&Softmax::default().into(), &[&tensor(&[], &[1.0])]);
        assert_eq!(refused, "attribute `axis`: -1 does not fit, expected an axis from 0 to -1");
    }
}
