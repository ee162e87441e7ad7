//! `roi_align`: regions of feature maps, each pooled to the same size.
//!
//! `x` is `[batch, channels, height, width]`; `rois` is `[regions, 4]`, each `x1, y1, x2, y2`; `batch_indices`,
//! `[regions]`, says which map a region is of. A region is cut into `output_height` by `output_width` bins, and each
//! bin is sampled at a grid of places between elements: the average of the samples, or the largest, is the result,
//! `[regions, channels, output_height, output_width]`. Places more than one element outside of the map count zero.

use smallvec::SmallVec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, single, sizes_of};
use crate::attr::{AttrError, AttrVisitor, F32Bits, attr_enum};
use crate::dtype::DType;
use crate::tensor::{Number, Tensor};
use crate::types::{Dim, Shape, TensorType};
use crate::with_float;

attr_enum! {
    /// How regions are placed on the map.
    pub enum RoiCoordinates {
        /// Elements lie at half numbers, so half an element is taken off.
        #[default]
        HalfPixel = "half_pixel",
        /// Nothing is taken off, and regions are at least one element large.
        OutputHalfPixel = "output_half_pixel",
    }
}

attr_enum! {
    /// What becomes of the samples of a bin.
    pub enum RoiMode {
        /// Their average.
        #[default]
        Average = "avg",
        /// The largest of the weighted neighbors of all samples.
        Max = "max",
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoiAlign {
    /// How regions are placed.
    pub coordinate_transformation_mode: RoiCoordinates,
    /// What becomes of samples.
    pub mode: RoiMode,
    /// Bins along the height.
    pub output_height: u64,
    /// Bins along the width.
    pub output_width: u64,
    /// Samples along each side of a bin; 0 means one for each element that it spans.
    pub sampling_ratio: u64,
    /// What regions are multiplied by to be in elements of the map.
    pub spatial_scale: F32Bits,
}

impl Default for RoiAlign {
    fn default() -> Self {
        Self {
            coordinate_transformation_mode: RoiCoordinates::default(),
            mode: RoiMode::default(),
            output_height: 1,
            output_width: 1,
            sampling_ratio: 0,
            spatial_scale: 1.0.into(),
        }
    }
}

/// Samples along a side of a bin beyond which a region is refused, as pooling it would not end in sensible time.
const MAX_SAMPLES: f64 = 4096.0;

const ROIS: usize = 1;
const BATCH: usize = 2;

impl OpDef for RoiAlign {
    const NAME: &'static str = "roi_align";
    const OPERANDS: &'static [Operand] = &[one("x"), one("rois"), one("batch_indices")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("coordinate_transformation_mode", &mut self.coordinate_transformation_mode)?;
        visitor.attr("mode", &mut self.mode)?;
        visitor.attr("output_height", &mut self.output_height)?;
        visitor.attr("output_width", &mut self.output_width)?;
        visitor.attr("sampling_ratio", &mut self.sampling_ratio)?;
        visitor.attr("spatial_scale", &mut self.spatial_scale)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        operands.float(0)?;
        let x = operands.ranked(0, 4)?;
        if x.shape[2..].contains(&Dim::Known(0)) {
            return Err(operands.mismatch(0, "maps with elements"));
        }
        operands.same_dtype(ROIS, 0)?;
        let rois = &operands.ranked(ROIS, 2)?.shape;
        operands.same_dim(ROIS, &rois[1], &Dim::Known(4))?;
        operands.one_of(BATCH, &[DType::I64])?;
        let regions = operands.same_dim(BATCH, &operands.ranked(BATCH, 1)?.shape[0], &rois[0])?;
        if self.sampling_ratio > MAX_SAMPLES as u64 {
            let found = self.sampling_ratio.to_string();
            let expected = format!("at most {MAX_SAMPLES}");
            return Err(InferError::Attribute { attr: "sampling_ratio", found, expected });
        }
        let sizes = [self.output_height, self.output_width].map(Dim::Known);
        Ok(single(x.dtype, [regions, x.shape[1].clone()].into_iter().chain(sizes).collect::<Shape>()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_float!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl RoiAlign {
    fn evaluate<T: Number>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let (x, rois) = (operands.tensor(0)?, operands.tensor(ROIS)?);
        let [batch, channels, height, width] = [0, 1, 2, 3].map(|axis: usize| x.sizes()[axis]);
        let samples = operands.tensor(BATCH)?.to_i64()?;
        let (values, rois) = (x.to_compute::<T>()?, rois.to_compute::<T>()?);
        let sizes = sizes_of(ty)?;
        let mut y = vec![T::default(); sizes.iter().product()];
        if y.is_empty() {
            return Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?));
        }
        let regions = y.chunks_exact_mut(channels * sizes[2] * sizes[3]);
        for ((sample, roi), region) in samples.into_iter().zip(rois.chunks_exact(4)).zip(regions) {
            let sample = usize::try_from(sample).ok().filter(|sample| *sample < batch).ok_or_else(|| {
                let expected = format!("numbers of {batch} samples");
                EvalError::Value { operand: "batch_indices", found: sample.to_string(), expected }
            })?;
            let sides = self.sides(roi)?;
            let maps = &values[sample * channels * height * width..][..channels * height * width];
            self.pool_region(maps, [height, width], &sides, region);
        }
        Ok(only(Tensor::from_compute(ty.dtype, &sizes, y)?))
    }

    /// Pools all bins of a region of all `maps`; neighbors are the same for all.
    fn pool_region<T: Number>(&self, maps: &[T], [height, width]: [usize; 2], sides: &[Side; 2], y: &mut [T]) {
        let [rows, columns] = sides;
        let bins = rows.bins * columns.bins;
        for bin in 0..bins {
            let rows = rows.neighbors(bin / columns.bins, height);
            let columns = columns.neighbors(bin % columns.bins, width);
            for (map, y) in maps.chunks_exact(height * width).zip(y.chunks_exact_mut(bins)) {
                y[bin] = self.pool(map, width, &rows, &columns);
            }
        }
    }

    /// The region along the height and along the width.
    fn sides<T: Number>(&self, roi: &[T]) -> Result<[Side; 2], EvalError> {
        let shifted = self.coordinate_transformation_mode == RoiCoordinates::HalfPixel;
        let scale = T::from_f64(f64::from(self.spatial_scale.get()));
        let offset = T::from_f64(if shifted { 0.5 } else { 0.0 });
        let side = |first: usize, bins: u64| {
            let (start, end) = (roi[first].mul(scale).sub(offset), roi[first + 2].mul(scale).sub(offset));
            let mut length = end.sub(start);
            if !shifted && length < T::ONE {
                length = T::ONE;
            }
            let bin = length.div(T::from_f64(bins as f64)).to_f64();
            let samples = if self.sampling_ratio > 0 { self.sampling_ratio as f64 } else { bin.ceil() };
            if samples > MAX_SAMPLES {
                let found = format!("a region {} elements long", length.to_f64());
                let expected = format!("at most {MAX_SAMPLES} elements in a bin");
                return Err(EvalError::Value { operand: "rois", found, expected });
            }
            Ok(Side { start: start.to_f64(), bin, bins: bins as usize, samples: samples as usize })
        };
        Ok([side(1, self.output_height)?, side(0, self.output_width)?])
    }

    /// The result of the bin whose samples lie at `rows` and `columns` of a map.
    fn pool<T: Number>(&self, map: &[T], width: usize, rows: &[Neighbors], columns: &[Neighbors]) -> T {
        let mut sum = 0.0;
        let mut largest = None;
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            // A place outside of the map counts as a sample of zero.
            let mut sample_largest = if row.is_empty() || column.is_empty() { 0.0 } else { f64::NEG_INFINITY };
            for (y, y_weight) in row {
                for (x, x_weight) in column {
                    let product = map[y * width + x].to_f64() * y_weight * x_weight;
                    sum += product;
                    sample_largest = sample_largest.max(product);
                }
            }
            largest = Some(largest.map_or(sample_largest, |largest: f64| largest.max(sample_largest)));
        }
        T::from_f64(match self.mode {
            RoiMode::Average => sum / (rows.len() * columns.len()).max(1) as f64,
            RoiMode::Max => largest.unwrap_or(0.0),
        })
    }
}

/// The two elements around a place and their weights; none where the place is outside.
type Neighbors = SmallVec<[(usize, f64); 2]>;

/// A region along one axis.
struct Side {
    start: f64,
    /// Elements that a bin spans.
    bin: f64,
    bins: usize,
    /// Samples along a bin.
    samples: usize,
}

impl Side {
    /// The neighbors of each sample of a bin on an axis of `size`.
    fn neighbors(&self, bin: usize, size: usize) -> Vec<Neighbors> {
        let place = |sample: usize| {
            let within = (sample as f64 + 0.5) * self.bin / self.samples as f64;
            neighbors(self.start + bin as f64 * self.bin + within, size)
        };
        (0..self.samples).map(place).collect()
    }
}

fn neighbors(place: f64, size: usize) -> Neighbors {
    if !(-1.0..=size as f64).contains(&place) {
        return Neighbors::new();
    }
    let place = place.max(0.0);
    let below = place as usize;
    if below >= size - 1 {
        return Neighbors::from_slice(&[(size - 1, 1.0), (size - 1, 0.0)]);
    }
    let part = place - below as f64;
    Neighbors::from_slice(&[(below, 1.0 - part), (below + 1, part)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::infer_run_time;
    use crate::ops::Op;
    use crate::ops::testing::{evaluate, refused, tensor};

    fn indices(indices: &[i64]) -> Tensor {
        Tensor::from_vec(&[indices.len()], indices.to_vec()).expect("a vector")
    }

    fn ramp() -> Tensor {
        tensor(&[1, 1, 2, 4], &[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0])
    }

    #[test]
    fn bins_are_averages_of_samples_between_elements() {
        // Two bins of two elements; without a shift, samples lie between elements.
        let op = RoiAlign { output_width: 2, ..RoiAlign::default() };
        let roi = tensor(&[1, 4], &[0.0, 0.0, 4.0, 2.0]);
        assert_eq!(evaluate(&op.clone().into(), &[&ramp(), &roi, &indices(&[0])])[0], tensor(&[1, 1, 1, 2], &[5.5, 7.5]));
        let op = RoiAlign { coordinate_transformation_mode: RoiCoordinates::OutputHalfPixel, ..op };
        // The last row and column repeat: samples at 0.5 and 1 along the height, and 2.5 and 3 along the width.
        assert_eq!(evaluate(&op.into(), &[&ramp(), &roi, &indices(&[0])])[0], tensor(&[1, 1, 1, 2], &[8.5, 10.25]));
    }

    #[test]
    fn the_largest_is_of_weighted_neighbors() {
        let op = RoiAlign { mode: RoiMode::Max, sampling_ratio: 1, ..RoiAlign::default() };
        let roi = tensor(&[1, 4], &[2.0, 1.0, 3.0, 2.0]);
        assert_eq!(evaluate(&op.clone().into(), &[&ramp(), &roi, &indices(&[0])])[0], tensor(&[1, 1, 1, 1], &[12.0]));
        let between = tensor(&[1, 4], &[2.0, 0.5, 3.0, 1.5]);
        assert_eq!(evaluate(&op.into(), &[&ramp(), &between, &indices(&[0])])[0], tensor(&[1, 1, 1, 1], &[6.0]));
    }

    #[test]
    fn regions_without_area_or_far_away_give_zeros() {
        let rois = tensor(&[3, 4], &[3.0, 1.0, 1.0, 0.0, 100.0, 100.0, 102.0, 102.0, f32::NAN, 0.0, 1.0, 1.0]);
        let y = evaluate(&RoiAlign::default().into(), &[&ramp(), &rois, &indices(&[0, 0, 0])]);
        assert_eq!(y[0], tensor(&[3, 1, 1, 1], &[0.0; 3]));
    }

    #[test]
    fn hostile_regions_are_refused() {
        let error = |roi: [f32; 4], sample| {
            let op = Op::from(RoiAlign::default());
            let tensors = [ramp(), tensor(&[1, 4], &roi), indices(&[sample])].map(Some);
            let types = infer_run_time(&op, &tensors).expect("the types fit");
            op.def().eval(&Inputs::new(op.def().operands(), &tensors), &types).expect_err("refused").to_string()
        };
        assert!(error([0.0, 0.0, 1.0, 1.0], 1).contains("batch_indices"));
        assert!(error([0.0, 0.0, 1.0, 1.0], -1).contains("batch_indices"));
        assert!(error([0.0, 0.0, f32::MAX, 1.0], 0).contains("rois"));
        let op = RoiAlign { sampling_ratio: u64::MAX, ..RoiAlign::default() };
        assert!(refused(&op.into(), &[&ramp(), &tensor(&[0, 4], &[]), &indices(&[])]).contains("sampling_ratio"));
        let empty = tensor(&[1, 1, 0, 4], &[]);
        assert!(refused(&RoiAlign::default().into(), &[&empty, &tensor(&[0, 4], &[]), &indices(&[])]).contains("`x`"));
    }
}
