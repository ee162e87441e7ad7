//! `lrn`: local response normalization across neighboring channels.
//!
//! `y = x / (bias + alpha / size * sum of squares) ^ beta`, where the sum runs over the channels from
//! `c - floor((size - 1) / 2)` to `c + ceil((size - 1) / 2)` that exist. `x` is `[n, channels, spatial..]`.

use rayon::prelude::*;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single};
use crate::attr::{AttrError, AttrVisitor, F32Bits};
use crate::tensor::{Number, Tensor};
use crate::types::TensorType;
use crate::with_float;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lrn {
    /// What the mean of squares is multiplied by.
    pub alpha: F32Bits,
    /// The exponent.
    pub beta: F32Bits,
    /// What is added to the mean of squares.
    pub bias: F32Bits,
    /// Number of channels that are summed over.
    pub size: u64,
}

impl Default for Lrn {
    fn default() -> Self {
        Self { alpha: 1e-4.into(), beta: 0.75.into(), bias: 1.0.into(), size: 1 }
    }
}

impl OpDef for Lrn {
    const NAME: &'static str = "lrn";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("alpha", &mut self.alpha)?;
        visitor.attr("beta", &mut self.beta)?;
        visitor.attr("bias", &mut self.bias)?;
        visitor.attr("size", &mut self.size)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        if x.rank() < 2 {
            return Err(operands.mismatch(0, "batch and channels"));
        }
        if self.size == 0 {
            let expected = "at least one channel".to_owned();
            return Err(InferError::Attribute { attr: "size", found: "0".to_owned(), expected });
        }
        Ok(single(x.dtype, x.shape.clone()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands))
    }
}

impl Lrn {
    fn evaluate<T: Number>(&self, operands: &Inputs<'_>) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let (channels, plane) = (x.sizes()[1], x.sizes()[2..].iter().product::<usize>());
        let values = x.to_compute::<T>()?;
        let mut result = vec![T::default(); values.len()];
        if !values.is_empty() {
            result.par_chunks_mut(plane).enumerate().for_each(|(index, run)| {
                let (entry, channel) = (index / channels, index % channels);
                let (first, last) = self.neighbors(channel, channels);
                let at = |channel: usize| &values[(entry * channels + channel) * plane..][..plane];
                let mut squares = vec![0.0; plane];
                for neighbor in first..=last {
                    let terms = at(neighbor).iter().map(|value| value.to_f64() * value.to_f64());
                    squares.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                }
                for ((result, value), sum) in run.iter_mut().zip(at(channel)).zip(squares) {
                    *result = T::from_f64(value.to_f64() / self.divisor(sum));
                }
            });
        }
        Ok(only(Tensor::from_compute(x.dtype(), x.sizes(), result)?))
    }

    /// The first and the last channel that are summed over for `channel`.
    fn neighbors(&self, channel: usize, channels: usize) -> (usize, usize) {
        let others = usize::try_from(self.size - 1).unwrap_or(usize::MAX);
        let (before, after) = (others / 2, others.div_ceil(2));
        (channel.saturating_sub(before), channel.saturating_add(after).min(channels - 1))
    }

    /// What an element is divided by, for its sum of squares.
    fn divisor(&self, squares: f64) -> f64 {
        let [alpha, beta, bias] = [self.alpha, self.beta, self.bias].map(|bits| f64::from(bits.get()));
        (bias + alpha / self.size as f64 * squares).powf(beta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn an_even_size_reaches_further_forward() {
        let op = Lrn { alpha: 2.0.into(), beta: 1.0.into(), bias: 0.0.into(), size: 2 };
        // Sums of squares: 1 + 4, 4 + 16, 16.
        let y = evaluate(&op.into(), &[&tensor(&[1, 3], &[1.0, 2.0, 4.0])]);
        assert_eq!(y[0], tensor(&[1, 3], &[0.2, 0.1, 0.25]));
    }

    #[test]
    fn any_size_is_taken_but_none() {
        let op = |size| Lrn { size, alpha: 0.0.into(), ..Lrn::default() };
        let x = tensor(&[1, 1], &[3.0]);
        assert_eq!(evaluate(&op(u64::MAX).into(), &[&x])[0], x);
        assert!(refused(&op(0).into(), &[&x]).contains("`size`"));
    }
}
