//! Normalizations along axes without parameters to learn.
//!
//! `lp_norm`: `y = x / norm`, where the norm of order 1 or 2 is taken along one axis; 0 where the norm is 0.
//! `mean_variance_norm`: `y = (x - mean) / (deviation + 1e-9)`, where mean and standard deviation are taken along
//! `axes`.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::normalize::Groups;
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// Added to a standard deviation, so that constants become 0.
const EPSILON: f64 = 1e-9;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LpNorm {
    /// The axis along which elements are one vector; negative ones count from the end.
    pub axis: i64,
    /// The order of the norm, 1 or 2.
    pub p: i64,
}

impl Default for LpNorm {
    fn default() -> Self {
        Self { axis: -1, p: 2 }
    }
}

impl OpDef for LpNorm {
    const NAME: &'static str = "lp_norm";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("p", &mut self.p)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        rules::axis("axis", self.axis, x.rank())?;
        if !matches!(self.p, 1 | 2) {
            let expected = "1 or 2".to_owned();
            return Err(InferError::Attribute { attr: "p", found: self.p.to_string(), expected });
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands.tensor(0)?))
    }
}

impl LpNorm {
    fn evaluate<T: Number>(&self, x: &Tensor) -> Result<Results, EvalError> {
        let groups = Groups::over(&[rules::axis("axis", self.axis, x.rank())?], x.sizes());
        let mut values = x.to_compute::<T>()?.into_owned();
        let norms: Vec<f64> = if self.p == 1 {
            groups.sums(&values, |value, _| value.abs())
        } else {
            groups.sums(&values, |value, _| value * value).into_iter().map(f64::sqrt).collect()
        };
        let divided = |value: f64, norm: f64| if norm == 0.0 { 0.0 } else { value / norm };
        groups.for_each(|place, group| {
            values[place] = T::from_f64(divided(values[place].to_f64(), norms[group]));
        });
        Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), values)?))
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeanVarianceNorm {
    /// The axes along which mean and deviation are taken; negative ones count from the end.
    pub axes: Vec<i64>,
}

impl Default for MeanVarianceNorm {
    fn default() -> Self {
        Self { axes: vec![0, 2, 3] }
    }
}

impl OpDef for MeanVarianceNorm {
    const NAME: &'static str = "mean_variance_norm";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axes", &mut self.axes)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        if rules::axes("axes", &self.axes, x.rank())?.is_empty() {
            let expected = "at least one axis".to_owned();
            return Err(InferError::Attribute { attr: "axes", found: "[]".to_owned(), expected });
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands.tensor(0)?))
    }
}

impl MeanVarianceNorm {
    fn evaluate<T: Number>(&self, x: &Tensor) -> Result<Results, EvalError> {
        let groups = Groups::over(&rules::axes("axes", &self.axes, x.rank())?, x.sizes());
        let mut values = x.to_compute::<T>()?.into_owned();
        let count = groups.elements() as f64;
        let average = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / count).collect::<Vec<_>>();
        let means = average(groups.sums(&values, |value, _| value));
        let variances = average(groups.sums(&values, |value, group| (value - means[group]).powi(2)));
        groups.for_each(|place, group| {
            let centered = values[place].to_f64() - means[group];
            values[place] = T::from_f64(centered / (variances[group].sqrt() + EPSILON));
        });
        Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), values)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn norms_of_both_orders() {
        let x = tensor(&[2, 2], &[3.0, 0.0, -4.0, 0.0]);
        let norm = |axis, p| evaluate(&LpNorm { axis, p }.into(), &[&x]).remove(0);
        assert_eq!(norm(0, 2), tensor(&[2, 2], &[0.6, 0.0, -0.8, 0.0]));
        assert_eq!(norm(-1, 1), tensor(&[2, 2], &[1.0, 0.0, -1.0, 0.0]));
        assert!(refused(&LpNorm { axis: 0, p: 3 }.into(), &[&x]).contains("`p`"));
    }

    #[test]
    fn mean_and_variance_along_axes() {
        let op = MeanVarianceNorm { axes: vec![0, -1] };
        let x = tensor(&[2, 2, 1], &[1.0, 5.0, 3.0, 5.0]);
        assert_eq!(evaluate(&op.into(), &[&x])[0], tensor(&[2, 2, 1], &[-1.0, 0.0, 1.0, 0.0]));
        let twice = MeanVarianceNorm { axes: vec![0, -3] };
        assert!(refused(&twice.into(), &[&x]).contains("`axes`"));
    }
}
