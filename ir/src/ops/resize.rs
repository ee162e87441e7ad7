//! `resize`: `x` sampled at other places along some axes.
//!
//! Along each resized axis, place `i` of the result maps to a place of `x` (see [`Coordinates`]), and the value there
//! is the nearest element, or is interpolated between its neighbors; beyond the ends the outermost element repeats.
//! Exactly one of `scales` and `sizes` is given, with one entry for each axis in `axes`.
//!
//! - `scales` (f32): factors; an axis of `n` elements gets `floor(n * scale)`, the product rounded to f32.
//! - `sizes` (i64): numbers of elements.
//! - `roi`: starts, then ends of the part of `x` to be sampled, as fractions of its length; read with
//!   [`Coordinates::TfCropAndResize`] only.
//!
//! Interpolated floats are computed in f32 (f64 for f64); integers in f64, rounded half to even and saturated.

mod places;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, one, only, optional, rules};
use super::{single, sizes_of};
use crate::attr::{AttrError, AttrVisitor, F32Bits, attr_enum};
use crate::dtype::DType;
use crate::kernels::resample::{gather, weighted};
use crate::tensor::{Number, Sizes, Tensor, with_lane};
use crate::types::{Dim, DimExpr, Shape, TensorType};
use crate::{with_float, with_number};
use places::AxisMap;

attr_enum! {
    /// What the value between elements is.
    pub enum Interpolation {
        /// The nearest element: see [`NearestMode`].
        #[default]
        Nearest = "nearest",
        /// Linear between the two neighbors along each axis.
        Linear = "linear",
        /// The cubic convolution of the four neighbors along each axis.
        Cubic = "cubic",
    }
}

attr_enum! {
    /// Which place `p` of the operand place `i` of the result maps to, along an axis of `n` elements of which the
    /// result has `m`.
    pub enum Coordinates {
        /// `p = (i + 0.5) / scale - 0.5`.
        #[default]
        HalfPixel = "half_pixel",
        /// As `half_pixel`, with the centers of both axes kept together when `m` is not `n * scale` exactly.
        HalfPixelSymmetric = "half_pixel_symmetric",
        /// As `half_pixel`, but 0 when `m` is 1.
        PytorchHalfPixel = "pytorch_half_pixel",
        /// `p = i * (n - 1) / (n * scale - 1)`.
        AlignCorners = "align_corners",
        /// `p = i / scale`.
        Asymmetric = "asymmetric",
        /// From the start to the end of the region of interest, both included; outside of `x` the extrapolation value.
        TfCropAndResize = "tf_crop_and_resize",
    }
}

attr_enum! {
    /// Which of its two neighbors a place is nearest to.
    pub enum NearestMode {
        /// The closer one, half-way the lower one.
        #[default]
        RoundPreferFloor = "round_prefer_floor",
        /// The closer one, half-way the upper one.
        RoundPreferCeil = "round_prefer_ceil",
        /// The lower one.
        Floor = "floor",
        /// The upper one.
        Ceil = "ceil",
    }
}

