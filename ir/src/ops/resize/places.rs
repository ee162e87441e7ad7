//! Which places of the operand each place of a resized axis reads.

use super::{Coordinates, Interpolation, NearestMode, Resize};
use crate::kernels::resample::Taps;
use crate::tensor::Number;

/// How one axis is resized.
pub(super) struct AxisMap {
    /// The axis.
    pub(super) axis: usize,
    /// Elements of the operand along it.
    pub(super) length: usize,
    /// Elements of the result along it.
    pub(super) count: usize,
    /// The factor that was asked for; `length * scale` need not be `count` exactly.
    pub(super) scale: f64,
    /// Start and end of the region of interest, as fractions of the length.
    pub(super) region: [f64; 2],
}

impl AxisMap {
    /// Whether every place maps to itself.
    pub(super) fn is_identity(&self) -> bool {
        self.count == self.length && (self.scale == 1.0 || self.length == 0) && self.region == [0.0, 1.0]
    }

    /// By how much the tensor grows.
    pub(super) fn growth(&self) -> f64 {
        self.count as f64 / self.length as f64
    }

    /// The elements that are read, one for each place of the result.
    pub(super) fn nearest(&self, coordinates: Coordinates, mode: NearestMode) -> Vec<usize> {
        let nearest = |place| {
            let source = self.source(coordinates, place);
            let below = source.floor();
            let up = match mode {
                NearestMode::RoundPreferFloor => source - below > 0.5,
                NearestMode::RoundPreferCeil => source - below >= 0.5,
                NearestMode::Floor => false,
                NearestMode::Ceil => source > below,
            };
            self.clamp((below as i64).saturating_add(i64::from(up)))
        };
        (0..self.count).map(nearest).collect()
    }

    /// The weighted sums that interpolate, one for each place of the result.
    pub(super) fn taps<T: Number>(&self, resize: &Resize) -> Taps<T> {
        let radius = if resize.mode == Interpolation::Cubic { 2.0 } else { 1.0 };
        // An axis that shrinks stretches the interpolating function, so that no element is skipped.
        // With any place in the result, its inverse is at most twice the length.
        let stretch = if resize.antialias && self.count > 0 { self.scale.min(1.0) } else { 1.0 };
        let first = (-radius / stretch).floor() as i64 + 1;
        let width = (2 - 2 * first) as usize;
        let mut taps = Taps {
            width,
            places: Vec::with_capacity(width * self.count),
            weights: Vec::with_capacity(width * self.count),
        };
        let mut weights = vec![0.0; width];
        for place in 0..self.count {
            let source = self.source(resize.coordinate_transformation_mode, place);
            // The neighbor below; the one at the place itself counts as the one above.
            let below = source.ceil() - 1.0;
            let start = (below as i64).saturating_add(first);
            for (offset, weight) in (0i64..).zip(weights.iter_mut()) {
                let distance = (first + offset) as f64 - (source - below);
                let outside = !(0..self.length as i64).contains(&start.saturating_add(offset));
                let counts = !(resize.exclude_outside && outside);
                *weight = if counts { resize.influence((distance * stretch).abs()) } else { 0.0 };
                taps.places.push(self.clamp(start.saturating_add(offset)));
            }
            if resize.antialias || resize.exclude_outside {
                normalize(&mut weights);
            }
            taps.weights.extend(weights.iter().map(|weight| T::from_f64(*weight)));
        }
        taps
    }

    /// Whether `place` of the result lies outside of the operand, when regions are cropped.
    pub(super) fn is_outside(&self, place: usize) -> bool {
        let source = self.source(Coordinates::TfCropAndResize, place);
        source < 0.0 || source > self.length as f64 - 1.0
    }

    /// The place of the operand that `place` of the result maps to.
    fn source(&self, coordinates: Coordinates, place: usize) -> f64 {
        let (place, length, count) = (place as f64, self.length as f64, self.count as f64);
        let exact_count = self.scale * length;
        let half_pixel = (place + 0.5) / self.scale - 0.5;
        match coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => half_pixel + length / 2.0 * (1.0 - count / exact_count),
            Coordinates::PytorchHalfPixel => if count == 1.0 { 0.0 } else { half_pixel },
            Coordinates::AlignCorners => {
                if exact_count == 1.0 { 0.0 } else { place * (length - 1.0) / (exact_count - 1.0) }
            }
            Coordinates::Asymmetric => place / self.scale,
            Coordinates::TfCropAndResize => {
                let [start, end] = self.region;
                let part = if count == 1.0 { 0.5 } else { place / (count - 1.0) };
                start * (length - 1.0) + part * (end - start) * (length - 1.0)
            }
        }
    }

    fn clamp(&self, place: i64) -> usize {
        place.clamp(0, self.length as i64 - 1) as usize
    }
}

impl Resize {
    /// How much an element counts at `distance` from the place that is interpolated.
    fn influence(&self, distance: f64) -> f64 {
        let (d, a) = (distance, f64::from(self.cubic_coeff_a.get()));
        match self.mode {
            Interpolation::Cubic if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Interpolation::Cubic if d < 2.0 => ((d - 5.0) * d + 8.0) * d * a - 4.0 * a,
            Interpolation::Cubic => 0.0,
            _ => (1.0 - d).max(0.0),
        }
    }
}

/// Makes the weights add up to 1, unless they are all zero.
fn normalize(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    if sum != 0.0 {
        for weight in weights {
            *weight /= sum;
        }
    }
}
