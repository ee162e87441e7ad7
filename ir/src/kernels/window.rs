//! Sliding windows over N spatial axes: which input element each output position reads at each kernel tap.
//!
//! Convolution, transposed convolution and pooling differ in what they do with an element, not in where it lies.
//! [`Window::for_each_run`] holds that index arithmetic once, and hands out whole runs so that callers copy slices.

use std::ops::Range;

use rayon::prelude::*;
use smallvec::SmallVec;

use super::matmul::Threads;
use super::{KernelError, checked_product, expect_rank};

/// One size per spatial axis.
pub(crate) type Spatial = SmallVec<[usize; 3]>;

/// The geometry of a window, valid for any tap and position once made.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    input: Spatial,
    output: Spatial,
    kernel: Spatial,
    strides: Spatial,
    dilations: Spatial,
    pads_begin: Spatial,
}

/// The sizes of a [`Window`], one entry per spatial axis in each list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowParameters<'a> {
    /// Lengths of the plane that is read.
    pub(crate) input: &'a [usize],
    /// Lengths of the plane of positions; see [`output_length`].
    pub(crate) output: &'a [usize],
    /// Lengths of the kernel.
    pub(crate) kernel: &'a [usize],
    /// Input elements between positions, at least one.
    pub(crate) strides: &'a [usize],
    /// Input elements between taps, at least one.
    pub(crate) dilations: &'a [usize],
    /// Padding before the first input element.
    pub(crate) pads_begin: &'a [usize],
}

/// Consecutive output positions that read evenly spaced input elements at one tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first output position, as a row-major index into the output plane.
    pub(crate) position: usize,
    /// The input element it reads, as a row-major index into the input plane.
    pub(crate) source: usize,
    /// The number of positions, at least one.
    pub(crate) length: usize,
    /// Input elements between one position and the next.
    pub(crate) stride: usize,
}

impl Window {
    /// A window of the given sizes; an error if the lists differ in length or an index could overflow.
    pub(crate) fn new(parameters: &WindowParameters<'_>) -> Result<Self, KernelError> {
        let &WindowParameters { input, output, kernel, strides, dilations, pads_begin } = parameters;
        let lists = [
            ("output plane", output),
            ("kernel", kernel),
            ("strides", strides),
            ("dilations", dilations),
            ("pads at the beginning", pads_begin),
        ];
        expect_rank(&lists, input.len())?;
        if input.is_empty() {
            return Err(KernelError::Zero { what: "number of spatial axes" });
        }
        if strides.contains(&0) {
            return Err(KernelError::Zero { what: "stride" });
        }
        if dilations.contains(&0) {
            return Err(KernelError::Zero { what: "dilation" });
        }
        for (what, list) in [("input plane", input), ("output plane", output), ("kernel", kernel)] {
            checked_product(what, list)?;
        }
        let reach_fits = (0..input.len()).all(|axis| reach_fits(parameters, axis));
        if !reach_fits {
            return Err(KernelError::TooLarge { what: "reach of the kernel" });
        }
        let [input, output, kernel, strides, dilations, pads_begin] =
            [input, output, kernel, strides, dilations, pads_begin].map(SmallVec::from_slice);
        Ok(Self { input, output, kernel, strides, dilations, pads_begin })
    }

