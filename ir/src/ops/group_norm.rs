//! `group_norm`: normalization over groups of channels and all spatial axes, and `instance_norm`, where every channel
//! is a group of its own.
//!
//! `y = (x - mean) / sqrt(variance + epsilon) * scale[channel] + bias[channel]`; mean and population variance are taken
//! per batch entry and group. `x` is `[n, channels, spatial..]`, `scale` and `bias` are `[channels]`. With
//! `layout = "nhwc"` `x` is `[n, spatial.., channels]`.

use rayon::prelude::*;

use super::conv::one_per_channel;
use super::layout::{DataLayout, FEATURES};
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::kernels::normalize::{moments, rescale_run};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNorm {
    /// Groups that the channels fall into, the same number of neighbors each.
    pub num_groups: u64,
    /// What is added to the variance.
    pub epsilon: F32Bits,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for GroupNorm {
    fn default() -> Self {
        Self { num_groups: 1, epsilon: 1e-5.into(), layout: DataLayout::Nchw }
    }
}

impl OpDef for GroupNorm {
    const NAME: &'static str = "group_norm";
    const OPERANDS: &'static [Operand] = &[one("x"), one("scale"), one("bias")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("num_groups", &mut self.num_groups)?;
        visitor.attr("epsilon", &mut self.epsilon)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&FEATURES, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let groups = self.num_groups as usize;
        self.layout.eval(&FEATURES, operands, types, |operands, types| {
            with_float!(types[0].dtype, T => normalize::<T>(operands, groups, self.epsilon))
        })
    }
}

impl GroupNorm {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let types = infer_per_channel(operands)?;
        let channels = types[0].shape[1].known();
        if self.num_groups == 0 || channels.is_some_and(|channels| channels % self.num_groups != 0) {
            return Err(InferError::Attribute {
                attr: "num_groups",
                found: self.num_groups.to_string(),
                expected: format!("a divisor of the channels of {}", types[0]),
            });
        }
        Ok(types)
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceNorm {
    /// What is added to the variance.
    pub epsilon: F32Bits,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for InstanceNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5.into(), layout: DataLayout::Nchw }
    }
}

impl OpDef for InstanceNorm {
    const NAME: &'static str = "instance_norm";
    const OPERANDS: &'static [Operand] = &[one("x"), one("scale"), one("bias")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("epsilon", &mut self.epsilon)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&FEATURES, operands, infer_per_channel)
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let channels = operands.tensor(1)?.len();
        self.layout.eval(&FEATURES, operands, types, |operands, types| {
            with_float!(types[0].dtype, T => normalize::<T>(operands, channels, self.epsilon))
        })
    }
}

/// The type of `x`; checks that scale and bias have an element for each channel.
fn infer_per_channel(operands: &Operands<'_>) -> Result<Types, InferError> {
    let x = operands.float(0)?;
    if x.rank() < 2 {
        return Err(operands.mismatch(0, "batch and channels"));
    }
    for index in 1..3 {
        operands.same_dtype(index, 0)?;
        one_per_channel(operands, index, &x.shape[1])?;
    }
    Ok(single(x.dtype, x.shape.clone()))
}

fn normalize<T: Number>(
    operands: &Inputs<'_>,
    groups: usize,
    epsilon: F32Bits,
) -> Result<Results, EvalError> {
    let (x, scale, bias) = (operands.tensor(0)?, operands.tensor(1)?, operands.tensor(2)?);
    let (scale, bias) = (scale.to_f64()?, bias.to_f64()?);
    let plane = x.sizes()[2..].iter().product::<usize>();
    let epsilon = f64::from(epsilon.get());
    let mut values = x.to_compute::<T>()?.into_owned();
    if !values.is_empty() {
        let channels = scale.len() / groups;
        values.par_chunks_mut(channels * plane).enumerate().for_each(|(index, group)| {
            let (mean, variance) = moments(group);
            let factor = 1.0 / (variance + epsilon).sqrt();
            let first = index % groups * channels;
            let affine = scale[first..].iter().zip(&bias[first..]);
            for (run, (scale, bias)) in group.chunks_mut(plane).zip(affine) {
                rescale_run(run, mean, factor * scale, *bias);
            }
        });
    }
    Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), values)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn groups_share_statistics_but_not_scales() {
        let op = GroupNorm { num_groups: 1, epsilon: 0.0.into(), ..GroupNorm::default() };
        let x = tensor(&[2, 2, 1], &[1.0, 3.0, 10.0, 30.0]);
        let (scale, bias) = (tensor(&[2], &[1.0, 2.0]), tensor(&[2], &[5.0, 0.0]));
        assert_eq!(evaluate(&op.into(), &[&x, &scale, &bias])[0], tensor(&[2, 2, 1], &[4.0, 2.0, 4.0, 2.0]));
    }

    #[test]
    fn an_instance_is_one_channel() {
        let op = InstanceNorm { epsilon: 0.0.into(), ..InstanceNorm::default() };
        let x = tensor(&[1, 2, 2], &[1.0, 3.0, 30.0, 10.0]);
        let (scale, bias) = (tensor(&[2], &[1.0, 2.0]), tensor(&[2], &[5.0, 0.0]));
        assert_eq!(evaluate(&op.into(), &[&x, &scale, &bias])[0], tensor(&[1, 2, 2], &[4.0, 6.0, 2.0, -2.0]));
    }

    #[test]
    fn sums_of_halves_do_not_overflow() {
        // The squares are far beyond the largest f16, 65504.
        let op = GroupNorm { num_groups: 1, epsilon: 0.0.into(), ..GroupNorm::default() };
        let half =
            |sizes: &[usize], values: &[f32]| Tensor::from_f32(DType::F16, sizes, values).expect("fits");
        let x = half(&[1, 1, 2], &[-60000.0, 60000.0]);
        let y = evaluate(&op.into(), &[&x, &half(&[1], &[1.0]), &half(&[1], &[0.0])]);
        assert_eq!(y[0], half(&[1, 1, 2], &[-1.0, 1.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, two) = (tensor(&[1, 2, 1], &[0.0; 2]), tensor(&[2], &[0.0; 2]));
        let groups = |num_groups| GroupNorm { num_groups, ..GroupNorm::default() }.into();
        assert!(refused(&groups(0), &[&x, &two, &two]).contains("`num_groups`"));
        assert!(refused(&groups(3), &[&x, &two, &two]).contains("`num_groups`"));
        let three = tensor(&[3], &[0.0; 3]);
        assert!(refused(&groups(1), &[&x, &two, &three]).contains("`bias`"));
    }
}
