//! What the kernels must compute, written as nested loops over signed coordinates, for the tests alone.
//!
//! Everything is summed in f64, which is exact for the small integers of the integer tests. Planes of one or two
//! spatial axes are read as three with leading axes of length one.

use proptest::prelude::*;

/// A sum and the sum of the magnitudes of its terms, which scales the rounding it may have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) value: f64,
    magnitude: f64,
}

impl Expected {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
    }
}

/// One convolution, forward or transposed, with entries per spatial axis.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Input channels of one group.
    pub(crate) input_channels: usize,
    /// Output channels of one group.
    pub(crate) output_channels: usize,
    pub(crate) input: Vec<usize>,
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    pub(crate) pads_begin: Vec<usize>,
    pub(crate) pads_end: Vec<usize>,
    pub(crate) output_padding: Vec<usize>,
    pub(crate) with_bias: bool,
    pub(crate) seed: u64,
}

impl Case {
    /// A plain two-dimensional case with padding of one, to be changed field by field.
    pub(crate) fn plane(channels: [usize; 2], input: [usize; 2], kernel: usize) -> Self {
        Self {
            batch: 1,
            groups: 1,
            input_channels: channels[0],
            output_channels: channels[1],
            input: input.to_vec(),
            kernel: vec![kernel; 2],
            strides: vec![1; 2],
            dilations: vec![1; 2],
            pads_begin: vec![1; 2],
            pads_end: vec![1; 2],
            output_padding: vec![0; 2],
            with_bias: true,
            seed: 1,
        }
    }

    /// Lengths that the kernel spans.
    fn spans(&self) -> Vec<usize> {
        self.kernel
            .iter()
            .zip(&self.dilations)
            .map(|(&kernel, &dilation)| (kernel - 1) * dilation + 1)
            .collect()
    }

    /// The plane of the forward convolution, or `None` if the kernel does not fit.
    pub(crate) fn forward_plane(&self) -> Option<Vec<usize>> {
        let spans = self.spans();
        let length = |axis: usize| {
            let padded = self.input[axis] + self.pads_begin[axis] + self.pads_end[axis];
            Some(padded.checked_sub(spans[axis])? / self.strides[axis] + 1)
        };
        (0..self.input.len()).map(length).collect()
    }

    /// The plane of the transposed convolution, or `None` if the padding cuts all of it.
    pub(crate) fn transposed_plane(&self) -> Option<Vec<usize>> {
        let spans = self.spans();
        let length = |axis: usize| {
            let full = (self.input[axis] - 1) * self.strides[axis] + spans[axis] + self.output_padding[axis];
            full.checked_sub(self.pads_begin[axis] + self.pads_end[axis]).filter(|&length| length > 0)
        };
        (0..self.input.len()).map(length).collect()
    }

    pub(crate) fn input_shape(&self) -> Vec<usize> {
        [&[self.batch, self.groups * self.input_channels], &self.input[..]].concat()
    }

    pub(crate) fn input_length(&self) -> usize {
        self.input_shape().iter().product()
    }

    pub(crate) fn weight_length(&self) -> usize {
        self.groups * self.input_channels * self.output_channels * self.kernel.iter().product::<usize>()
    }

    pub(crate) fn bias_length(&self) -> usize {
        self.groups * self.output_channels
    }