    /// Number of elements in one input plane.
    pub(crate) fn input_size(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of output positions.
    pub(crate) fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Number of taps of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Lengths of the plane of positions.
    pub(crate) fn output(&self) -> &[usize] {
        &self.output
    }

    /// Whether the single tap at each position reads the input element of the same index.
    pub(crate) fn is_identity(&self) -> bool {
        self.taps() == 1
            && self.input == self.output
            && self.strides.iter().all(|&stride| stride == 1)
            && self.pads_begin.iter().all(|&pad| pad == 0)
    }

    /// Calls `visit` for every run of `positions` at the tap of row-major index `tap`, in order of position.
    ///
    /// Positions in no run read padding.
    pub(crate) fn for_each_run(&self, tap: usize, positions: Range<usize>, mut visit: impl FnMut(Run)) {
        let offsets: Spatial = unravel(tap, &self.kernel)
            .iter()
            .zip(&self.dilations)
            .map(|(&tap, &dilation)| tap * dilation)
            .collect();
        let valid: SmallVec<[Range<usize>; 3]> =
            offsets.iter().enumerate().map(|(axis, &offset)| self.valid_positions(axis, offset)).collect();
        let last = self.output.len() - 1;
        let (width, stride) = (self.output[last], self.strides[last]);
        if positions.is_empty() || width == 0 {
            return;
        }
        for line in positions.start / width..positions.end.div_ceil(width) {
            let Some(source_line) = self.source_line(line, &offsets, &valid) else {
                continue;
            };
            let first = line * width;
            let start = positions.start.max(first + valid[last].start);
            let end = positions.end.min(first + valid[last].end);
            if start < end {
                let column = (start - first) * stride + offsets[last] - self.pads_begin[last];
                let source = source_line * self.input[last] + column;
                visit(Run { position: start, source, length: end - start, stride });
            }
        }
    }

    /// Writes the elements read at `positions` as a matrix of (channel, tap) by position; padding reads as zero.
    ///
    /// `planes` holds one input plane per channel.
    pub(crate) fn gather_columns<T: Copy + Default + Send + Sync>(
        &self,
        planes: &[T],
        positions: &Range<usize>,
        columns: &mut [T],
        threads: Threads,
    ) {
        let (taps, plane_size) = (self.taps(), self.input_size());
        let gather_row = |row: usize, values: &mut [T]| {
            let plane = &planes[row / taps * plane_size..][..plane_size];
            values.fill(T::default());
            self.for_each_run(row % taps, positions.clone(), |run| {
                let target = &mut values[run.position - positions.start..][..run.length];
                let source = &plane[run.source..];
                if run.stride == 1 {
                    target.copy_from_slice(&source[..run.length]);
                } else {
                    target
                        .iter_mut()
                        .zip(source.iter().step_by(run.stride))
                        .for_each(|(to, &from)| *to = from);
                }
            });
        };
        if threads == Threads::All {
            columns
                .par_chunks_mut(positions.len())
                .enumerate()
                .for_each(|(row, values)| gather_row(row, values));
        } else {
            columns.chunks_mut(positions.len()).enumerate().for_each(|(row, values)| gather_row(row, values));
        }
    }

    /// Adds a matrix of (channel, tap) by position back to the elements that `positions` read; what falls on padding
    /// is dropped. The reverse of [`Window::gather_columns`].
    pub(crate) fn scatter_columns<T: Copy + Send + Sync>(
        &self,
        columns: &[T],
        positions: &Range<usize>,
        planes: &mut [T],
        add: impl Fn(T, T) -> T + Sync,
        threads: Threads,
    ) {
        let (taps, plane_size) = (self.taps(), self.input_size());
        let scatter_plane = |channel: usize, plane: &mut [T]| {
            for tap in 0..taps {
                let values = &columns[(channel * taps + tap) * positions.len()..][..positions.len()];
                self.for_each_run(tap, positions.clone(), |run| {
                    let source = &values[run.position - positions.start..][..run.length];
                    let target = plane[run.source..].iter_mut().step_by(run.stride);
                    target.zip(source).for_each(|(sum, &value)| *sum = add(*sum, value));
                });
            }
        };
        if threads == Threads::All {
            planes
                .par_chunks_mut(plane_size)
                .enumerate()
                .for_each(|(index, plane)| scatter_plane(index, plane));
        } else {
            planes.chunks_mut(plane_size).enumerate().for_each(|(index, plane)| scatter_plane(index, plane));
        }
    }

    /// The positions along `axis` whose element at `offset` from the start of the window lies inside the input.
    fn valid_positions(&self, axis: usize, offset: usize) -> Range<usize> {
        let (pad, stride) = (self.pads_begin[axis], self.strides[axis]);
        let start = pad.saturating_sub(offset).div_ceil(stride);
        let end = (self.input[axis] + pad).saturating_sub(offset).div_ceil(stride);
        start..end.min(self.output[axis])
    }

    /// The row-major index of the input line that output line `line` reads, or `None` if that is padding.
    fn source_line(&self, line: usize, offsets: &[usize], valid: &[Range<usize>]) -> Option<usize> {
        let (mut line, mut source, mut scale) = (line, 0, 1);
        for axis in (0..self.output.len() - 1).rev() {
            let position = line % self.output[axis];
            line /= self.output[axis];
            if !valid[axis].contains(&position) {
                return None;
            }
            source += scale * (position * self.strides[axis] + offsets[axis] - self.pads_begin[axis]);
            scale *= self.input[axis];
        }
        Some(source)
    }
}

/// The number of positions of a window along one axis: `(input + pads - span) / stride + 1`, where the kernel spans
/// `(kernel - 1) * dilation + 1` elements.
pub(crate) fn output_length(
    axis: usize,
    input: usize,
    [kernel, stride, dilation]: [usize; 3],
    [pad_begin, pad_end]: [usize; 2],
) -> Result<usize, KernelError> {
    let too_large = KernelError::TooLarge { what: "reach of the kernel" };
    let padded = input
        .checked_add(pad_begin)
        .and_then(|length| length.checked_add(pad_end))
        .ok_or(too_large.clone())?;
    let gaps = kernel.checked_sub(1).ok_or(KernelError::Zero { what: "kernel length" })?;
    let span = gaps.checked_mul(dilation).and_then(|length| length.checked_add(1)).ok_or(too_large)?;
    let slack =
        padded.checked_sub(span).ok_or(KernelError::KernelTooLarge { axis, kernel: span, input: padded })?;
    let steps = slack.checked_div(stride).ok_or(KernelError::Zero { what: "stride" })?;
    Ok(steps + 1)
}

/// Whether every index that can arise along `axis` fits in a word.
fn reach_fits(parameters: &WindowParameters<'_>, axis: usize) -> bool {
    let furthest_position = parameters.output[axis].checked_mul(parameters.strides[axis]);
    let furthest_tap = parameters.kernel[axis].checked_mul(parameters.dilations[axis]);
    let padded = parameters.input[axis].checked_add(parameters.pads_begin[axis]);
    let reach = furthest_position.zip(furthest_tap).and_then(|(position, tap)| position.checked_add(tap));
    reach.is_some() && padded.is_some()
}

/// The coordinates of a row-major index.
fn unravel(index: usize, lengths: &[usize]) -> Spatial {
    let mut rest = index;
    let mut coordinates: Spatial = SmallVec::from_elem(0, lengths.len());
    for (coordinate, &length) in coordinates.iter_mut().zip(lengths).rev() {
        *coordinate = rest % length;
        rest /= length;
    }
    coordinates
}
