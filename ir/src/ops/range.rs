//! `range`: the numbers from `start` to before `limit` in steps of `delta`.
//!
//! There are `max(0, ceil((limit - start) / delta))` of them, and number `i` is `start + i * delta`. All three operands
//! have one element and one type.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, single,
    sizes_of,
};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, DimExpr, MAX_ELEMENTS, Shape, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range;

const DTYPES: &[DType] =
    &[DType::F32, DType::F64, DType::F16, DType::BF16, DType::I16, DType::I32, DType::I64];

impl OpDef for Range {
    const NAME: &'static str = "range";
    const OPERANDS: &'static [Operand] = &[one("start"), one("limit"), one("delta")];

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let dtype = operands.one_of(0, DTYPES)?.dtype;
        for index in 0..3 {
            operands.same_dtype(index, 0)?;
            movement::check_scalar(operands, index)?;
        }
        let count = if dtype.is_float() { float_count(operands)? } else { integer_count(operands)? };
        Ok(single(dtype, Shape::from_iter([count])))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (start, delta) = (operands.tensor(0)?, operands.tensor(2)?);
        let sizes = sizes_of(&types[0])?;
        with_number!(types[0].dtype, T => {
            let (start, delta) = (start.to_compute::<T>()?[0], delta.to_compute::<T>()?[0]);
            let number = |index: usize| {
                if T::IS_FLOAT {
                    T::from_f64(start.to_f64() + index as f64 * delta.to_f64())
                } else {
                    start.add(T::from_i64(index as i64).mul(delta))
                }
            };
            let values: Vec<T> = (0..sizes[0]).map(number).collect();
            Ok(only(Tensor::from_compute(types[0].dtype, &sizes, values)?))
        })
    }
}

/// How many integers there are; symbolic where the step divides the way.
fn integer_count(operands: &Operands<'_>) -> Result<Dim, InferError> {
    let element = |index| operands.symbolic(index).and_then(|tensor| tensor.elements.into_iter().next());
    let (Some(start), Some(limit), Some(delta)) = (element(0), element(1), element(2)) else {
        return Ok(operands.fresh());
    };
    let Some(step) = delta.as_constant() else { return Ok(operands.fresh()) };
    if step == 0 {
        return Err(operands.mismatch(2, "a step other than 0"));
    }
    let (Some(first), Some(last)) = (start.as_constant(), limit.as_constant()) else {
        let count = limit.sub(&start).and_then(|way| way.div_exact(&delta));
        return operands.dim(1, count.filter(DimExpr::is_never_negative));
    };
    let (way, step) = (i128::from(last) - i128::from(first), i128::from(step));
    let count = way / step + i128::from(way % step != 0 && (way > 0) == (step > 0));
    checked_count(operands, u64::try_from(count.max(0)).ok())
}

fn float_count(operands: &Operands<'_>) -> Result<Dim, InferError> {
    let element = |index| operands.constant(index)?.to_f64().ok()?.first().copied();
    let (Some(start), Some(limit), Some(delta)) = (element(0), element(1), element(2)) else {
        return Ok(operands.fresh());
    };
    let count = ((limit - start) / delta).ceil().max(0.0);
    // A comparison that is false for what is not a number: steps of 0 and infinite ways.
    let finite = delta != 0.0 && !((limit - start) / delta).is_nan() && count <= MAX_ELEMENTS as f64;
    checked_count(operands, finite.then_some(count as u64))
}

fn checked_count(operands: &Operands<'_>, count: Option<u64>) -> Result<Dim, InferError> {
    let count = count.filter(|count| *count <= MAX_ELEMENTS);
    count.map(Dim::Known).ok_or_else(|| operands.mismatch(2, "a step that reaches the limit"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ints, run, run_one, tensor};
    use super::*;

    #[test]
    fn integers_in_either_direction() {
        let range =
            |start, limit, delta| run_one(Range, &[start, limit, delta].map(|value| ints(&[], &[value]))).1;
        assert_eq!(range(3, 9, 3), [3, 6]);
        assert_eq!(range(10, 4, -2), [10, 8, 6]);
        assert_eq!(range(0, 5, 2), [0, 2, 4]);
        assert_eq!(range(5, 0, 2), [0; 0]);
        assert_eq!(range(i64::MIN, i64::MAX, i64::MAX), [i64::MIN, -1, i64::MAX - 1]);
    }

    #[test]
    fn floats_are_not_summed_up() {
        let operands = [0.0, 0.3, 0.1].map(|value| tensor(&[], &[value]));
        let results = run(Range, &operands).expect("a range");
        // 0.3 and 0.1 are not exact, and their quotient is a little more than 3.
        assert_eq!(&*results[0].to_f32().expect("floats"), [0.0, 0.1, 0.2, 0.3]);
    }

    #[test]
    fn ranges_without_an_end_are_refused() {
        for (start, limit, delta) in
            [(0.0, 1.0, 0.0), (0.0, f32::INFINITY, 1.0), (f32::NAN, 1.0, 1.0), (0.0, 1e30, 1.0)]
        {
            assert!(run(Range, &[start, limit, delta].map(|value| tensor(&[], &[value]))).is_err());
        }
        assert!(run(Range, &[0, i64::MAX, 1].map(|value| ints(&[], &[value]))).is_err());
        assert!(run(Range, &[0, 1, 0].map(|value| ints(&[], &[value]))).is_err());
    }
}
