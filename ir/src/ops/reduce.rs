//! Reductions: all elements along some axes become one.
//!
//! `axes` is an optional vector of `i64`. Without axes, or with an empty vector, all axes are reduced, or none where
//! `noop_with_empty_axes` says so; the function is applied to single elements then. Floats are accumulated in `f64` and
//! rounded once. Integers are accumulated exactly and keep their low bits.

use smallvec::SmallVec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, rules};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::real::Real;
use crate::kernels::reduce::Reduction;
use crate::tensor::{Number, Tensor, TensorError};
use crate::types::{Dim, DimExpr, Shape, SymTensor, TensorType};
use crate::{with_float, with_number};

/// Declares reductions: which elements they take, how they fold them, and for some, how they fold symbolic sizes.
macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $class:expr, $fold:ident $(, $start:literal, $symbolic:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Whether reduced axes stay, with size 1.
            pub keepdims: bool,
            /// Whether no axes means none, not all.
            pub noop_with_empty_axes: bool,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { keepdims: true, noop_with_empty_axes: false }
            }
        }

        impl OpDef for $name {
            const NAME: &'static str = $word;
            const OPERANDS: &'static [Operand] = &[one("x"), optional("axes")];

            fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
                visitor.attr("keepdims", &mut self.keepdims)?;
                visitor.attr("noop_with_empty_axes", &mut self.noop_with_empty_axes)
            }

            fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
                let dtype = $class(operands, 0)?.dtype;
                Ok(single(dtype, infer_shape(operands, self.keepdims, self.noop_with_empty_axes)?))
            }

            fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
                let x = operands.tensor(0)?;
                let axes = operands.optional(1).map_or(Ok(Vec::new()), Tensor::to_i64)?;
                let reduced = reduced_axes(&axes, x.rank(), self.noop_with_empty_axes)?;
                Ok(only($fold(x, &Reduction::new(x.sizes(), &reduced), &sizes_of(&types[0])?)?))
            }

            $(fn symbolic(&self, operands: &Operands<'_>) -> Option<SymTensor> {
                let shape = infer_shape(operands, self.keepdims, self.noop_with_empty_axes).ok()?;
                fold_symbolic(operands, &shape, $start, $symbolic)
            })?
        }
    )*};
}

reductions! {
    /// The sum; 0 of nothing.
    ReduceSum = "reduce_sum", rules::number, sum, 0, DimExpr::add;
    /// The product; 1 of nothing.
    ReduceProd = "reduce_prod", rules::number, product, 1, DimExpr::mul;
    /// The mean, of integers rounded toward zero; NaN of nothing, of no integers 0.
    ReduceMean = "reduce_mean", rules::number, mean;
    /// The largest element, NaN if there is one; the lowest value of the type of nothing.
    ReduceMax = "reduce_max", ordered, largest;
    /// The smallest element, NaN if there is one; the highest value of the type of nothing.
    ReduceMin = "reduce_min", ordered, smallest;
    /// The sum of magnitudes.
    ReduceL1 = "reduce_l1", rules::number, sum_of_magnitudes;
    /// The square root of the sum of squares; of integers truncated.
    ReduceL2 = "reduce_l2", rules::number, root_of_squares;
    /// The sum of squares.
    ReduceSumSquare = "reduce_sum_square", rules::number, sum_of_squares;
    /// The natural logarithm of the sum.
    ReduceLogSum = "reduce_log_sum", Operands::float, log_of_sum;
    /// The natural logarithm of the sum of exponentials, without overflow for large elements.
    ReduceLogSumExp = "reduce_log_sum_exp", Operands::float, log_of_exponentials;
}

/// Numbers and truth values have an order.
fn ordered<'a>(operands: &Operands<'a>, index: usize) -> Result<&'a TensorType, InferError> {
    operands.ty(index)
}

