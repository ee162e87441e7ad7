//! `clip`: `y[i] = min(max, max(min, x[i]))`. `min` and `max` are single elements, each optional; NaN stays NaN.

use super::{EvalError, InferError, Inputs, OpDef, OpTraits, Operand, Operands, Results, Types, one, only};
use super::{optional, rules, single};
use crate::kernels::map;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, TensorType};
use crate::with_number;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clip;

impl OpDef for Clip {
    const NAME: &'static str = "clip";
    const OPERANDS: &'static [Operand] = &[one("x"), optional("min"), optional("max")];
    const TRAITS: OpTraits = OpTraits::PURE.union(OpTraits::ELEMENTWISE);

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = rules::number(operands, 0)?;
        for limit in [1, 2] {
            if let Some(ty) = operands.optional(limit) {
                operands.same_dtype(limit, 0)?;
                if ty.shape.iter().any(|dim| *dim != Dim::Known(1)) {
                    return Err(operands.mismatch(limit, "a single element"));
                }
            }
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let result = with_number!(types[0].dtype, T => {
            let (min, max) = (limit::<T>(operands, 1)?, limit::<T>(operands, 2)?);
            let values = map::map(&x.to_compute::<T>()?, |x| {
                let raised = min.map_or(x, |min| x.larger(min));
                max.map_or(raised, |max| raised.smaller(max))
            });
            Tensor::from_compute(x.dtype(), x.sizes(), values)?
        });
        Ok(only(result))
    }
}

fn limit<T: Number>(operands: &Inputs<'_>, index: usize) -> Result<Option<T>, EvalError> {
    let Some(limit) = operands.optional(index) else { return Ok(None) };
    Ok(limit.to_compute::<T>()?.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate_some, refused, tensor};

    #[test]
    fn either_limit_may_be_absent_and_the_upper_one_wins() {
        let x = tensor(&[3], &[-2.0, 0.5, 3.0]);
        let clipped = |min: Option<f32>, max: Option<f32>| {
            let (min, max) = (min.map(|min| tensor(&[], &[min])), max.map(|max| tensor(&[], &[max])));
            let result = evaluate_some(&Clip.into(), &[Some(&x), min.as_ref(), max.as_ref()]);
            result[0].elements::<f32>().expect("f32").into_owned()
        };
        assert_eq!(clipped(None, None), [-2.0, 0.5, 3.0]);
        assert_eq!(clipped(Some(0.0), None), [0.0, 0.5, 3.0]);
        assert_eq!(clipped(None, Some(1.0)), [-2.0, 0.5, 1.0]);
        assert_eq!(clipped(Some(2.0), Some(1.0)), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn limits_are_single_elements() {
        let refused = refused(&Clip.into(), &[&tensor(&[1], &[1.0]), &tensor(&[2], &[0.0, 1.0])]);
        assert_eq!(refused, "operand `min`: f32[2] does not fit, expected a single element");
    }
}
