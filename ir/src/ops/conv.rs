//! `conv`: convolution over any number of spatial axes.
//!
//! `y[n, m, o..] = b[m] + sum over c, k.. of x[n, c, o * strides + k * dilations - pads ..] * w[m, c, k..]`, where
//! elements of `x` out of range are 0. `x` is `[n, channels, spatial..]`, `w` is `[m, channels / group, kernel..]`,
//! `b` is `[m]`. With groups, output channel `m` sees only the input channels of its own group. With `layout = "nhwc"`
//! `x` and `y` are `[n, spatial.., channels]` and `w` is `[m, kernel.., channels / group]`.

use super::layout::{CONVOLUTION, DataLayout};
use super::products::{Term, with_term};
use super::window::Sliding;
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::conv::{Convolution, ConvolutionParameters};
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conv {
    /// Input elements between one output element and the next, per spatial axis; empty for 1.
    pub strides: Vec<u64>,
    /// Zeros before each spatial axis, then after each; empty for none.
    pub pads: Vec<u64>,
    /// Input elements between taps of the kernel, per spatial axis; empty for 1.
    pub dilations: Vec<u64>,
    /// Groups that the channels fall into.
    pub group: u64,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for Conv {
    fn default() -> Self {
        Self {
            strides: Vec::new(),
            pads: Vec::new(),
            dilations: Vec::new(),
            group: 1,
            layout: DataLayout::Nchw,
        }
    }
}

impl OpDef for Conv {
    const NAME: &'static str = "conv";
    const OPERANDS: &'static [Operand] = &[one("x"), one("w"), optional("b")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("strides", &mut self.strides)?;
        visitor.attr("pads", &mut self.pads)?;
        visitor.attr("dilations", &mut self.dilations)?;
        visitor.attr("group", &mut self.group)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&CONVOLUTION, operands, |operands| {
            let dtype = operands.float(0)?.dtype;
            operands.same_dtype(1, 0)?;
            let shape = self.shape(operands, [0, 1])?;
            if operands.has(2) {
                operands.same_dtype(2, 0)?;
                one_per_channel(operands, 2, &shape[1])?;
            }
            Ok(single(dtype, shape))
        })
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&CONVOLUTION, operands, types, |operands, types| {
            with_term!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
        })
    }
}

impl Conv {
    /// The shape of the result for the input at `x` and the kernel at `w`, both with channels first.
    pub(crate) fn shape(&self, operands: &Operands<'_>, [x, w]: [usize; 2]) -> Result<Shape, InferError> {
        let (input, kernel) = (&operands.ty(x)?.shape, &operands.ty(w)?.shape);
        if input.rank() < 3 {
            return Err(operands.mismatch(x, "batch, channels and at least one spatial axis"));
        }
        operands.ranked(w, input.rank())?;
        let sliding = self.sliding(input.rank() - 2)?;
        let group = group(self.group)?;
        if let (Some(channels), Some(of_group)) = (input[1].known(), kernel[1].known())
            && of_group.checked_mul(group) != Some(channels)
        {
            let expected = format!("channels that are those of the input, {channels}, over {group} groups");
            return Err(operands.mismatch(w, expected));
        }
        if kernel[0].known().is_some_and(|outputs| outputs % group != 0) {
            return Err(operands.mismatch(w, format!("output channels that {group} groups share evenly")));
        }
        let spatial = (0..sliding.axes())
            .map(|axis| sliding.places(operands, axis, [&input[axis + 2], &kernel[axis + 2]], false));
        let leading = [input[0].clone(), kernel[0].clone()].into_iter().map(Ok);
        leading.chain(spatial).collect()
    }

    /// The convolution in numbers.
    pub(crate) fn kernel(&self, input: &[usize], kernel: &[usize]) -> Result<Convolution, EvalError> {
        let sliding = self.sliding(input.len().saturating_sub(2))?;
        Ok(Convolution::new(&ConvolutionParameters {
            input_shape: input,
            weight_shape: kernel,
            strides: &sliding.strides,
            dilations: &sliding.dilations,
            pads_begin: &sliding.pads_begin,
            pads_end: &sliding.pads_end,
            groups: group(self.group)? as usize,
        })?)
    }

    fn sliding(&self, axes: usize) -> Result<Sliding, InferError> {
        Sliding::new(axes, &self.strides, &self.pads, &self.dilations)
    }