attr_enum! {
    /// What `sizes` means.
    pub enum AspectRatioPolicy {
        /// The sizes of the result.
        #[default]
        Stretch = "stretch",
        /// Bounds from above: the smallest factor that they give holds for all axes.
        NotLarger = "not_larger",
        /// Bounds from below: the largest factor that they give holds for all axes.
        NotSmaller = "not_smaller",
    }
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resize {
    /// How values between elements are found.
    pub mode: Interpolation,
    /// How places of the result map to places of `x`.
    pub coordinate_transformation_mode: Coordinates,
    /// Which element is nearest.
    pub nearest_mode: NearestMode,
    /// Whether, when an axis shrinks, interpolation widens so that every element counts.
    pub antialias: bool,
    /// The axes that are resized, in the order of the entries of `roi`, `scales` and `sizes`; empty means all.
    pub axes: Vec<i64>,
    /// The coefficient `a` of the cubic convolution.
    pub cubic_coeff_a: F32Bits,
    /// Whether places beyond the ends count nothing in an interpolation, instead of repeating the outermost element.
    pub exclude_outside: bool,
    /// The value outside of `x` with [`Coordinates::TfCropAndResize`].
    pub extrapolation_value: F32Bits,
    /// What `sizes` means.
    pub keep_aspect_ratio_policy: AspectRatioPolicy,
}

impl Default for Resize {
    fn default() -> Self {
        Self {
            mode: Interpolation::default(),
            coordinate_transformation_mode: Coordinates::default(),
            nearest_mode: NearestMode::default(),
            antialias: false,
            axes: Vec::new(),
            cubic_coeff_a: (-0.75).into(),
            exclude_outside: false,
            extrapolation_value: 0.0.into(),
            keep_aspect_ratio_policy: AspectRatioPolicy::default(),
        }
    }
}

const ROI: usize = 1;
const SCALES: usize = 2;
const SIZES: usize = 3;

impl OpDef for Resize {
    const NAME: &'static str = "resize";
    const OPERANDS: &'static [Operand] = &[one("x"), optional("roi"), optional("scales"), optional("sizes")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("mode", &mut self.mode)?;
        visitor.attr("coordinate_transformation_mode", &mut self.coordinate_transformation_mode)?;
        visitor.attr("nearest_mode", &mut self.nearest_mode)?;
        visitor.attr("antialias", &mut self.antialias)?;
        visitor.attr("axes", &mut self.axes)?;
        visitor.attr("cubic_coeff_a", &mut self.cubic_coeff_a)?;
        visitor.attr("exclude_outside", &mut self.exclude_outside)?;
        visitor.attr("extrapolation_value", &mut self.extrapolation_value)?;
        visitor.attr("keep_aspect_ratio_policy", &mut self.keep_aspect_ratio_policy)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        if self.mode != Interpolation::Nearest {
            rules::number(operands, 0)?;
        }
        let axes = self.resized_axes(x.rank())?;
        self.check_region(operands, axes.len())?;
        let counts = match (operands.has(SCALES), operands.has(SIZES)) {
            (true, false) => scaled_counts(operands, &axes)?,
            (false, true) => self.given_counts(operands, &axes)?,
            _ => return Err(operands.mismatch(SCALES, "exactly one of `scales` and `sizes`")),
        };
        let mut shape = x.shape.clone();
        for (axis, count) in axes.iter().zip(counts) {
            if shape[*axis] == Dim::Known(0) && count.known().is_some_and(|count| count > 0) {
                return Err(operands.mismatch(0, format!("elements along axis {axis}, which is resized")));
            }
            shape.0[*axis] = count;
        }
        Ok(single(x.dtype, shape))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let ty = &types[0];
        let sizes = sizes_of(ty)?;
        if sizes.contains(&0) {
            // The other axes may be of any length, as nothing is there to hold them to the memory there is.
            return Ok(only(Tensor::zeros(ty.dtype, &sizes)?));
        }
        let maps = self.maps(operands, &sizes)?;
        let x = operands.tensor(0)?;
        Ok(only(match (self.mode, ty.dtype) {
            (Interpolation::Nearest, _) => self.nearest(x, &maps)?,
            (_, dtype) if dtype.is_float() => with_float!(dtype, T => {
                let (values, sizes) = self.interpolate::<T>(&x.to_compute::<T>()?, x.sizes(), &maps);
                Tensor::from_compute(dtype, &sizes, values)?
            }),
            (_, dtype) => {
                let (values, sizes) = self.interpolate::<f64>(&x.to_f64()?, x.sizes(), &maps);
                from_rounded(dtype, &sizes, &values)?
            }
        }))
    }
}

impl Resize {
    fn resized_axes(&self, rank: usize) -> Result<Sizes, InferError> {
        if self.axes.is_empty() { Ok((0..rank).collect()) } else { rules::axes("axes", &self.axes, rank) }
    }

    fn check_region(&self, operands: &Operands<'_>, axes: usize) -> Result<(), InferError> {
        if self.coordinate_transformation_mode != Coordinates::TfCropAndResize {
            return Ok(());
        }
        operands.float(ROI)?;
        check_length(operands, ROI, 2 * axes)
    }

