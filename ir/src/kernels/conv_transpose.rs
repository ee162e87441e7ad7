//! Transposed convolution: the gradient of a convolution with respect to its input, used to enlarge a plane.
//!
//! Each input element adds its multiple of the kernel to the output. A matrix product forms the multiples for a
//! bounded tile of input positions, and the window of the convolution that this one reverses says where they go.

use super::conv::{fill_with_bias, for_each_chunk, leading, tiles};
use super::matmul::{Element, Store, Threads, multiply};
use super::matrix::{Matrix, MatrixMut};
use super::window::{Window, WindowParameters};
use super::{KernelError, checked_product, expect_equal, expect_rank};

/// The sizes and attributes of a transposed convolution, as an operation states them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransposedConvolutionParameters<'a> {
    /// Batch, channels, then the spatial lengths.
    pub(crate) input_shape: &'a [usize],
    /// Input channels, output channels per group, then the kernel lengths.
    pub(crate) weight_shape: &'a [usize],
    /// Output elements between input positions, per spatial axis.
    pub(crate) strides: &'a [usize],
    /// Output elements between taps, per spatial axis.
    pub(crate) dilations: &'a [usize],
    /// Elements cut from the beginning of the full result, per spatial axis.
    pub(crate) pads_begin: &'a [usize],
    /// The spatial lengths of the output, which settle the padding at the end together with any output padding: the
    /// full result is cut there, or extended by the bias alone.
    pub(crate) output_plane: &'a [usize],
    /// Number of groups that the channels fall into.
    pub(crate) groups: usize,
}

/// A transposed convolution whose sizes have been checked against each other.
#[derive(Clone, Debug)]
pub(crate) struct TransposedConvolution {
    /// The window of the reversed convolution: it reads the output plane, at positions of the input plane.
    window: Window,
    batch: usize,
    groups: usize,
    /// Input channels of one group.
    input_channels: usize,
    /// Output channels of one group.
    output_channels: usize,
}

impl TransposedConvolution {
    /// Checks the parameters against each other.
    pub(crate) fn new(parameters: &TransposedConvolutionParameters<'_>) -> Result<Self, KernelError> {
        let [batch, channels] = leading("input shape", parameters.input_shape)?;
        let [weight_channels, output_channels] = leading("weight shape", parameters.weight_shape)?;
        let groups = parameters.groups;
        if groups == 0 {
            return Err(KernelError::Zero { what: "number of groups" });
        }
        expect_equal("input channels of the weight", weight_channels, channels)?;
        if !channels.is_multiple_of(groups) {
            return Err(KernelError::Groups { what: "input channels", found: channels, groups });
        }
        let spatial_axes = parameters.input_shape.len() - 2;
        expect_rank(&[("output plane", parameters.output_plane)], spatial_axes)?;
        let window = Window::new(&WindowParameters {
            input: parameters.output_plane,
            output: &parameters.input_shape[2..],
            kernel: &parameters.weight_shape[2..],
            strides: parameters.strides,
            dilations: parameters.dilations,
            pads_begin: parameters.pads_begin,
        })?;
        let input_channels = channels / groups;
        checked_product("input", &[batch, groups, input_channels, window.positions()])?;
        checked_product("weight", &[groups, input_channels, output_channels, window.taps()])?;
        checked_product("output", &[batch, groups, output_channels, window.input_size()])?;
        Ok(Self { window, batch, groups, input_channels, output_channels })
    }

    /// Applies the transposed convolution and adds one `bias` per output channel, all row-major.
    pub(crate) fn run<T: Element<Sum = T>>(
        &self,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        output: &mut [T],
    ) -> Result<(), KernelError> {
        let plane_size = self.window.input_size();
        let input_size = self.input_channels * self.window.positions();
        let weight_size = self.input_channels * self.depth();
        let output_size = self.output_channels * plane_size;
        let jobs = self.batch * self.groups;
        expect_equal("number of input elements", input.len(), jobs * input_size)?;
        expect_equal("number of weight elements", weight.len(), self.groups * weight_size)?;
        expect_equal("number of output elements", output.len(), jobs * output_size)?;
        if let Some(bias) = bias {
            expect_equal("number of bias elements", bias.len(), self.groups * self.output_channels)?;
        }
        if output.is_empty() {
            return Ok(());
        }
        for_each_chunk(output, output_size, |job, sums, threads| {
            let group = job % self.groups;
            fill_with_bias(sums, plane_size, bias.map(|bias| &bias[group * self.output_channels..]));
            let input = &input[job * input_size..][..input_size];
            let weight = &weight[group * weight_size..][..weight_size];
            self.run_group(input, weight, sums, threads)
        })
    }

    /// Values that one input position adds to the output of its group.
    fn depth(&self) -> usize {
        self.output_channels * self.window.taps()
    }

    /// Adds the result of one group of one batch entry.
    fn run_group<T: Element<Sum = T>>(
        &self,
        input: &[T],
        weight: &[T],
        sums: &mut [T],
        threads: Threads,
    ) -> Result<(), KernelError> {
        let (positions, depth) = (self.window.positions(), self.depth());
        let weight = Matrix::row_major(weight, self.input_channels, depth)?.transposed();
        let mut columns = Vec::new();
        for tile in tiles::<T>(positions, depth) {
            columns.resize(depth * tile.len(), T::default());
            let shape = [self.input_channels, tile.len()];
            let input = input.get(tile.start..).unwrap_or_default();
            let values = Matrix::new(input, shape, [positions, 1])?;
            let mut products = MatrixMut::row_major(&mut columns, depth, tile.len())?;
            multiply(weight, values, &mut products, Store::Replace, threads)?;
            self.window.scatter_columns(&columns, &tile, sums, T::add, threads);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
