//! `layer_norm`: layer normalization over the axes from `axis` on.
//!
//! `y = (x - mean) * inv_std_dev * scale + b` with `inv_std_dev = 1 / sqrt(variance + epsilon)`; mean and population
//! variance are taken over the normalized axes. `scale` and `b` stretch to the shape of `x`; the other two results have
//! size 1 along the normalized axes.

use rayon::prelude::*;

use super::sizes_of;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, optional, rules};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::dtype::DType;
use crate::kernels::broadcast;
use crate::kernels::normalize::{RowAffine, moments, rescale_row};
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerNorm {
    /// The first normalized axis; negative ones count from the end.
    pub axis: i64,
    /// What is added to the variance.
    pub epsilon: F32Bits,
    /// Element type of the second and third result, `f32` or `bf16`. The sums are formed in `f64` all the same.
    pub stash_type: DType,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { axis: -1, epsilon: 1e-5.into(), stash_type: DType::F32 }
    }
}

impl OpDef for LayerNorm {
    const NAME: &'static str = "layer_norm";
    const OPERANDS: &'static [Operand] = &[one("x"), one("scale"), optional("b")];
    const RESULTS: &'static [&'static str] = &["y", "mean", "inv_std_dev"];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("epsilon", &mut self.epsilon)?;
        visitor.attr("stash_type", &mut self.stash_type)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        for index in (1..3).filter(|index| operands.has(*index)) {
            operands.same_dtype(index, 0)?;
            rules::stretches_to(operands, index, &x.shape)?;
        }
        if !matches!(self.stash_type, DType::F32 | DType::BF16) {
            return Err(InferError::Attribute {
                attr: "stash_type",
                found: self.stash_type.to_string(),
                expected: "f32 or bf16".to_owned(),
            });
        }
        let reduced =
            |(position, dim): (usize, &Dim)| if position < axis { dim.clone() } else { Dim::Known(1) };
        let statistic = TensorType::new(self.stash_type, x.shape.iter().enumerate().map(reduced).collect());
        Ok(smallvec::smallvec![TensorType::new(x.dtype, x.shape.clone()), statistic.clone(), statistic])
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands, types))
    }
}

impl LayerNorm {
    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let row = x.sizes()[axis..].iter().product::<usize>();
        let affine = Spread::new(operands.tensor(1)?, operands.optional(2), x.sizes(), axis)?;
        let epsilon = f64::from(self.epsilon.get());
        let mut values = x.to_compute::<T>()?.into_owned();
        let sizes = sizes_of(&types[1])?;
        // Rows without elements have no mean.
        let mut statistics = vec![(f32::NAN, f32::NAN); sizes.iter().product()];
        if !values.is_empty() {
            let rows = values.par_chunks_mut(row).zip(&mut statistics).enumerate();
            rows.for_each(|(index, (row, statistic))| {
                let (mean, variance) = moments(row);
                let factor = 1.0 / (variance + epsilon).sqrt();
                *statistic = (mean as f32, factor as f32);
                rescale_row(row, mean, factor, affine.row(index, row.len()));
            });
        }
        let (means, factors): (Vec<f32>, Vec<f32>) = statistics.into_iter().unzip();
        Ok(smallvec::smallvec![
            Tensor::from_compute(x.dtype(), x.sizes(), values)?,
            Tensor::from_f32(self.stash_type, &sizes, &means)?,
            Tensor::from_f32(self.stash_type, &sizes, &factors)?,
        ])
    }
}

/// Scale and bias of a normalization by rows, stretched to one row where all rows share them, else to all rows.
pub(crate) struct Spread {
    scale: Vec<f64>,
    bias: Option<Vec<f64>>,
}