fn infer_shape(operands: &Operands<'_>, keepdims: bool, noop: bool) -> Result<Shape, InferError> {
    let x = &operands.ty(0)?.shape;
    let mut count = Some(0);
    if operands.has(1) {
        let axes = operands.one_of(1, &[DType::I64])?;
        if axes.rank() > 1 {
            return Err(operands.mismatch(1, "a vector"));
        }
        count = axes.shape.first().map_or(Some(1), Dim::known);
    }
    let axes = if count == Some(0) { Some(Vec::new()) } else { operands.integers(1) };
    let Some(axes) = axes else { return unknown_axes(operands, x, count.filter(|_| !keepdims), keepdims) };
    let reduced = reduced_axes(&axes, x.rank(), noop)?;
    let dims = x.iter().zip(&reduced).filter_map(|(dim, reduced)| match (*reduced, keepdims) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(Dim::Known(1)),
        (true, false) => None,
    });
    Ok(dims.collect())
}

/// The shape when the axes are given by elements that are not known, `count` of them.
fn unknown_axes(
    operands: &Operands<'_>,
    x: &Shape,
    count: Option<u64>,
    keepdims: bool,
) -> Result<Shape, InferError> {
    let rank = match count {
        _ if keepdims => x.rank(),
        Some(count) => usize::try_from(count)
            .ok()
            .and_then(|count| x.rank().checked_sub(count))
            .ok_or_else(|| operands.mismatch(1, format!("at most {} axes", x.rank())))?,
        None => {
            let why = "a reduction over a number of axes that is not known when the graph is built";
            return Err(InferError::Unsupported(why.to_owned()));
        }
    };
    Ok((0..rank).map(|_| operands.fresh()).collect())
}

/// Whether each axis is reduced.
fn reduced_axes(axes: &[i64], rank: usize, noop: bool) -> Result<SmallVec<[bool; 6]>, InferError> {
    let mut reduced = SmallVec::from_elem(axes.is_empty() && !noop, rank);
    for axis in rules::axes("axes", axes, rank)? {
        reduced[axis] = true;
    }
    Ok(reduced)
}

/// All elements of a symbolic vector folded; `None` for other tensors, as shapes are vectors.
fn fold_symbolic(
    operands: &Operands<'_>,
    shape: &Shape,
    start: i64,
    step: impl Fn(&DimExpr, &DimExpr) -> Option<DimExpr>,
) -> Option<SymTensor> {
    let x = operands.symbolic(0)?;
    let sizes = shape.as_known()?;
    if x.sizes.len() != 1 || sizes.iter().product::<u64>() != 1 {
        return None;
    }
    let folded = x.elements.iter().try_fold(DimExpr::constant(start), |folded, x| step(&folded, x))?;
    let sizes = sizes.iter().map(|size| *size as usize).collect();
    Some(SymTensor { dtype: x.dtype, sizes, elements: vec![folded] })
}

type Folded = Result<Tensor, TensorError>;

/// Start, step and finish of a fold.
struct Steps<A, S, F>(A, S, F);

/// Folds `x` by `floats` or by `integers`, whichever it consists of.
fn fold(
    x: &Tensor,
    reduction: &Reduction,
    sizes: &[usize],
    floats: Steps<f64, impl Fn(f64, f64) -> f64 + Sync, impl Fn(f64) -> f64 + Sync>,
    integers: Steps<i128, impl Fn(i128, i128) -> i128 + Sync, impl Fn(i128) -> i128 + Sync>,
) -> Folded {
    if x.dtype().is_float() {
        let Steps(start, step, finish) = floats;
        return with_float!(x.dtype(), T => {
            let step = |sum, x: T| step(sum, x.to_f64());
            let values = reduction.fold(&x.to_compute::<T>()?, start, step, |sum| T::from_f64(finish(sum)));
            Tensor::from_compute(x.dtype(), sizes, values)
        });
    }
    let Steps(start, step, finish) = integers;
    let unsigned = x.dtype() == DType::U64;
    let widen = |x: i64| if unsigned { i128::from(x.cast_unsigned()) } else { i128::from(x) };
    let values = reduction.fold(&x.to_i64()?, start, |sum, x| step(sum, widen(x)), |sum| finish(sum) as i64);
    Tensor::from_i64(x.dtype(), sizes, values)
}

