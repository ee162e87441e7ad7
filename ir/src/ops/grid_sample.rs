//! `grid_sample`: `x` sampled at the places that a grid holds.
//!
//! `x` is `[batch, channels, d1, .., dr]` with up to three spatial axes, `grid` `[batch, o1, .., or, r]`, and the result
//! `[batch, channels, o1, .., or]`. The numbers of a place are in the order of the axes from the innermost outward; -1
//! is the start of an axis and 1 its end.
//!
//! Floats are summed in f32 (f64 for f64), integers in f64, cut to whole numbers. Places are computed in the type of
//! `grid`, at least f32.

use rayon::prelude::*;
use smallvec::SmallVec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, rules, single};
use super::sizes_of;
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::kernels::sample::{Corners, Taps, corners, inside, linear};
use crate::tensor::{Number, Tensor};
use crate::types::{Shape, TensorType};
use crate::{with_float, with_number};

attr_enum! {
    /// What the value between elements is.
    pub enum SampleMode {
        /// Linear between the two neighbors along each axis.
        #[default]
        Linear = "linear",
        /// The nearest element, half-way the even one.
        Nearest = "nearest",
        /// The cubic convolution, with coefficient -0.75, of the four neighbors along each axis.
        Cubic = "cubic",
    }
}

attr_enum! {
    /// What lies outside of `x`.
    pub enum SamplePadding {
        /// Zeros.
        #[default]
        Zeros = "zeros",
        /// The outermost element.
        Border = "border",
        /// The elements inside, reflected at the border as often as it takes.
        Reflection = "reflection",
    }
}

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GridSample {
    /// How values between elements are found.
    pub mode: SampleMode,
    /// What lies outside.
    pub padding_mode: SamplePadding,
    /// Whether -1 and 1 are the centers of the outermost elements, instead of their outer edges.
    pub align_corners: bool,
}

/// Places whose neighbors are looked up at a time, for all channels.
const BLOCK: usize = 1024;

impl OpDef for GridSample {
    const NAME: &'static str = "grid_sample";
    const OPERANDS: &'static [Operand] = &[one("x"), one("grid")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("mode", &mut self.mode)?;
        visitor.attr("padding_mode", &mut self.padding_mode)?;
        visitor.attr("align_corners", &mut self.align_corners)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if self.mode != SampleMode::Nearest {
            rules::number(operands, 0)?;
        }
        if !(3..=5).contains(&x.rank()) {
            return Err(operands.mismatch(0, "a batch, channels and one to three spatial axes"));
        }
        operands.float(1)?;
        let grid = &operands.ranked(1, x.rank())?.shape;
        let spatial = x.rank() - 2;
        if grid[spatial + 1].known().is_some_and(|size| size != spatial as u64) {
            return Err(operands.mismatch(1, format!("a last axis of {spatial}, one for each spatial axis of `x`")));
        }
        let batch = operands.same_dim(1, &grid[0], &x.shape[0])?;
        let channels = x.shape[1].clone();
        let places = grid[1..=spatial].iter().cloned();
        Ok(single(x.dtype, [batch, channels].into_iter().chain(places).collect::<Shape>()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, grid) = (operands.tensor(0)?, operands.tensor(1)?);
        let sizes = sizes_of(&types[0])?;
        let tensor = match (self.mode, x.dtype()) {
            (SampleMode::Nearest, dtype) => with_number!(dtype, T => {
                Tensor::from_compute(dtype, &sizes, self.sample::<T>(&x.to_compute::<T>()?, x.sizes(), grid)?)?
            }),
            (_, dtype) if dtype.is_float() => with_float!(dtype, T => {
                Tensor::from_compute(dtype, &sizes, self.sample::<T>(&x.to_compute::<T>()?, x.sizes(), grid)?)?
            }),
            (_, dtype) => {
                let values = self.sample::<f64>(&x.to_f64()?, x.sizes(), grid)?;
                with_number!(dtype, T => {
                    Tensor::from_compute(dtype, &sizes, values.into_iter().map(T::from_f64).collect())?
                })
            }
        };
        Ok(only(tensor))
    }
}

impl GridSample {
    fn sample<T: Number>(&self, x: &[T], sizes: &[usize], grid: &Tensor) -> Result<Vec<T>, EvalError> {
        let (channels, plane_sizes) = (sizes[1], &sizes[2..]);
        let plane: usize = plane_sizes.iter().product();
        let places: usize = grid.sizes()[1..grid.rank() - 1].iter().product();
        let coordinates = self.coordinates(grid, plane_sizes)?;
        let mut result = vec![T::default(); sizes[0] * channels * places];
        if result.is_empty() {
            return Ok(result);
        }
        let solve = |(sample, first): (usize, usize)| {
            let count = BLOCK.min(places - first);
            let points = &coordinates[(sample * places + first) * plane_sizes.len()..];
            let points = points.chunks_exact(plane_sizes.len()).take(count);
            let found: Vec<Corners> = points.map(|point| self.corners(point, plane_sizes)).collect();
            let x = &x[sample * channels * plane..][..channels * plane];
            let mut block = Vec::with_capacity(channels * count);
            for channel in x.chunks_exact(plane.max(1)).take(channels) {
                block.extend(found.iter().map(|corners| weighted(channel, corners)));
            }
            block.resize(channels * count, T::default());
            block
        };
        let starts = |sample| (0..places).step_by(BLOCK).map(move |first| (sample, first));
        let blocks: Vec<(usize, usize)> = (0..sizes[0]).flat_map(starts).collect();
        let solved: Vec<Vec<T>> = blocks.par_iter().copied().map(solve).collect();
        for ((sample, first), block) in blocks.into_iter().zip(solved) {
            let count = block.len() / channels;
            for (channel, row) in block.chunks_exact(count).enumerate() {
                result[(sample * channels + channel) * places + first..][..count].copy_from_slice(row);
            }
        }
        Ok(result)
    }