    /// The sizes along `axes` that `sizes` asks for.
    fn given_counts(&self, operands: &Operands<'_>, axes: &[usize]) -> Result<Vec<Dim>, InferError> {
        operands.one_of(SIZES, &[DType::I64])?;
        check_length(operands, SIZES, axes.len())?;
        if self.keep_aspect_ratio_policy == AspectRatioPolicy::Stretch {
            let Some(sizes) = operands.symbolic(SIZES) else {
                return Ok(axes.iter().map(|_| operands.fresh()).collect());
            };
            return sizes.elements.into_iter().map(|size| operands.dim(SIZES, Some(size))).collect();
        }
        let shape = &operands.ty(0)?.shape;
        let lengths: Option<Vec<u64>> = axes.iter().map(|axis| shape[*axis].known()).collect();
        let (Some(lengths), Some(sizes)) = (lengths, operands.integers(SIZES)) else {
            return Ok(axes.iter().map(|_| operands.fresh()).collect());
        };
        if lengths.contains(&0) || sizes.iter().any(|size| *size < 0) {
            return Err(operands.mismatch(SIZES, "sizes that are not negative, of axes with elements"));
        }
        let scale = self.common_scale(&lengths, &sizes);
        // Halves are rounded up.
        Ok(lengths.iter().map(|length| Dim::Known((scale * *length as f64 + 0.5) as u64)).collect())
    }

    /// The factor for all axes.
    fn common_scale(&self, lengths: &[u64], sizes: &[i64]) -> f64 {
        let scales = lengths.iter().zip(sizes).map(|(length, size)| *size as f64 / *length as f64);
        match self.keep_aspect_ratio_policy {
            AspectRatioPolicy::NotSmaller => scales.fold(0.0, f64::max),
            _ => scales.fold(f64::INFINITY, f64::min),
        }
    }

    /// How each axis that changes is resized. The ones that shrink most come first, so that what is in between is no
    /// larger than the operand or the result; ties go to the inner axis, where elements are fewer.
    fn maps(&self, operands: &Inputs<'_>, result: &[usize]) -> Result<Vec<AxisMap>, EvalError> {
        let x = operands.tensor(0)?;
        let axes = self.resized_axes(x.rank())?;
        let scales: Vec<f64> = match (operands.optional(SCALES), operands.optional(SIZES)) {
            (Some(scales), _) => scales.to_f64()?,
            (None, Some(sizes)) if self.keep_aspect_ratio_policy != AspectRatioPolicy::Stretch => {
                let lengths: Vec<u64> = axes.iter().map(|axis| x.sizes()[*axis] as u64).collect();
                vec![self.common_scale(&lengths, &sizes.to_i64()?); axes.len()]
            }
            _ => axes.iter().map(|axis| result[*axis] as f64 / x.sizes()[*axis] as f64).collect(),
        };
        let crops = self.coordinate_transformation_mode == Coordinates::TfCropAndResize;
        let region = operands.optional(ROI).filter(|_| crops).map(Tensor::to_f64).transpose()?;
        let map = |(entry, (axis, scale)): (usize, (&usize, &f64))| AxisMap {
            axis: *axis,
            length: x.sizes()[*axis],
            count: result[*axis],
            scale: *scale,
            region: region.as_ref().map_or([0.0, 1.0], |roi| [roi[entry], roi[axes.len() + entry]]),
        };
        let maps = axes.iter().zip(&scales).enumerate().map(map);
        let mut maps: Vec<AxisMap> = maps.filter(|map| !map.is_identity()).collect();
        maps.sort_by(|a, b| a.growth().total_cmp(&b.growth()).then(b.axis.cmp(&a.axis)));
        Ok(maps)
    }

    fn nearest(&self, x: &Tensor, maps: &[AxisMap]) -> Result<Tensor, EvalError> {
        if maps.is_empty() {
            return Ok(x.clone());
        }
        let fill = f64::from(self.extrapolation_value.get());
        let fill = with_number!(x.dtype(), T => Tensor::from_compute(x.dtype(), &[], vec![T::from_f64(fill)])?);
        with_lane!(x.dtype(), L => {
            let (mut values, mut sizes) = (x.lanes::<L>(), Sizes::from_slice(x.sizes()));
            for map in maps {
                let places = map.nearest(self.coordinate_transformation_mode, self.nearest_mode);
                values = gather(&values, around(&sizes, map.axis), &places).into();
                sizes[map.axis] = map.count;
            }
            let mut values = values.into_owned();
            self.fill_outside(&mut values, &sizes, maps, fill.lanes::<L>()[0]);
            Ok(Tensor::from_lanes(x.dtype(), &sizes, values)?)
        })
    }

