//! `conv_transpose`: transposed convolution, which enlarges a plane.
//!
//! Each input element adds its multiple of the kernel to the output: `x[n, c, i..] * w[c, m, k..]` goes to output place
//! `i * strides + k * dilations - pads`, and what falls outside is dropped. `x` is `[n, channels, spatial..]`, `w` is
//! `[channels, m / group, kernel..]`, `b` is `[m]`. A spatial size of the result is
//! `strides * (size - 1) + (kernel - 1) * dilations + 1 + output_padding` less the padding of both sides. With
//! `layout = "nhwc"` `x` and `y` are `[n, spatial.., channels]` and `w` is `[m / group, kernel.., channels]`.

use super::conv::{group, one_per_channel};
use super::layout::{DataLayout, TRANSPOSED_CONVOLUTION};
use super::products::{Term, with_term};
use super::window::{Sliding, sized};
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::conv_transpose::{TransposedConvolution, TransposedConvolutionParameters};
use crate::types::{Dim, DimExpr, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConvTranspose {
    /// Output elements between one input element and the next, per spatial axis; empty for 1.
    pub strides: Vec<u64>,
    /// Elements cut off before each spatial axis, then after each; empty for none.
    pub pads: Vec<u64>,
    /// Output elements between taps of the kernel, per spatial axis; empty for 1.
    pub dilations: Vec<u64>,
    /// Elements more at the end of each spatial axis; empty for none.
    pub output_padding: Vec<u64>,
    /// Groups that the channels fall into.
    pub group: u64,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for ConvTranspose {
    fn default() -> Self {
        Self {
            strides: Vec::new(),
            pads: Vec::new(),
            dilations: Vec::new(),
            output_padding: Vec::new(),
            group: 1,
            layout: DataLayout::Nchw,
        }
    }
}

impl OpDef for ConvTranspose {
    const NAME: &'static str = "conv_transpose";
    const OPERANDS: &'static [Operand] = &[one("x"), one("w"), optional("b")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("strides", &mut self.strides)?;
        visitor.attr("pads", &mut self.pads)?;
        visitor.attr("dilations", &mut self.dilations)?;
        visitor.attr("output_padding", &mut self.output_padding)?;
        visitor.attr("group", &mut self.group)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&TRANSPOSED_CONVOLUTION, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&TRANSPOSED_CONVOLUTION, operands, types, |operands, types| {
            with_term!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
        })
    }
}

impl ConvTranspose {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.float(0)?;
        if x.rank() < 3 {
            return Err(operands.mismatch(0, "batch, channels and at least one spatial axis"));
        }
        operands.same_dtype(1, 0)?;
        let kernel = &operands.ranked(1, x.rank())?.shape;
        operands.same_dim(1, &kernel[0], &x.shape[1])?;
        let group = group(self.group)?;
        if kernel[0].known().is_some_and(|channels| channels % group != 0) {
            return Err(operands.mismatch(1, format!("input channels that {group} groups share evenly")));
        }
        let channels = kernel[1].expr().mul(&DimExpr::constant(group as i64));
        let channels = operands.dim(1, channels)?;
        if operands.has(2) {
            operands.same_dtype(2, 0)?;
            one_per_channel(operands, 2, &channels)?;
        }
        let spatial = self.spatial(operands, &x.shape[2..], &kernel[2..])?;
        Ok(single(x.dtype, [x.shape[0].clone(), channels].into_iter().chain(spatial).collect()))
    }

    /// The spatial sizes of the result.
    fn spatial(
        &self,
        operands: &Operands<'_>,
        input: &[Dim],
        kernel: &[Dim],
    ) -> Result<Vec<Dim>, InferError> {
        let sliding = Sliding::new(input.len(), &self.strides, &self.pads, &self.dilations)?;
        let more = sized("output_padding", &self.output_padding, input.len(), 0)?;
        let size = |axis: usize| {
            let Some(taps) = kernel[axis].known() else { return Ok(operands.fresh()) };
            let span = sliding.span(axis, taps).and_then(|span| i64::try_from(span).ok());
            let span =
                span.ok_or_else(|| operands.mismatch(1, "at least one tap and at most 2^63 on each axis"))?;
            let cut = (sliding.pads_begin[axis] + sliding.pads_end[axis]) as i64;
            let rest =
                span.checked_add(more[axis] as i64).map(|sum| sum - cut - sliding.strides[axis] as i64);
            let reach = input[axis].expr().mul(&DimExpr::constant(sliding.strides[axis] as i64));
            let sum = reach.zip(rest).and_then(|(reach, rest)| reach.add(&DimExpr::constant(rest)));
            operands.dim(0, sum)
        };
        (0..input.len()).map(size).collect()
    }

    fn evaluate<T: Term>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let (x, w) = (operands.tensor(0)?, operands.tensor(1)?);
        let bias = operands.optional(2).map(T::load).transpose()?;
        let sizes = sizes_of(ty)?;
        let sliding = Sliding::new(sizes.len() - 2, &self.strides, &self.pads, &self.dilations)?;
        let kernel = TransposedConvolution::new(&TransposedConvolutionParameters {
            input_shape: x.sizes(),
            weight_shape: w.sizes(),
            strides: &sliding.strides,
            dilations: &sliding.dilations,
            pads_begin: &sliding.pads_begin,
            output_plane: &sizes[2..],
            groups: group(self.group)? as usize,
        })?;
        let mut sums = vec![T::default(); sizes.iter().product()];
        kernel.run(&T::load(x)?, &T::load(w)?, bias.as_deref(), &mut sums)?;
        Ok(only(T::store(ty.dtype, &sizes, sums)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    #[test]
    fn elements_spread_their_kernel() {
        let (x, w) = (tensor(&[1, 1, 2], &[1.0, 10.0]), tensor(&[1, 1, 3], &[1.0, 2.0, 3.0]));
        let full = evaluate(&ConvTranspose::default().into(), &[&x, &w]);
        assert_eq!(full[0], tensor(&[1, 1, 4], &[1.0, 12.0, 23.0, 30.0]));
        let op = ConvTranspose {
            strides: vec![2],
            pads: vec![1, 0],
            output_padding: vec![1],
            ..Default::default()
        };
        let cut = evaluate(&op.into(), &[&x, &w, &tensor(&[1], &[0.5])]);
        assert_eq!(cut[0], tensor(&[1, 1, 5], &[2.5, 13.5, 20.5, 30.5, 0.5]));
    }

    #[test]
    fn groups_multiply_the_output_channels() {
        let op = ConvTranspose { group: 2, ..Default::default() };
        let x = tensor(&[1, 2, 1], &[1.0, 10.0]);
        let y = evaluate(&op.into(), &[&x, &tensor(&[2, 1, 1], &[2.0, 3.0])]);
        assert_eq!(y[0], tensor(&[1, 2, 1], &[2.0, 30.0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, w) = (tensor(&[1, 2, 1], &[0.0; 2]), tensor(&[3, 1, 1], &[0.0; 3]));
        assert!(refused(&ConvTranspose::default().into(), &[&x, &w]).contains("`w`"));
        let cut = ConvTranspose { pads: vec![5, 5], ..Default::default() };
        assert!(refused(&cut.into(), &[&x, &tensor(&[2, 1, 1], &[0.0; 2])]).contains("not negative"));
    }
}
