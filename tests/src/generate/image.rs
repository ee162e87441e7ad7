//! Steps on images `[batch, channels, height, width]`: convolutions and what is around them.

use quad_ir::graph::{AddError, ValueId};
use quad_ir::ops::resize::{Coordinates, NearestMode};
use quad_ir::ops::{
    Add, AveragePool, BatchNorm, Conv, ConvTranspose, DepthToSpace, MaxPool, Mul, Pad, Relu, Resize,
    SpaceToDepth, Unsqueeze,
};

use super::grower::{Grower, Grown, Range};
use super::linear;

/// A convolution with weights `[outputs, channels / group, kernel, kernel]`.
struct Window {
    outputs: u64,
    group: u64,
    kernel: u64,
    stride: u64,
    pads: Vec<u64>,
}

fn convolve(grower: &mut Grower, x: Grown, window: &Window) -> Result<Grown, AddError> {
    let channels = grower.tail(x.id)[0];
    let taps = channels / window.group * window.kernel * window.kernel;
    let magnitude = 1.0 / (taps as f64).sqrt();
    let sizes = [window.outputs, channels / window.group, window.kernel, window.kernel];
    let w = grower.constant(&sizes, magnitude)?;
    let bias = grower.constant(&[window.outputs], 1.0)?;
    let bias_id = (!grower.once_in(3)).then_some(bias.id);
    let strides = if window.stride == 1 { Vec::new() } else { vec![window.stride; 2] };
    let op = Conv { strides, pads: window.pads.clone(), group: window.group, ..Conv::default() };
    let id = grower.results(op, &[Some(x.id), Some(w.id), bias_id])?[0];
    let range = Range::around_zero(x.range.magnitude() * magnitude * taps as f64);
    Ok(Grown { id, range: range.plus(bias.range) })
}

/// A convolution that keeps height and width, and what exporters leave behind it.
pub(super) fn convolution(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let channels = grower.tail(x.id)[0];
    let kernel = grower.pick(&[1, 3]);
    let pads = if kernel == 1 { Vec::new() } else { vec![1; 4] };
    let outputs = grower.pick(&[2, 4, 8]);
    let (outputs, group) = match grower.below(4) {
        0 => (channels, channels),
        1 if channels.is_multiple_of(2) => (outputs, 2),
        _ => (outputs, 1),
    };
    let y = convolve(grower, x, &Window { outputs, group, kernel, stride: 1, pads })?;
    let y = behind(grower, y, outputs)?;
    grower.keep(y.id, y.range)
}

/// Scales and shifts of channels: what can be folded into the weights.
fn behind(grower: &mut Grower, y: Grown, channels: u64) -> Result<Grown, AddError> {
    match grower.below(5) {
        0 => normalized(grower, y, channels),
        1 => {
            let scale = grower.constant(&[channels, 1, 1], 1.5)?;
            Ok(Grown { id: grower.op(Mul, &[y.id, scale.id])?, range: y.range.times(scale.range) })
        }
        2 => {
            let shift = grower.constant(&[1, channels, 1, 1], 1.0)?;
            Ok(Grown { id: grower.op(Add, &[y.id, shift.id])?, range: y.range.plus(shift.range) })
        }
        3 => Ok(Grown { id: grower.op(Relu, &[y.id])?, range: y.range.map(|end| end.max(0.0)) }),
        _ => Ok(y),
    }
}

fn normalized(grower: &mut Grower, y: Grown, channels: u64) -> Result<Grown, AddError> {
    let (scale, shift) = (grower.constant(&[channels], 1.0)?, grower.constant(&[channels], 1.0)?);
    let (average, variance) = (grower.constant(&[channels], 1.0)?, grower.positive(&[channels], 2.0)?);
    let operands = [y.id, scale.id, shift.id, average.id, variance.id];
    let id = grower.op(BatchNorm::default(), &operands)?;
    Ok(Grown { id, range: Range::around_zero(y.range.magnitude() + 2.0) })
}

/// A convolution that halves an image, padded by itself, or on two sides by a node before it.
pub(super) fn strided(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let outputs = grower.pick(&[2, 4]);
    // Padded on two sides, one pixel is too few for three taps.
    let by_node = grower.tail(x.id)[1..].iter().all(|size| *size >= 2) && grower.once_in(2);
    let (x, pads) = if by_node {
        let pads = grower.integers(&[0, 0, 0, 0, 0, 0, 1, 1])?;
        (Grown { id: grower.op(Pad::default(), &[x.id, pads])?, ..x }, Vec::new())
    } else {
        (x, vec![1; 4])
    };
    let y = convolve(grower, x, &Window { outputs, group: 1, kernel: 3, stride: 2, pads })?;
    grower.keep(y.id, y.range)
}