    /// The places in units of elements, axes outermost first.
    fn coordinates(&self, grid: &Tensor, sizes: &[usize]) -> Result<Vec<f64>, EvalError> {
        let axes = sizes.len();
        Ok(with_float!(grid.dtype(), T => {
            let grid = grid.to_compute::<T>()?;
            let points = grid.chunks_exact(axes);
            let point = |point: &[T]| -> SmallVec<[f64; 3]> {
                let reversed = point.iter().rev().zip(sizes);
                reversed.map(|(number, size)| self.denormalize(*number, *size).to_f64()).collect()
            };
            points.flat_map(point).collect()
        }))
    }

    /// From -1 to 1 to elements along an axis of `size`.
    fn denormalize<T: Number>(&self, number: T, size: usize) -> T {
        let (size, half) = (T::from_f64(size as f64), T::from_f64(0.5));
        let from_start = number.add(T::ONE);
        if self.align_corners {
            from_start.mul(half).mul(size.sub(T::ONE))
        } else {
            from_start.mul(size).sub(T::ONE).mul(half)
        }
    }

    /// The elements that a point is a weighted sum of.
    fn corners(&self, point: &[f64], sizes: &[usize]) -> Corners {
        let axis = |(place, size): (&f64, &usize)| self.taps(*place, *size);
        let taps: SmallVec<[Taps; 3]> = point.iter().zip(sizes).map(axis).collect();
        corners(&taps, sizes)
    }

    fn taps(&self, place: f64, size: usize) -> Taps {
        let element = |index: i64| self.element(index, size);
        match self.mode {
            SampleMode::Nearest => {
                let place = self.bounded(place.round_ties_even(), size);
                Taps::from_slice(&[(element(place as i64), 1.0)])
            }
            SampleMode::Linear => linear(self.bounded(place, size), element),
            SampleMode::Cubic => {
                let place = self.bounded(place, size);
                let below = place.floor();
                let tap = |offset: i32| {
                    let distance = (place - below - f64::from(offset)).abs();
                    (element((below as i64).saturating_add(i64::from(offset))), cubic(distance))
                };
                (-1..=2).map(tap).collect()
            }
        }
    }

    /// A place outside, moved inside as the padding asks.
    fn bounded(&self, place: f64, size: usize) -> f64 {
        let (low, high) = self.borders(size);
        match self.padding_mode {
            _ if (low..=high).contains(&place) => place,
            SamplePadding::Zeros => place,
            SamplePadding::Border => place.clamp(0.0, (size as f64 - 1.0).max(0.0)),
            SamplePadding::Reflection => reflect(place, low, high),
        }
    }

    /// The element that index `index` means; `None` for zero.
    fn element(&self, index: i64, size: usize) -> Option<usize> {
        match self.padding_mode {
            _ if size == 0 => None,
            SamplePadding::Zeros => inside(index, size),
            SamplePadding::Border => Some(index.clamp(0, size as i64 - 1) as usize),
            SamplePadding::Reflection => {
                let (low, high) = self.borders(size);
                // Rounding of far places can end beside the borders.
                Some((reflect(index as f64, low, high) as usize).min(size - 1))
            }
        }
    }

    /// Where an axis starts and ends.
    fn borders(&self, size: usize) -> (f64, f64) {
        let size = size as f64;
        if self.align_corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) }
    }
}

/// `place` reflected between `low` and `high` until it lies between them.
fn reflect(place: f64, low: f64, high: f64) -> f64 {
    let range = high - low;
    if range <= 0.0 {
        return low.max(0.0);
    }
    let (beyond, near, back) = match place {
        place if place < low => (low - place, low, 1.0),
        place if place > high => (place - high, high, -1.0),
        _ => return place,
    };
    let turns = (beyond / range).trunc();
    let rest = beyond - turns * range;
    // An even number of turns ends at the border that was crossed.
    if turns % 2.0 == 0.0 { near + back * rest } else { near + back * (range - rest) }
}

/// The cubic convolution with coefficient -0.75.
fn cubic(distance: f64) -> f64 {
    let (d, a) = (distance, -0.75);
    match d {
        d if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((d - 5.0) * d + 8.0) * d * a - 4.0 * a,
        _ => 0.0 * d,
    }
}