impl Spread {
    /// `scale` and `bias` for a tensor of `sizes` whose rows start at `axis`.
    pub(crate) fn new(
        scale: &Tensor,
        bias: Option<&Tensor>,
        sizes: &[usize],
        axis: usize,
    ) -> Result<Self, EvalError> {
        let spread = |tensor: &Tensor| -> Result<Vec<f64>, EvalError> {
            let values = tensor.to_f64()?;
            let outer = (axis + tensor.rank()).saturating_sub(sizes.len());
            let shared = tensor.sizes()[..outer].iter().all(|size| *size == 1);
            let (from, to) =
                if shared { (&tensor.sizes()[outer..], &sizes[axis..]) } else { (tensor.sizes(), sizes) };
            Ok(broadcast::stretch(&values, from, to))
        };
        Ok(Self { scale: spread(scale)?, bias: bias.map(spread).transpose()? })
    }

    /// The part for the row at `index` of `length` elements.
    pub(crate) fn row(&self, index: usize, length: usize) -> RowAffine<'_> {
        let part = |values: &[f64]| if values.len() == length { 0 } else { index * length };
        let scale = &self.scale[part(&self.scale)..];
        RowAffine { scale, bias: self.bias.as_ref().map(|bias| &bias[part(bias)..]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, evaluate_some, refused, tensor};

    fn exact(axis: i64) -> LayerNorm {
        LayerNorm { axis, epsilon: 0.0.into(), ..LayerNorm::default() }
    }

    #[test]
    fn rows_are_normalized_and_scaled() {
        let x = tensor(&[2, 2], &[1.0, 3.0, 10.0, 30.0]);
        let results = evaluate(&exact(-1).into(), &[&x, &tensor(&[2], &[1.0, 2.0]), &tensor(&[1], &[5.0])]);
        assert_eq!(results[0], tensor(&[2, 2], &[4.0, 7.0, 4.0, 7.0]));
        assert_eq!(results[1], tensor(&[2, 1], &[2.0, 20.0]));
        assert_eq!(results[2], tensor(&[2, 1], &[1.0, 0.1]));
    }

    #[test]
    fn scale_may_differ_from_row_to_row() {
        let x = tensor(&[2, 2], &[1.0, 3.0, 10.0, 30.0]);
        let results = evaluate(&exact(1).into(), &[&x, &tensor(&[2, 1], &[1.0, 2.0])]);
        assert_eq!(results[0], tensor(&[2, 2], &[-1.0, 1.0, -2.0, 2.0]));
        let shared = evaluate(&exact(1).into(), &[&x, &tensor(&[1, 2], &[1.0, 2.0])]);
        assert_eq!(shared[0], tensor(&[2, 2], &[-1.0, 2.0, -1.0, 2.0]));
    }

    #[test]
    fn several_axes_are_one_row() {
        let x = tensor(&[2, 2], &[1.0, 1.0, 3.0, 3.0]);
        let results = evaluate_some(&exact(0).into(), &[Some(&x), Some(&tensor(&[], &[1.0])), None]);
        assert_eq!(results[0], tensor(&[2, 2], &[-1.0, -1.0, 1.0, 1.0]));
        assert_eq!(results[1], tensor(&[1, 1], &[2.0]));
    }

    #[test]
    fn a_constant_row_is_the_bias() {
        let x = tensor(&[1, 3], &[7.0; 3]);
        let results = evaluate(&LayerNorm::default().into(), &[&x, &tensor(&[3], &[9.0; 3])]);
        assert_eq!(results[0], tensor(&[1, 3], &[0.0; 3]));
    }

    #[test]
    fn statistics_may_be_stored_short() {
        let op = LayerNorm { stash_type: DType::BF16, ..exact(-1) };
        let results = evaluate(&op.into(), &[&tensor(&[1, 2], &[0.0, 6.0]), &tensor(&[], &[1.0])]);
        assert_eq!(results[1], Tensor::from_f32(DType::BF16, &[1, 1], &[3.0]).expect("one element"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = tensor(&[1, 3], &[7.0; 3]);
        assert!(refused(&exact(2).into(), &[&x, &x]).contains("`axis`"));
        assert!(refused(&exact(1).into(), &[&x, &tensor(&[2], &[1.0; 2])]).contains("`scale`"));
        assert!(refused(&exact(1).into(), &[&x, &tensor(&[1, 1, 3], &[1.0; 3])]).contains("`scale`"));
    }
}
