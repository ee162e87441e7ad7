//! `batch_norm`: normalization of each channel by its mean and variance over the batch.
//!
//! `y = (x - mean) / sqrt(variance + epsilon) * scale + b`, channel by channel. `x` is `[n, channels, spatial..]`, or
//! `[n]` with a single channel; the other operands are `[channels]`. With `training_mode` mean and population variance
//! are those of `x`, and there are two more results: `momentum * input_mean + (1 - momentum) * mean`, and the same of
//! the variance. With `layout = "nhwc"` `x` is `[n, spatial.., channels]`.

use rayon::prelude::*;
use smallvec::smallvec;

use super::conv::one_per_channel;
use super::layout::{DataLayout, FEATURES};
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::kernels::normalize::{rescale_run, sum};
use crate::tensor::{Number, Tensor, TensorError};
use crate::types::{Dim, TensorType};
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNorm {
    /// What is added to the variance.
    pub epsilon: F32Bits,
    /// How much of the running statistics stays, in training mode.
    pub momentum: F32Bits,
    /// Whether the statistics are those of `x`.
    pub training_mode: bool,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5.into(), momentum: 0.9.into(), training_mode: false, layout: DataLayout::Nchw }
    }
}

impl OpDef for BatchNorm {
    const NAME: &'static str = "batch_norm";
    const OPERANDS: &'static [Operand] =
        &[one("x"), one("scale"), one("b"), one("input_mean"), one("input_var")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("epsilon", &mut self.epsilon)?;
        visitor.attr("momentum", &mut self.momentum)?;
        visitor.attr("training_mode", &mut self.training_mode)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&FEATURES, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&FEATURES, operands, types, |operands, types| {
            with_float!(types[0].dtype, T => self.evaluate::<T>(operands))
        })
    }
}

impl BatchNorm {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        let channels = match x.rank() {
            0 => return Err(operands.mismatch(0, "at least one axis")),
            1 => Dim::Known(1),
            _ => x.shape[1].clone(),
        };
        for index in 1..5 {
            operands.float(index)?;
            one_per_channel(operands, index, &channels)?;
        }
        let mut types: Types = smallvec![TensorType::new(x.dtype, x.shape.clone())];
        if self.training_mode {
            for index in 3..5 {
                let statistic = operands.ty(index)?;
                types.push(TensorType::new(statistic.dtype, statistic.shape.clone()));
            }
        }
        Ok(types)
    }

    fn evaluate<T: Number>(&self, operands: &Inputs<'_>) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let (mean, variance) = (operands.tensor(3)?, operands.tensor(4)?);
        let (scale, bias) = (operands.tensor(1)?.to_f64()?, operands.tensor(2)?.to_f64()?);
        let plane = x.sizes().get(2..).unwrap_or_default().iter().product::<usize>();
        let mut values = x.to_compute::<T>()?.into_owned();
        let (means, variances) = if self.training_mode {
            channel_moments(&values, scale.len(), plane)
        } else {
            (mean.to_f64()?, variance.to_f64()?)
        };
        let epsilon = f64::from(self.epsilon.get());
        let factors: Vec<f64> = variances
            .iter()
            .zip(&scale)
            .map(|(variance, scale)| scale / (variance + epsilon).sqrt())
            .collect();
        if !values.is_empty() {
            values.par_chunks_mut(plane).enumerate().for_each(|(index, run)| {
                let channel = index % factors.len();
                rescale_run(run, means[channel], factors[channel], bias[channel]);
            });
        }
        let mut results: Results = smallvec![Tensor::from_compute(x.dtype(), x.sizes(), values)?];
        if self.training_mode {
            results.push(self.running(mean, &means)?);
            results.push(self.running(variance, &variances)?);
        }
        Ok(results)
    }

    /// The running statistic after `batch` was seen.
    fn running(&self, before: &Tensor, batch: &[f64]) -> Result<Tensor, TensorError> {
        let momentum = f64::from(self.momentum.get());
        let blend = |(old, new): (f64, &f64)| momentum * old + (1.0 - momentum) * new;
        let blended = before.to_f64()?.into_iter().zip(batch).map(blend);
        with_float!(before.dtype(), T => {
            Tensor::from_compute(before.dtype(), before.sizes(), blended.map(T::from_f64).collect())
        })
    }
}

/// Mean and population variance of each channel of `values`, whose planes are `[n, channels]`.
fn channel_moments<T: Number>(values: &[T], channels: usize, plane: usize) -> (Vec<f64>, Vec<f64>) {
    let one = |channel: usize| {
        let runs = || values.chunks(plane.max(1)).skip(channel).step_by(channels.max(1));
        let count = runs().map(<[T]>::len).sum::<usize>() as f64;
        let mean = runs().map(|run| sum(run, |value| value)).sum::<f64>() / count;
        let variance =
            runs().map(|run| sum(run, |value| (value - mean) * (value - mean))).sum::<f64>() / count;
        (mean, variance)
    };
    (0..channels).into_par_iter().map(one).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn row(values: &[f32]) -> Tensor {
        tensor(&[values.len()], values)
    }

    #[test]
    fn channels_have_given_statistics() {
        let op = BatchNorm { epsilon: 0.0.into(), ..BatchNorm::default() };
        let x = tensor(&[2, 2], &[1.0, 10.0, 3.0, 30.0]);
        let operands = [&x, &row(&[1.0, 2.0]), &row(&[0.5, 0.0]), &row(&[1.0, 10.0]), &row(&[4.0, 100.0])];
        let results = evaluate(&op.into(), &operands);
        assert_eq!(results, [tensor(&[2, 2], &[0.5, 0.0, 1.5, 4.0])]);
    }

    #[test]
    fn a_vector_has_one_channel() {
        let op = BatchNorm { epsilon: 0.0.into(), ..BatchNorm::default() };
        let one = row(&[1.0]);
        let results = evaluate(&op.into(), &[&row(&[1.0, 3.0]), &one, &row(&[0.0]), &one, &row(&[4.0])]);
        assert_eq!(results, [row(&[0.0, 1.0])]);
    }

    #[test]
    fn training_takes_statistics_of_the_batch() {
        let op = BatchNorm { epsilon: 0.0.into(), momentum: 0.5.into(), training_mode: true, ..BatchNorm::default() };
        let x = tensor(&[2, 1, 2], &[0.0, 2.0, 0.0, 2.0]);
        let one = row(&[1.0]);
        let results = evaluate(&op.into(), &[&x, &one, &row(&[0.0]), &row(&[3.0]), &row(&[5.0])]);
        assert_eq!(results, [tensor(&[2, 1, 2], &[-1.0, 1.0, -1.0, 1.0]), row(&[2.0]), row(&[3.0])]);
    }

    #[test]
    fn every_channel_needs_its_parameters() {
        let x = tensor(&[1, 2], &[0.0; 2]);
        let (two, one) = (row(&[1.0; 2]), row(&[1.0]));
        assert!(
            refused(&BatchNorm::default().into(), &[&x, &two, &two, &one, &two]).contains("`input_mean`")
        );
    }
}