    fn evaluate<T: Term>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let (x, w) = (operands.tensor(0)?, operands.tensor(1)?);
        let bias = operands.optional(2).map(T::load).transpose()?;
        let sizes = sizes_of(ty)?;
        let mut sums = vec![T::default(); sizes.iter().product()];
        let kernel = self.kernel(x.sizes(), w.sizes())?;
        kernel.run(&T::load(x)?, &T::load(w)?, bias.as_deref(), &mut sums)?;
        Ok(only(T::store(ty.dtype, &sizes, sums)?))
    }
}

/// The number of groups, which must be at least 1.
pub(crate) fn group(group: u64) -> Result<u64, InferError> {
    if (1..=i32::MAX as u64).contains(&group) {
        return Ok(group);
    }
    let expected = format!("a number from 1 to {}", i32::MAX);
    Err(InferError::Attribute { attr: "group", found: group.to_string(), expected })
}

/// Checks that the operand at `index` is a vector with one element for each of `channels`.
pub(crate) fn one_per_channel(
    operands: &Operands<'_>,
    index: usize,
    channels: &Dim,
) -> Result<(), InferError> {
    let length = operands.ranked(index, 1)?.shape[0].known();
    match (length, channels.known()) {
        (Some(length), Some(channels)) if length != channels => {
            Err(operands.mismatch(index, format!("one element for each of {channels} channels")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::entity::Entity;
    use crate::ops::Fact;
    use crate::ops::testing::{evaluate, refused, tensor};
    use crate::types::SymId;

    #[test]
    fn a_line_by_a_kernel() {
        let (x, w) = (tensor(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]), tensor(&[1, 1, 2], &[10.0, 1.0]));
        let op = Conv { pads: vec![1, 0], ..Conv::default() };
        let y = evaluate(&op.into(), &[&x, &w, &tensor(&[1], &[0.5])]);
        assert_eq!(y[0], tensor(&[1, 1, 4], &[1.5, 12.5, 23.5, 34.5]));
    }

    #[test]
    fn groups_see_their_own_channels() {
        let x = tensor(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let op = Conv { group: 2, strides: vec![2], ..Conv::default() };
        let y = evaluate(&op.into(), &[&x, &tensor(&[2, 1, 1], &[10.0, 100.0])]);
        assert_eq!(y[0], tensor(&[1, 2, 1], &[10.0, 300.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, w) = (tensor(&[1, 3, 2], &[0.0; 6]), tensor(&[2, 2, 1], &[0.0; 4]));
        assert!(refused(&Conv::default().into(), &[&x, &w]).contains("`w`"));
        let uneven = Conv { group: 3, ..Conv::default() };
        let thin = tensor(&[2, 1, 1], &[0.0; 2]);
        assert!(refused(&uneven.clone().into(), &[&x, &thin]).contains("share evenly"));
        assert!(refused(&Conv { group: 0, ..uneven }.into(), &[&x, &thin]).contains("`group`"));
        let long = tensor(&[2, 3, 3], &[0.0; 18]);
        assert!(refused(&Conv::default().into(), &[&x, &long]).contains("fits into the padded input"));
        let bias = tensor(&[3], &[0.0; 3]);
        let fitting = tensor(&[2, 3, 1], &[0.0; 6]);
        assert!(refused(&Conv::default().into(), &[&x, &fitting, &bias]).contains("`b`"));
    }

    #[test]
    fn a_dynamic_batch_and_image_are_followed() {
        let (batch, height) = (Dim::Sym(SymId::from_index(0)), Dim::Sym(SymId::from_index(1)));
        let x = Shape::from_iter([batch.clone(), Dim::Known(4), height.clone(), Dim::Known(64)]);
        let w = Shape::known(&[8, 4, 3, 3]);
        let fact = |shape| Some(Fact { ty: TensorType::new(DType::F16, shape), known: None });
        let facts = [fact(x), fact(w)];
        let op = Conv { pads: vec![1; 4], ..Conv::default() };
        let types = op.infer(&Operands::new(Conv::OPERANDS, &facts, 2)).expect("fits");
        let expected = Shape::from_iter([batch, Dim::Known(8), height, Dim::Known(64)]);
        assert_eq!(types[0], TensorType::new(DType::F16, expected));
    }
}
