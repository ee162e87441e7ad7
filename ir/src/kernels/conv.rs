//! Convolution over any number of spatial axes, with groups, strides, dilations and padding on each side.
//!
//! The general path gathers the elements under the window into a matrix, one bounded tile of output positions at a
//! time, and multiplies the weight by it. A pointwise convolution multiplies the input as it lies; a depthwise one has
//! no inner axis to multiply over and walks the taps instead.

use std::ops::Range;

use rayon::prelude::*;

use super::matmul::{Element, Store, Threads, multiply};
use super::matrix::{Matrix, MatrixMut};
use super::window::{Spatial, Window, WindowParameters, output_length};
use super::{KernelError, checked_product, expect_equal, expect_rank};

/// Bound on the bytes of gathered elements held at a time by one thread.
pub(crate) const TILE_BYTES: usize = 16 << 20;

/// The sizes and attributes of a convolution, as an operation states them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvolutionParameters<'a> {
    /// Batch, channels, then the spatial lengths.
    pub(crate) input_shape: &'a [usize],
    /// Output channels, input channels per group, then the kernel lengths.
    pub(crate) weight_shape: &'a [usize],
    /// Input elements between output positions, per spatial axis.
    pub(crate) strides: &'a [usize],
    /// Input elements between taps, per spatial axis.
    pub(crate) dilations: &'a [usize],
    /// Zeros before the first element, per spatial axis.
    pub(crate) pads_begin: &'a [usize],
    /// Zeros after the last element, per spatial axis.
    pub(crate) pads_end: &'a [usize],
    /// Number of groups that the channels fall into.
    pub(crate) groups: usize,
}

/// A convolution whose sizes have been checked against each other.
#[derive(Clone, Debug)]
pub(crate) struct Convolution {
    window: Window,
    batch: usize,
    groups: usize,
    /// Input channels of one group.
    input_channels: usize,
    /// Output channels of one group.
    output_channels: usize,
}

impl Convolution {
    /// Checks the parameters against each other.
    pub(crate) fn new(parameters: &ConvolutionParameters<'_>) -> Result<Self, KernelError> {
        let [batch, channels] = leading("input shape", parameters.input_shape)?;
        let [out_channels, input_channels] = leading("weight shape", parameters.weight_shape)?;
        let groups = parameters.groups;
        if groups == 0 {
            return Err(KernelError::Zero { what: "number of groups" });
        }
        let expected =
            input_channels.checked_mul(groups).ok_or(KernelError::TooLarge { what: "input channels" })?;
        expect_equal("input channels", channels, expected)?;
        if !out_channels.is_multiple_of(groups) {
            return Err(KernelError::Groups { what: "output channels", found: out_channels, groups });
        }
        let (input, kernel) = (&parameters.input_shape[2..], &parameters.weight_shape[2..]);
        let output = output_plane(parameters, input, kernel)?;
        let window = Window::new(&WindowParameters {
            input,
            output: &output,
            kernel,
            strides: parameters.strides,
            dilations: parameters.dilations,
            pads_begin: parameters.pads_begin,
        })?;
        let output_channels = out_channels / groups;
        checked_product("input", &[batch, groups, input_channels, window.input_size()])?;
        checked_product("weight", &[groups, output_channels, input_channels, window.taps()])?;
        checked_product("output", &[batch, groups, output_channels, window.positions()])?;
        Ok(Self { window, batch, groups, input_channels, output_channels })
    }

    /// Batch, output channels, then the spatial lengths of the output.
    pub(crate) fn output_shape(&self) -> Vec<usize> {
        let mut shape = vec![self.batch, self.groups * self.output_channels];
        shape.extend_from_slice(self.window.output());
        shape
    }