fn weighted<T: Number>(plane: &[T], corners: &Corners) -> T {
    if let [(place, 1.0)] = corners.as_slice() {
        // An integer need not survive a product in another type.
        return plane[*place];
    }
    let products = corners.iter().map(|(place, weight)| plane[*place].mul(T::from_f64(*weight)));
    products.fold(T::default(), Number::add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{evaluate, refused, tensor};

    /// `x` at `places` of the grid along its only spatial axis.
    fn line(op: &GridSample, x: &[f32], places: &[f32]) -> Vec<f64> {
        let x = tensor(&[1, 1, x.len()], x);
        let grid = tensor(&[1, places.len(), 1], places);
        evaluate(&op.clone().into(), &[&x, &grid])[0].to_f64().expect("numbers")
    }

    fn op(mode: SampleMode, padding_mode: SamplePadding, align_corners: bool) -> GridSample {
        GridSample { mode, padding_mode, align_corners }
    }

    #[test]
    fn corners_are_centers_or_edges() {
        let x = [10.0, 20.0];
        let centers = op(SampleMode::Linear, SamplePadding::Zeros, true);
        assert_eq!(line(&centers, &x, &[-1.0, 0.0, 1.0]), [10.0, 15.0, 20.0]);
        let edges = op(SampleMode::Linear, SamplePadding::Zeros, false);
        assert_eq!(line(&edges, &x, &[-1.0, -0.5, 0.0, 0.5, 1.0]), [5.0, 10.0, 15.0, 20.0, 10.0]);
    }

    #[test]
    fn padding_decides_what_is_outside() {
        let x = [1.0, 2.0, 4.0];
        // Places -2, -1, 3 and 4 of three elements.
        let places = [-3.0, -2.0, 2.0, 3.0];
        let found = |padding| line(&op(SampleMode::Nearest, padding, true), &x, &places);
        assert_eq!(found(SamplePadding::Zeros), [0.0; 4]);
        assert_eq!(found(SamplePadding::Border), [1.0, 1.0, 4.0, 4.0]);
        assert_eq!(found(SamplePadding::Reflection), [4.0, 2.0, 2.0, 1.0]);
        let edges = line(&op(SampleMode::Nearest, SamplePadding::Reflection, false), &x, &[-1.8, 1.8]);
        // Places -1.7 and 3.7, nearest to -2 and 4, reflected at the edges.
        assert_eq!(edges, [2.0, 2.0]);
    }

    #[test]
    fn half_way_is_even() {
        let nearest = op(SampleMode::Nearest, SamplePadding::Zeros, true);
        assert_eq!(line(&nearest, &[1.0, 2.0, 4.0], &[-0.5, 0.5]), [1.0, 4.0]);
    }

    #[test]
    fn cubic_passes_through_the_elements() {
        let cubic = op(SampleMode::Cubic, SamplePadding::Border, true);
        let found = line(&cubic, &[1.0, -2.0, 5.0, 7.0], &[-1.0, -1.0 / 3.0, 0.0, 1.0]);
        assert_eq!([found[0], found[3]], [1.0, 7.0]);
        assert!((found[1] + 2.0).abs() < 1e-5, "{found:?}");
        // 19/32 of the neighbors less 3/32 of the ones after.
        assert!((found[2] - (19.0 * 3.0 - 3.0 * 8.0) / 32.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn the_innermost_axis_comes_first_in_the_grid() {
        let x = tensor(&[1, 2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0]);
        let grid = tensor(&[1, 1, 2, 2], &[1.0, -1.0, -1.0, 1.0]);
        let y = evaluate(&op(SampleMode::Linear, SamplePadding::Zeros, true).into(), &[&x, &grid]);
        assert_eq!(y[0], tensor(&[1, 2, 1, 2], &[2.0, 3.0, 20.0, 30.0]));
    }

    #[test]
    fn wide_integers_are_copied_exactly() {
        let x = Tensor::from_vec(&[1, 1, 2], vec![i64::MAX, i64::MIN + 1]).expect("two elements");
        let grid = tensor(&[1, 2, 1], &[1.0, -1.0]);
        let y = evaluate(&op(SampleMode::Nearest, SamplePadding::Zeros, true).into(), &[&x, &grid]);
        assert_eq!(y[0], Tensor::from_vec(&[1, 1, 2], vec![i64::MIN + 1, i64::MAX]).expect("two elements"));
    }

    #[test]
    fn places_that_are_no_places_do_no_harm() {
        for mode in [SampleMode::Linear, SampleMode::Nearest, SampleMode::Cubic] {
            for padding in [SamplePadding::Zeros, SamplePadding::Border, SamplePadding::Reflection] {
                for size in [0, 1, 3] {
                    let x = vec![1.0; size];
                    let places = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e20];
                    for align in [false, true] {
                        assert_eq!(line(&op(mode, padding, align), &x, &places).len(), 5);
                    }
                }
            }
        }
    }

    #[test]
    fn grids_that_do_not_fit_are_refused() {
        let x = tensor(&[1, 1, 2, 2], &[0.0; 4]);
        let message = refused(&GridSample::default().into(), &[&x, &tensor(&[1, 1, 1, 3], &[0.0; 3])]);
        assert!(message.contains("last axis of 2"), "{message}");
    }
}