    fn interpolate<T: Number>(&self, x: &[T], sizes: &[usize], maps: &[AxisMap]) -> (Vec<T>, Sizes) {
        let (mut values, mut sizes) = (std::borrow::Cow::Borrowed(x), Sizes::from_slice(sizes));
        for map in maps {
            let taps = map.taps(self);
            values = weighted(&values, around(&sizes, map.axis), &taps).into();
            sizes[map.axis] = map.count;
        }
        let mut values = values.into_owned();
        let fill = T::from_f64(f64::from(self.extrapolation_value.get()));
        self.fill_outside(&mut values, &sizes, maps, fill);
        (values, sizes)
    }

    /// Writes the extrapolation value where a place lies outside of the operand along any axis.
    fn fill_outside<T: Copy>(&self, values: &mut [T], sizes: &[usize], maps: &[AxisMap], fill: T) {
        if self.coordinate_transformation_mode != Coordinates::TfCropAndResize {
            return;
        }
        for map in maps {
            let [outer, count, inner] = around(sizes, map.axis);
            let outside: Vec<bool> = (0..count).map(|place| map.is_outside(place)).collect();
            for row in 0..outer * count {
                if outside[row % count] {
                    values[row * inner..][..inner].fill(fill);
                }
            }
        }
    }
}

/// The sizes along `axes` that `scales` asks for.
fn scaled_counts(operands: &Operands<'_>, axes: &[usize]) -> Result<Vec<Dim>, InferError> {
    operands.one_of(SCALES, &[DType::F32])?;
    check_length(operands, SCALES, axes.len())?;
    let shape: &Shape = &operands.ty(0)?.shape;
    let Some(scales) = operands.constant(SCALES).and_then(|scales| scales.to_f32().ok()) else {
        return Ok(axes.iter().map(|_| operands.fresh()).collect());
    };
    let count = |(axis, scale): (&usize, &f32)| match &shape[*axis] {
        _ if !(scale.is_finite() && *scale > 0.0) => {
            Err(operands.mismatch(SCALES, format!("positive numbers, got {scale}")))
        }
        // The product in f32 is what runtimes compute: 0.7 of 10 elements are 7.
        Dim::Known(length) => Ok(Dim::Known((*length as f32 * scale).floor() as u64)),
        dim if scale.fract() == 0.0 => {
            let product = dim.expr().mul(&DimExpr::constant(*scale as i64));
            operands.dim(SCALES, product)
        }
        _ => Ok(operands.fresh()),
    };
    axes.iter().zip(scales.iter()).map(count).collect()
}

/// Checks that the operand at `index` is a vector of `length` elements.
fn check_length(operands: &Operands<'_>, index: usize, length: usize) -> Result<(), InferError> {
    let found = operands.ranked(index, 1)?.shape[0].known();
    if found == Some(length as u64) {
        return Ok(());
    }
    Err(operands.mismatch(index, format!("a vector of {length} elements, one for each resized axis")))
}

/// `sizes` as `[outer, length, inner]` around `axis`.
fn around(sizes: &[usize], axis: usize) -> [usize; 3] {
    [sizes[..axis].iter().product(), sizes[axis], sizes[axis + 1..].iter().product()]
}

/// Integers from computed numbers: rounded half to even, saturated.
fn from_rounded(dtype: DType, sizes: &[usize], values: &[f64]) -> Result<Tensor, EvalError> {
    let (low, high) = dtype.integer_range().unwrap_or((0, 1));
    let clamp = |value: &f64| value.round_ties_even().clamp(low as f64, high as f64);
    Ok(with_number!(dtype, T => {
        Tensor::from_compute(dtype, sizes, values.iter().map(|value| T::from_f64(clamp(value))).collect())?
    }))
}

#[cfg(test)]
mod tests;