    /// Convolves `input` with `weight` and adds one `bias` per output channel, all row-major.
    ///
    /// Integers come in less their zero point, so that padding is zero.
    pub(crate) fn run<T: Element>(
        &self,
        input: &[T],
        weight: &[T],
        bias: Option<&[T::Sum]>,
        output: &mut [T::Sum],
    ) -> Result<(), KernelError> {
        let positions = self.window.positions();
        let input_size = self.input_channels * self.window.input_size();
        let weight_size = self.output_channels * self.depth();
        let output_size = self.output_channels * positions;
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
            fill_with_bias(sums, positions, bias.map(|bias| &bias[group * self.output_channels..]));
            let input = &input[job * input_size..][..input_size];
            let weight = &weight[group * weight_size..][..weight_size];
            if self.input_channels == 1 && self.groups > 1 {
                self.run_depthwise(input, weight, sums);
                Ok(())
            } else {
                self.run_dense(input, weight, sums, threads)
            }
        })
    }

    /// Products that go into one output element.
    fn depth(&self) -> usize {
        self.input_channels * self.window.taps()
    }

    /// Adds the convolution of one group of one batch entry, by matrix products over tiles of output positions.
    fn run_dense<T: Element>(
        &self,
        input: &[T],
        weight: &[T],
        sums: &mut [T::Sum],
        threads: Threads,
    ) -> Result<(), KernelError> {
        let (positions, depth) = (self.window.positions(), self.depth());
        let weight = Matrix::row_major(weight, self.output_channels, depth)?;
        if self.window.is_identity() {
            let input = Matrix::row_major(input, depth, positions)?;
            let mut sums = MatrixMut::row_major(sums, self.output_channels, positions)?;
            return multiply(weight, input, &mut sums, Store::Add, threads);
        }
        let mut columns = Vec::new();
        for tile in tiles::<T>(positions, depth) {
            columns.resize(depth * tile.len(), T::default());
            self.window.gather_columns(input, &tile, &mut columns, threads);
            let gathered = Matrix::row_major(&columns, depth, tile.len())?;
            let shape = [self.output_channels, tile.len()];
            let mut target = MatrixMut::new(&mut sums[tile.start..], shape, positions)?;
            multiply(weight, gathered, &mut target, Store::Add, threads)?;
        }
        Ok(())
    }

    /// Adds the convolution of a group with a single input channel, one tap at a time.
    fn run_depthwise<T: Element>(&self, plane: &[T], weight: &[T], sums: &mut [T::Sum]) {
        let (positions, taps) = (self.window.positions(), self.window.taps());
        for (sums, kernel) in sums.chunks_mut(positions).zip(weight.chunks(taps)) {
            for (tap, &factor) in kernel.iter().enumerate() {
                self.window.for_each_run(tap, 0..positions, |run| {
                    let sums = sums[run.position..][..run.length].iter_mut();
                    let values = plane[run.source..].iter().step_by(run.stride);
                    sums.zip(values).for_each(|(sum, &value)| *sum = T::multiply_add(*sum, value, factor));
                });
            }
        }
    }
}

/// Calls `work` with the index of each chunk of `values`, on all threads at once if there are enough chunks to fill
/// them; if not, the chunks go one by one and each may use all threads.
pub(crate) fn for_each_chunk<T: Send>(
    values: &mut [T],
    chunk_size: usize,
    work: impl Fn(usize, &mut [T], Threads) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    // Work that is split must not split again: a thread that waits for its part would take up a second chunk, and
    // with it a second tile of memory.
    if values.len() / chunk_size >= 4 * rayon::current_num_threads() {
        let chunks = values.par_chunks_mut(chunk_size).enumerate();
        chunks.try_for_each(|(index, chunk)| work(index, chunk, Threads::One))
    } else {
        let mut chunks = values.chunks_mut(chunk_size).enumerate();
        chunks.try_for_each(|(index, chunk)| work(index, chunk, Threads::All))
    }
}

/// Sets each plane of `positions` sums to its bias, or to zero.
pub(crate) fn fill_with_bias<T: Copy + Default>(sums: &mut [T], positions: usize, bias: Option<&[T]>) {
    match bias {
        Some(bias) => sums.chunks_mut(positions).zip(bias).for_each(|(plane, &bias)| plane.fill(bias)),
        None => sums.fill(T::default()),
    }
}

/// Splits `positions` so that `depth` values of `T` for each position of a tile stay below [`TILE_BYTES`].
///
/// The split depends on the sizes alone: results must not vary with the number of threads.
pub(crate) fn tiles<T>(positions: usize, depth: usize) -> impl Iterator<Item = Range<usize>> {
    // Multiples of 64 suit the vector width of the matrix product.
    let fitting = TILE_BYTES / (depth.max(1) * size_of::<T>()).max(1);
    let tile = if fitting >= 64 { fitting / 64 * 64 } else { fitting.max(1) };
    (0..positions).step_by(tile).map(move |start| start..positions.min(start.saturating_add(tile)))
}

/// The first two entries of a shape with at least one spatial axis.
pub(crate) fn leading(what: &'static str, shape: &[usize]) -> Result<[usize; 2], KernelError> {
    match *shape {
        [first, second, _, ..] => Ok([first, second]),
        _ => Err(KernelError::Rank { what, found: shape.len(), expected: 3 }),
    }
}

/// The spatial lengths of the output; an error if a list does not match the spatial axes.
fn output_plane(
    parameters: &ConvolutionParameters<'_>,
    input: &[usize],
    kernel: &[usize],
) -> Result<Spatial, KernelError> {
    let ConvolutionParameters { strides, dilations, pads_begin, pads_end, .. } = *parameters;
    let lists = [
        ("kernel", kernel),
        ("strides", strides),
        ("dilations", dilations),
        ("pads at the beginning", pads_begin),
        ("pads at the end", pads_end),
    ];
    expect_rank(&lists, input.len())?;
    let length = |axis: usize| {
        let steps = [kernel[axis], strides[axis], dilations[axis]];
        output_length(axis, input[axis], steps, [pads_begin[axis], pads_end[axis]])
    };
    (0..input.len()).map(length).collect()
}

#[cfg(test)]
mod tests;
