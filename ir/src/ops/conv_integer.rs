//! `conv_integer`: convolution of 8-bit integers less their zero points, summed in 32 bits.
//!
//! As `conv` of `x - x_zero_point` and `w - w_zero_point`, padding included: it stands for the zero point. The zero
//! point of `x` is a single element, that of `w` a single element or one per output channel. Sums that overflow wrap.

use super::centered::{Along, BYTES, centered, one_element, stretches_along};
use super::layout::CONVOLUTION;
use super::{
    Conv, EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional,
};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::tensor::Tensor;
use crate::types::TensorType;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConvInteger {
    /// How the kernel slides; the attributes are those of `conv`.
    pub conv: Conv,
}

impl OpDef for ConvInteger {
    const NAME: &'static str = "conv_integer";
    const OPERANDS: &'static [Operand] =
        &[one("x"), one("w"), optional("x_zero_point"), optional("w_zero_point")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        OpDef::attrs(&mut self.conv, visitor)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.conv.layout.infer(&CONVOLUTION, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.conv.layout.eval(&CONVOLUTION, operands, types, |operands, types| self.evaluate(operands, types))
    }
}

impl ConvInteger {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        check(operands, [0, 2])?;
        check(operands, [1, 3])?;
        Ok(single(DType::I32, self.conv.shape(operands, [0, 1])?))
    }

    /// The reference semantics for channels first.
    fn evaluate(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, w) = (operands.tensor(0)?, operands.tensor(1)?);
        let factors = [(x, operands.optional(2)), (w, operands.optional(3))];
        let sizes = sizes_of(&types[0])?;
        Ok(only(Tensor::from_vec(&sizes, convolve(&self.conv, factors, None, sizes.iter().product())?)?))
    }
}

/// Checks an operand and its zero point: a single element for the input, the first of the two pairs; for the kernel
/// also one per output channel.
fn check(operands: &Operands<'_>, [index, zero_point]: [usize; 2]) -> Result<(), InferError> {
    let ty = operands.one_of(index, BYTES)?;
    if !operands.has(zero_point) {
        return Ok(());
    }
    operands.same_dtype(zero_point, index)?;
    if index == 0 {
        return one_element(operands, zero_point);
    }
    per_channel(operands, zero_point, ty)
}

/// Checks that the operand at `index` is a single element, or a vector of one per output channel of a kernel.
pub(crate) fn per_channel(
    operands: &Operands<'_>,
    index: usize,
    kernel: &TensorType,
) -> Result<(), InferError> {
    if operands.ty(index)?.rank() > 1 {
        return one_element(operands, index);
    }
    stretches_along(operands, index, &kernel.shape, Along::First(kernel.rank()))
}

/// The `length` sums of products of input and kernel less their zero points, and of the bias.
pub(crate) fn convolve(
    conv: &Conv,
    [(x, x_zero_point), (w, w_zero_point)]: [(&Tensor, Option<&Tensor>); 2],
    bias: Option<&[i32]>,
    length: usize,
) -> Result<Vec<i32>, EvalError> {
    let along = Along::First(w.rank());
    let (input, kernel) = (centered(x, x_zero_point, along)?, centered(w, w_zero_point, along)?);
    let mut sums = vec![0; length];
    conv.kernel(x.sizes(), w.sizes())?.run(&input, &kernel, bias, &mut sums)?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused};

    fn bytes(sizes: &[usize], values: &[u8]) -> Tensor {
        Tensor::from_vec(sizes, values.to_vec()).expect("as many as the sizes say")
    }

    #[test]
    fn padding_stands_for_the_zero_point() {
        let op = ConvInteger { conv: Conv { pads: vec![1, 0], ..Conv::default() } };
        let (x, w) = (bytes(&[1, 1, 2], &[10, 20]), bytes(&[2, 1, 2], &[1, 2, 1, 2]));
        let y = evaluate(&op.clone().into(), &[&x, &w, &bytes(&[], &[10]), &bytes(&[2], &[0, 1])]);
        let expected = vec![0, 20, 0, 10];
        assert_eq!(y[0], Tensor::from_vec(&[1, 2, 2], expected).expect("four elements"));
        let two = bytes(&[2], &[0; 2]);
        assert!(refused(&op.into(), &[&x, &w, &two]).contains("`x_zero_point`"));
    }
}