fn sum(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    let integers = Steps(0, i128::wrapping_add, |sum| sum);
    fold(x, reduction, sizes, Steps(0.0, |sum, x| sum + x, |sum| sum), integers)
}

fn product(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    let integers = Steps(1, i128::wrapping_mul, |product| product);
    fold(x, reduction, sizes, Steps(1.0, |product, x| product * x, |product| product), integers)
}

fn mean(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    let count = reduction.count();
    let floats = Steps(0.0, |sum, x| sum + x, |sum| sum / count as f64);
    let integers = Steps(0, i128::wrapping_add, |sum: i128| sum.checked_div(count as i128).unwrap_or(0));
    fold(x, reduction, sizes, floats, integers)
}

fn sum_of_magnitudes(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    let integers = Steps(0, |sum: i128, x: i128| sum.wrapping_add(x.abs()), |sum| sum);
    fold(x, reduction, sizes, Steps(0.0, |sum, x: f64| sum + x.abs(), |sum| sum), integers)
}

fn sum_of_squares(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    let integers = Steps(0, |sum: i128, x: i128| sum.wrapping_add(x.wrapping_mul(x)), |sum| sum);
    fold(x, reduction, sizes, Steps(0.0, |sum, x| sum + x * x, |sum| sum), integers)
}

fn root_of_squares(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    // Squares of 64-bit integers may add up to more than 128 bits; saturating keeps the root large.
    let step = |sum: i128, x: i128| sum.saturating_add(x.saturating_mul(x));
    let integers = Steps(0, step, |sum: i128| (sum as f64).sqrt() as i128);
    fold(x, reduction, sizes, Steps(0.0, |sum, x| sum + x * x, f64::sqrt), integers)
}

fn log_of_sum(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    with_float!(x.dtype(), T => {
        let step = |sum: f64, x: T| sum + x.to_f64();
        let values = reduction.fold(&x.to_compute::<T>()?, 0.0, step, |sum| T::from_f64(libm::log(sum)));
        Tensor::from_compute(x.dtype(), sizes, values)
    })
}

fn log_of_exponentials(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    with_float!(x.dtype(), T => {
        // The sum is of e^(x - m), where m is the largest element so far.
        let step = |(m, sum): (f64, f64), x: T| match x.to_f64() {
            x if x == m => (m, sum + 1.0),
            f64::NEG_INFINITY => (m, sum),
            x if x < m => (m, sum + T::exp_of(x - m)),
            x => (x, sum * T::exp_of(m - x) + 1.0),
        };
        let finish = |(m, sum): (f64, f64)| T::from_f64(m + libm::log(sum));
        let values = reduction.fold(&x.to_compute::<T>()?, (f64::NEG_INFINITY, 0.0), step, finish);
        Tensor::from_compute(x.dtype(), sizes, values)
    })
}

fn largest(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    with_number!(x.dtype(), T => {
        // Types narrower than the one they are computed in have a lowest value of their own.
        let lowest = x.dtype().integer_range().map_or(T::LOWEST, |(lowest, _)| T::from_i64(lowest as i64));
        let values = reduction.fold(&x.to_compute::<T>()?, lowest, Number::larger, |largest| largest);
        Tensor::from_compute(x.dtype(), sizes, values)
    })
}

fn smallest(x: &Tensor, reduction: &Reduction, sizes: &[usize]) -> Folded {
    with_number!(x.dtype(), T => {
        let highest = x.dtype().integer_range().map_or(T::HIGHEST, |(_, highest)| T::from_i64(highest as i64));
        let values = reduction.fold(&x.to_compute::<T>()?, highest, Number::smaller, |smallest| smallest);
        Tensor::from_compute(x.dtype(), sizes, values)
    })
}

#[cfg(test)]
mod tests;
