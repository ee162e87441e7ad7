//! `rms_norm`: normalization by the root of the mean square, over the axes from `axis` on.
//!
//! `y = x / sqrt(mean(x * x) + epsilon) * scale`. `scale` stretches to the shape of `x` and gives the result its
//! element type.

use rayon::prelude::*;

use super::layer_norm::Spread;
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single,
};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::dtype::DType;
use crate::kernels::normalize::{mean_square, rescale_row};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RmsNorm {
    /// The first normalized axis; negative ones count from the end.
    pub axis: i64,
    /// What is added to the mean square.
    pub epsilon: F32Bits,
}

impl Default for RmsNorm {
    fn default() -> Self {
        Self { axis: -1, epsilon: 1e-5.into() }
    }
}

impl OpDef for RmsNorm {
    const NAME: &'static str = "rms_norm";
    const OPERANDS: &'static [Operand] = &[one("x"), one("scale")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("epsilon", &mut self.epsilon)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let (x, scale) = (operands.float(0)?, operands.float(1)?);
        rules::axis("axis", self.axis, x.rank())?;
        rules::stretches_to(operands, 1, &x.shape)?;
        Ok(single(scale.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(operands.tensor(0)?.dtype(), T => self.evaluate::<T>(operands, types[0].dtype))
    }
}

impl RmsNorm {
    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, dtype: DType) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let row = x.sizes()[axis..].iter().product::<usize>();
        let affine = Spread::new(operands.tensor(1)?, None, x.sizes(), axis)?;
        let epsilon = f64::from(self.epsilon.get());
        let mut values = x.to_compute::<T>()?.into_owned();
        if !values.is_empty() {
            values.par_chunks_mut(row).enumerate().for_each(|(index, row)| {
                let factor = 1.0 / (mean_square(row) + epsilon).sqrt();
                rescale_row(row, 0.0, factor, affine.row(index, row.len()));
            });
        }
        // `x` and `scale` may differ in precision.
        let result = with_float!(dtype, R => {
            Tensor::from_compute(dtype, x.sizes(), values.iter().map(|value| R::from_f64(value.to_f64())).collect())
        });
        Ok(only(result?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, tensor};

    #[test]
    fn rows_are_divided_by_their_root_mean_square() {
        let op = RmsNorm { epsilon: 0.0.into(), ..RmsNorm::default() };
        let x = tensor(&[1, 4], &[1.0, 1.0, 5.0, 5.0]);
        let y = evaluate(&op.into(), &[&x, &tensor(&[4], &[13f32.sqrt(), 0.0, 0.0, 13f32.sqrt()])]);
        assert_eq!(y[0], tensor(&[1, 4], &[1.0, 0.0, 0.0, 5.0]));
    }

    #[test]
    fn the_result_is_of_the_type_of_the_scale() {
        let scale = Tensor::from_vec(&[1], vec![2.0f64]).expect("one element");
        let y = evaluate(&RmsNorm::default().into(), &[&tensor(&[1, 1], &[1000.0]), &scale]);
        assert_eq!(y[0].dtype(), DType::F64);
    }
}
