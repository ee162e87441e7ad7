//! Convolutions: products of the kernel with the elements under its window.
//!
//! Only those without groups, which are products of matrices; those with groups have kernels of their own (`mlas/lib/convolve.cpp`).

use quad_ir::ops::{Conv, EvalError};
use quad_ir::tensor::Tensor;

use crate::Computed;
use crate::product::{Product, run};

/// A convolution of channels-first tensors, whose sizes agree.
pub(crate) fn convolution(conv: &Conv, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Computed {
    let window = Window::of(conv, x, w)?;
    let (elements, kernel) = (x.to_f32().ok()?, w.to_f32().ok()?);
    let bias = bias.map(Tensor::to_f32).transpose().ok()?;
    let [outputs, depth, positions] = window.sizes;
    let mut results = vec![0.0; x.sizes()[0] * outputs * positions];
    let batches = elements.chunks_exact(elements.len() / x.sizes()[0]);
    for (elements, results) in batches.zip(results.chunks_exact_mut(outputs * positions)) {
        // Runs are cut here already, which one row alone shows: it is not summed in runs otherwise.
        let step = if window.is_pointwise || outputs > positions { depth } else { run(positions, depth) };
        for start in (0..depth).step_by(step) {
            let product = Product {
                a: &kernel[start..],
                stride: depth,
                sizes: [outputs, step.min(depth - start), positions],
                b: |inner: usize, position: usize| window.element(elements, start + inner, position),
                is_transposed: false,
                is_laid_out: false,
            };
            product.add_to(results);
        }
        for (results, bias) in
            results.chunks_exact_mut(positions).zip(bias.iter().flat_map(|bias| bias.iter()))
        {
            for result in results {
                *result += bias;
            }
        }
    }
    let sizes = [&[x.sizes()[0], outputs], &window.plane[..]].concat();
    Some(Tensor::from_vec(&sizes, results).map_err(EvalError::from))
}

/// Which elements a convolution reads.
struct Window {
    /// Output channels, elements under the window, positions of the window.
    sizes: [usize; 3],
    /// Along each spatial axis: the lengths of the input, the kernel and the result.
    input: Vec<usize>,
    kernel: Vec<usize>,
    plane: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    /// Whether the window is one element, and each element is under it once.
    is_pointwise: bool,
}

impl Window {
    /// `None` where the runtime has another kernel.
    fn of(conv: &Conv, x: &Tensor, w: &Tensor) -> Option<Self> {
        let [_, channels, ref input @ ..] = *x.sizes() else { return None };
        let [outputs, depth, ref kernel @ ..] = *w.sizes() else { return None };
        let axes = input.len();
        let or = |list: &[u64], default: usize, count: usize| -> Vec<usize> {
            if list.is_empty() { vec![default; count] } else { list.iter().map(|x| *x as usize).collect() }
        };
        let (strides, dilations) = (or(&conv.strides, 1, axes), or(&conv.dilations, 1, axes));
        let pads = or(&conv.pads, 0, 2 * axes);
        let spans_an_axis = channels == 1 && kernel.iter().zip(input).any(|(kernel, input)| kernel == input);
        if conv.group != 1 || depth != channels || !(1..=3).contains(&axes) || spans_an_axis {
            return None;
        }
        let length = |axis: usize| {
            let padded = input[axis] + pads[axis] + pads[axis + axes];
            Some((padded.checked_sub(dilations[axis] * (kernel[axis] - 1) + 1)?) / strides[axis] + 1)
        };
        let plane: Vec<usize> = (0..axes).map(length).collect::<Option<_>>()?;
        let taps: usize = kernel.iter().product();
        let is_pointwise =
            taps == 1 && strides.iter().all(|stride| *stride == 1) && pads.iter().all(|pad| *pad == 0);
        Some(Self {
            sizes: [outputs, channels * taps, plane.iter().product()],
            input: input.to_vec(),
            kernel: kernel.to_vec(),
            plane,
            strides,
            dilations,
            pads,
            is_pointwise,
        })
    }

    /// The element of a batch entry at a place of the window, channels first, and a position of it; 0 beside the input.
    fn element(&self, elements: &[f32], place: usize, position: usize) -> f32 {
        let (mut tap, mut position) = (place, position);
        let (mut index, mut step) = (0, 1);
        for axis in (0..self.input.len()).rev() {
            let (of_tap, of_position) = (tap % self.kernel[axis], position % self.plane[axis]);
            tap /= self.kernel[axis];
            position /= self.plane[axis];
            let padded = of_position * self.strides[axis] + of_tap * self.dilations[axis];
            match padded.checked_sub(self.pads[axis]) {
                Some(at) if at < self.input[axis] => index += at * step,
                _ => return 0.0,
            }
            step *= self.input[axis];
        }
        elements[tap * step + index]
    }
}