/// A transposed convolution that doubles an image.
pub(super) fn transposed_convolution(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [channels, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    if height * width > 36 {
        return Ok(());
    }
    let w = grower.constant(&[channels, 2, 2, 2], 0.5)?;
    let op = ConvTranspose { strides: vec![2, 2], ..ConvTranspose::default() };
    let id = grower.op(op, &[x.id, w.id])?;
    grower.keep(id, Range::around_zero(x.range.magnitude() * 0.5 * channels as f64))
}

/// The mean or the maximum under windows of two by two.
pub(super) fn pooled(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [_, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    if height < 2 || width < 2 {
        return Ok(());
    }
    let (kernel_shape, strides) = (vec![2, 2], vec![2, 2]);
    let id = if grower.once_in(2) {
        grower.op(AveragePool { kernel_shape, strides, ..AveragePool::default() }, &[x.id])?
    } else {
        grower.results(MaxPool { kernel_shape, strides, ..MaxPool::default() }, &[Some(x.id)])?[0]
    };
    grower.keep(id, x.range)
}

/// Every pixel several times in both directions: by factors or sizes, by whichever rule finds the nearest pixel.
pub(super) fn resized(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [channels, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    if height * width > 36 {
        return Ok(());
    }
    let factor = grower.pick(&[2, 2, 3]);
    let op = if grower.once_in(2) {
        Resize {
            coordinate_transformation_mode: Coordinates::Asymmetric,
            nearest_mode: NearestMode::Floor,
            ..Resize::default()
        }
    } else {
        Resize::default()
    };
    let batch = grower.sizes(x.id).map(|sizes| sizes[0]).filter(|_| grower.once_in(2));
    let operands = if let Some(batch) = batch {
        let sizes = [batch, channels, factor * height, factor * width].map(|size| size as i64);
        [Some(x.id), None, None, Some(grower.integers(&sizes)?)]
    } else {
        let scales = grower.floats(&[4], &[1.0, 1.0, factor as f32, factor as f32])?;
        [Some(x.id), None, Some(scales), None]
    };
    let id = grower.results(op, &operands)?[0];
    grower.keep(id, x.range)
}

/// Squares of pixels as channels, or channels as squares of pixels.
pub(super) fn blocks(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [channels, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    let id = if channels.is_multiple_of(4) {
        grower.op(DepthToSpace { blocksize: 2, ..DepthToSpace::default() }, &[x.id])?
    } else if height.is_multiple_of(2) && width.is_multiple_of(2) {
        grower.op(SpaceToDepth { blocksize: 2, ..SpaceToDepth::default() }, &[x.id])?
    } else {
        return Ok(());
    };
    grower.keep(id, x.range)
}

/// One number for each channel, by a linear layer from an input, added to an image.
pub(super) fn timestep(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let channels = grower.tail(x.id)[0];
    let embedding = grower.input("timestep", &[4])?;
    let y = linear::layer(grower, embedding, channels)?;
    let wide = last_axes(grower, y.id)?;
    let id = grower.op(Add, &[x.id, wide])?;
    grower.keep(id, x.range.plus(y.range))
}

/// `y` with two axes of size 1 behind the others.
fn last_axes(grower: &mut Grower, y: ValueId) -> Result<ValueId, AddError> {
    if grower.once_in(2) {
        let axes = grower.integers(&[2, 3])?;
        return grower.op(Unsqueeze, &[y, axes]);
    }
    let axes = grower.integers(&[2])?;
    let three = grower.op(Unsqueeze, &[y, axes])?;
    let axes = grower.integers(&[3])?;
    grower.op(Unsqueeze, &[three, axes])
}

/// An image as tokens, through a linear layer, and back.
pub(super) fn as_tokens(grower: &mut Grower) -> Result<(), AddError> {
    let x = grower.image()?;
    let [channels, height, width] = grower.tail(x.id)[..] else { return Ok(()) };
    let (channels_spelled, pixels) = (channels as i64, (height * width) as i64);
    let tokens = if grower.once_in(2) {
        let flat = grower.reshape(x.id, &[0, channels_spelled, pixels])?;
        grower.transpose(flat, &[0, 2, 1])?
    } else {
        let turned = grower.transpose(x.id, &[0, 2, 3, 1])?;
        grower.reshape(turned, &[0, pixels, channels_spelled])?
    };
    let y = linear::layer(grower, Grown { id: tokens, ..x }, channels)?;
    let turned = grower.transpose(y.id, &[0, 2, 1])?;
    let back = grower.reshape(turned, &[0, channels_spelled, height as i64, width as i64])?;
    let sum = grower.op(Add, &[back, x.id])?;
    grower.keep(sum, y.range.plus(x.range))
}