    /// The forward convolution.
    pub(crate) fn forward(&self, input: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<Expected> {
        let plane = self.forward_plane().expect("a kernel that fits");
        self.walk(&plane, bias, |[batch, group, from, to], tap, position, sums| {
            let source = three(&self.input, 1);
            let place = self.reached(position, tap, source)?;
            let weight_row = (group * self.output_channels + to) * self.input_channels + from;
            let factor = weight[weight_row * size(&self.kernel) + index(tap, three(&self.kernel, 1))];
            let channel = (batch * self.groups + group) * self.input_channels + from;
            let value = input[channel * size(&self.input) + index(place, source)];
            let sum = (batch * self.groups + group) * self.output_channels + to;
            sums[sum * size(&plane) + index(position, three(&plane, 1))].add(value * factor);
            Some(())
        })
    }

    /// The transposed convolution.
    pub(crate) fn transposed(&self, input: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<Expected> {
        let plane = self.transposed_plane().expect("an output plane");
        self.walk_to(&self.input, &plane, bias, |[batch, group, from, to], tap, position, sums| {
            let target = three(&plane, 1);
            let place = self.reached(position, tap, target)?;
            let weight_row = (group * self.input_channels + from) * self.output_channels + to;
            let factor = weight[weight_row * size(&self.kernel) + index(tap, three(&self.kernel, 1))];
            let channel = (batch * self.groups + group) * self.input_channels + from;
            let value = input[channel * size(&self.input) + index(position, three(&self.input, 1))];
            let sum = (batch * self.groups + group) * self.output_channels + to;
            sums[sum * size(&plane) + index(place, target)].add(value * factor);
            Some(())
        })
    }

    /// Where the window at `position` reaches with `tap`, if that is inside a plane of `lengths`.
    fn reached(&self, position: [usize; 3], tap: [usize; 3], lengths: [usize; 3]) -> Option<[usize; 3]> {
        let (strides, dilations, pads) =
            (three(&self.strides, 1), three(&self.dilations, 1), three(&self.pads_begin, 0));
        let mut place = [0; 3];
        for axis in 0..3 {
            let coordinate =
                (position[axis] * strides[axis] + tap[axis] * dilations[axis]) as i64 - pads[axis] as i64;
            place[axis] =
                usize::try_from(coordinate).ok().filter(|&coordinate| coordinate < lengths[axis])?;
        }
        Some(place)
    }

    fn walk(
        &self,
        plane: &[usize],
        bias: Option<&[f64]>,
        visit: impl FnMut([usize; 4], [usize; 3], [usize; 3], &mut [Expected]) -> Option<()>,
    ) -> Vec<Expected> {
        self.walk_to(plane, plane, bias, visit)
    }

    /// Visits every batch entry, group, input channel, output channel, tap and position over sums set to the bias.
    fn walk_to(
        &self,
        positions: &[usize],
        plane: &[usize],
        bias: Option<&[f64]>,
        mut visit: impl FnMut([usize; 4], [usize; 3], [usize; 3], &mut [Expected]) -> Option<()>,
    ) -> Vec<Expected> {
        let channels = self.bias_length();
        let mut sums = vec![Expected::default(); self.batch * channels * size(plane)];
        for (element, sum) in sums.iter_mut().enumerate() {
            sum.add(bias.map_or(0.0, |bias| bias[element / size(plane) % channels]));
        }
        let outer = [self.batch, self.groups, self.input_channels, self.output_channels];
        for flat in 0..outer.iter().product() {
            let channels = coordinates(flat, outer);
            for tap in 0..size(&self.kernel) {
                let tap = coordinates(tap, three(&self.kernel, 1));
                for position in 0..size(positions) {
                    // What falls on padding adds nothing.
                    let _ = visit(channels, tap, coordinates(position, three(positions, 1)), &mut sums);
                }
            }
        }
        sums
    }
}

/// Small cases over all attributes, one to three spatial axes.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    (1_usize..=3).prop_flat_map(|rank| {
        let list = |range: std::ops::RangeInclusive<usize>| prop::collection::vec(range, rank);
        let channels = (1_usize..=2, 1_usize..=3, 1_usize..=3, 1_usize..=3);
        let planes = (list(1..=6), list(1..=3), list(1..=3), list(1..=2));
        let pads = (list(0..=3), list(0..=3), list(0..=1));
        (channels, planes, pads, any::<bool>(), any::<u64>()).prop_map(
            |(channels, planes, pads, with_bias, seed)| {
                let (batch, groups, input_channels, output_channels) = channels;
                let (input, kernel, strides, dilations) = planes;
                let (pads_begin, pads_end, output_padding) = pads;
                Case {
                    batch,
                    groups,
                    input_channels,
                    output_channels,
                    input,
                    kernel,
                    strides,
                    dilations,
                    pads_begin,
                    pads_end,
                    output_padding,
                    with_bias,
                    seed,
                }
            },
        )
    })
}

/// `length` pseudo-random bytes.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        // The multiplier and increment of Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// `length` pseudo-random values from -1 to 1 that f32 holds exactly.
pub(crate) fn reals(length: usize, seed: u64) -> Vec<f64> {
    let pairs = bytes(2 * length, seed);
    let real = |pair: &[u8]| (f64::from(pair[0]) * 256.0 + f64::from(pair[1]) - 32768.0) / 32768.0;
    pairs.chunks_exact(2).map(real).collect()
}

/// `values` in f32.
pub(crate) fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Checks each value against its expected sum, within `tolerance` of the magnitude of the terms.
pub(crate) fn assert_close(found: &[f64], expected: &[Expected], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected.value).abs();
        assert!(
            error <= tolerance * expected.magnitude,
            "element {index} is {found}, expected {}",
            expected.value
        );
    }
}

/// The product of two row-major matrices.
pub(crate) fn product(lhs: &[f64], rhs: &[f64], [rows, depth, columns]: [usize; 3]) -> Vec<Expected> {
    let mut sums = vec![Expected::default(); rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            for inner in 0..depth {
                sums[row * columns + column].add(lhs[row * depth + inner] * rhs[inner * columns + column]);
            }
        }
    }
    sums
}

fn three(list: &[usize], missing: usize) -> [usize; 3] {
    let mut padded = [missing; 3];
    padded[3 - list.len()..].copy_from_slice(list);
    padded
}

fn size(lengths: &[usize]) -> usize {
    lengths.iter().product()
}

fn index(place: [usize; 3], lengths: [usize; 3]) -> usize {
    (place[0] * lengths[1] + place[1]) * lengths[2] + place[2]
}

fn coordinates<const N: usize>(flat: usize, lengths: [usize; N]) -> [usize; N] {
    let (mut rest, mut place) = (flat, [0; N]);
    for axis in (0..N).rev() {
        place[axis] = rest % lengths[axis];
        rest /= lengths[axis];
    }
    place
}
