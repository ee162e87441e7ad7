//! How far two tensors are apart.
//!
//! Truth values count as 0 and 1, integers are subtracted exactly. A NaN equals a NaN, an infinity equals itself; any
//! other pair with a NaN or an infinity is infinitely far apart.

use crate::dtype::DType;
use crate::tensor::{Number, Tensor, TensorError};

/// How far an element may be off: by `atol + rtol * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// The part that grows with the expected element.
    pub rtol: f64,
    /// The part that does not.
    pub atol: f64,
}

/// What a comparison of two tensors of the same type found.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Number of elements.
    pub elements: usize,
    /// How many are further apart than the tolerance allows.
    pub outside: usize,
    /// The first that is.
    pub first_outside: Option<Pair>,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Largest difference relative to the expected element, among those that are not zero.
    pub max_rel: f64,
    /// Peak signal-to-noise ratio in dB: the spread of the expected elements over the root of the mean squared
    /// difference. Infinite for equal tensors.
    pub psnr: f64,
    /// Signal-to-quantization-noise ratio in dB: the power of the expected elements over the power of the difference.
    /// Infinite for equal tensors.
    pub sqnr: f64,
    /// Cosine of the angle between the tensors as vectors: 1 when they point the same way, or are both zero.
    pub cosine: f64,
}

/// Two elements at the same place.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The place, outermost axis first.
    pub index: Vec<usize>,
    /// The element of the tensor that is judged.
    pub found: f64,
    /// The element of the tensor that it is compared with.
    pub expected: f64,
}

/// Two tensors cannot be compared element by element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// The element types or the sizes differ.
    #[error("found {found}, expected {expected}")]
    Type {
        /// Type of the tensor that is judged.
        found: String,
        /// Type of the tensor that it is compared with.
        expected: String,
    },
    /// The elements could not be read.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Difference {
    /// Compares `found` with `expected`, which must have the same element type and sizes.
    pub fn between(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<Self, CompareError> {
        if found.dtype() != expected.dtype() || found.sizes() != expected.sizes() {
            return Err(CompareError::of_types(found, expected));
        }
        crate::with_number!(found.dtype(), T => {
            let (found_elements, elements) = (found.to_compute::<T>()?, expected.to_compute::<T>()?);
            let mut sums = Sums::default();
            for (index, (a, b)) in found_elements.iter().zip(elements.iter()).enumerate() {
                sums.add(index, a.to_f64(), b.to_f64(), distance(*a, *b), tolerance);
            }
            Ok(sums.finish(expected.sizes()))
        })
    }

    /// Compares the numbers of `found` and `expected`, whose element types may differ: both are taken as doubles.
    pub fn between_values(
        found: &Tensor,
        expected: &Tensor,
        tolerance: Tolerance,
    ) -> Result<Self, CompareError> {
        if found.dtype() == expected.dtype() {
            return Self::between(found, expected, tolerance);
        }
        if found.sizes() != expected.sizes() {
            return Err(CompareError::of_types(found, expected));
        }
        let mut sums = Sums::default();
        for (index, (a, b)) in found.to_f64()?.into_iter().zip(expected.to_f64()?).enumerate() {
            sums.add(index, a, b, distance(a, b), tolerance);
        }
        Ok(sums.finish(expected.sizes()))
    }

    /// Whether every element is within the tolerance.
    pub fn holds(&self) -> bool {
        self.outside == 0
    }
}

impl CompareError {
    fn of_types(found: &Tensor, expected: &Tensor) -> Self {
        Self::Type { found: found.ty().to_string(), expected: expected.ty().to_string() }
    }
}

/// The absolute difference of two elements.
fn distance<T: Number>(found: T, expected: T) -> f64 {
    if T::IS_FLOAT {
        let (found, expected) = (found.to_f64(), expected.to_f64());
        if found == expected || (found.is_nan() && expected.is_nan()) {
            return 0.0;
        }
        let distance = (found - expected).abs();
        return if distance.is_nan() { f64::INFINITY } else { distance };
    }
    (exact(found) - exact(expected)).abs() as f64
}

/// An integer element without rounding.
fn exact<T: Number>(value: T) -> i128 {
    let value = value.to_i64();
    if T::DTYPE == DType::U64 { i128::from(value.cast_unsigned()) } else { i128::from(value) }
}

/// What has been seen of the elements so far. Sums are over pairs of finite elements.
struct Sums {
    elements: usize,
    outside: usize,
    first_outside: Option<(usize, f64, f64)>,
    max_abs: f64,
    max_rel: f64,
    lowest: f64,
    highest: f64,
    found_power: f64,
    expected_power: f64,
    product: f64,
    noise_power: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            elements: 0,
            outside: 0,
            first_outside: None,
            max_abs: 0.0,
            max_rel: 0.0,
            lowest: f64::INFINITY,
            highest: f64::NEG_INFINITY,
            found_power: 0.0,
            expected_power: 0.0,
            product: 0.0,
            noise_power: 0.0,
        }
    }
}

impl Sums {
    fn add(&mut self, index: usize, found: f64, expected: f64, distance: f64, tolerance: Tolerance) {
        self.elements += 1;
        self.max_abs = self.max_abs.max(distance);
        if expected != 0.0 && !expected.is_nan() && distance > 0.0 {
            let relative = distance / expected.abs();
            // Infinity over infinity: the elements have nothing in common.
            self.max_rel = self.max_rel.max(if relative.is_nan() { f64::INFINITY } else { relative });
        }
        // An infinite bound must not excuse an infinite distance.
        let within = distance == 0.0
            || (distance.is_finite() && distance <= tolerance.atol + tolerance.rtol * expected.abs());
        if !within {
            self.outside += 1;
            self.first_outside.get_or_insert((index, found, expected));
        }
        if distance.is_infinite() {
            self.noise_power = f64::INFINITY;
        } else if found.is_finite() {
            self.lowest = self.lowest.min(expected);
            self.highest = self.highest.max(expected);
            self.found_power += found * found;
            self.expected_power += expected * expected;
            self.product += found * expected;
            self.noise_power += distance * distance;
        }
    }

    fn finish(self, sizes: &[usize]) -> Difference {
        let spread = self.highest - self.lowest;
        // Elements that are all the same have no spread; their magnitude stands in for it.
        let peak = if spread > 0.0 { spread } else { self.highest.abs() };
        let mean_noise = self.noise_power / self.elements.max(1) as f64;
        let lengths = (self.found_power * self.expected_power).sqrt();
        let both_zero = self.found_power == 0.0 && self.expected_power == 0.0;
        Difference {
            elements: self.elements,
            outside: self.outside,
            first_outside: self.first_outside.map(|(index, found, expected)| Pair {
                index: place(index, sizes),
                found,
                expected,
            }),
            max_abs: self.max_abs,
            max_rel: self.max_rel,
            psnr: decibels(peak * peak, mean_noise),
            sqnr: decibels(self.expected_power, self.noise_power),
            cosine: match lengths {
                _ if self.noise_power.is_infinite() => 0.0,
                _ if both_zero => 1.0,
                0.0 => 0.0,
                lengths => (self.product / lengths).clamp(-1.0, 1.0),
            },
        }
    }
}

/// A ratio of powers in dB.
fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// The place of element number `index` in a tensor of `sizes`.
fn place(index: usize, sizes: &[usize]) -> Vec<usize> {
    let mut left = index;
    let mut place: Vec<usize> = sizes
        .iter()
        .rev()
        .map(|size| {
            let size = (*size).max(1);
            let at = left % size;
            left /= size;
            at
        })
        .collect();
    place.reverse();
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Tolerance = Tolerance { rtol: 0.0, atol: 0.0 };

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector")
    }

    fn between(found: &[f32], expected: &[f32], tolerance: Tolerance) -> Difference {
        Difference::between(&floats(found), &floats(expected), tolerance).expect("the same type")
    }

    #[test]
    fn equal_tensors_differ_by_nothing() {
        let values = [1.0, -2.0, f32::NAN, f32::INFINITY, 0.0];
        let difference = between(&values, &values, STRICT);
        assert!(difference.holds());
        assert_eq!((difference.max_abs, difference.max_rel), (0.0, 0.0));
        assert_eq!((difference.psnr, difference.sqnr), (f64::INFINITY, f64::INFINITY));
        assert!((difference.cosine - 1.0).abs() < 1e-12, "{difference:?}");
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        let difference =
            between(&[1.0, 2.5, 0.0, -4.0], &[1.0, 2.0, 0.0, -4.0], Tolerance { rtol: 0.1, atol: 0.1 });
        assert_eq!((difference.max_abs, difference.max_rel), (0.5, 0.25));
        // Spread 6, mean squared difference 1/16; powers 21 and 1/4.
        assert!((difference.psnr - 10.0 * (36.0f64 * 16.0).log10()).abs() < 1e-9, "{difference:?}");
        assert!((difference.sqnr - 10.0 * (21.0f64 * 4.0).log10()).abs() < 1e-9, "{difference:?}");
        assert!((difference.cosine - 22.0 / (23.25f64 * 21.0).sqrt()).abs() < 1e-12, "{difference:?}");
        assert_eq!(difference.outside, 1);
        let first = difference.first_outside.expect("one is outside");
        assert_eq!((first.index, first.found, first.expected), (vec![1], 2.5, 2.0));
    }

    #[test]
    fn the_tolerance_is_inclusive_and_relative_to_what_is_expected() {
        let exact = Tolerance { rtol: 0.5, atol: 0.0 };
        assert!(between(&[3.0], &[2.0], exact).holds());
        assert!(!between(&[3.5], &[2.0], exact).holds());
        assert!(between(&[0.5], &[0.0], Tolerance { rtol: 0.0, atol: 0.5 }).holds());
    }

    #[test]
    fn what_is_no_number_equals_only_itself() {
        let generous = Tolerance { rtol: 1.0, atol: 1e30 };
        for (found, expected) in [
            (f32::NAN, 1.0),
            (1.0, f32::NAN),
            (f32::INFINITY, 1.0),
            (1.0, f32::INFINITY),
            (f32::INFINITY, f32::NEG_INFINITY),
        ] {
            let difference = between(&[found, 1.0], &[expected, 1.0], generous);
            assert_eq!(difference.outside, 1, "{found} against {expected}");
            assert_eq!(difference.max_abs, f64::INFINITY);
            assert_eq!((difference.sqnr, difference.cosine), (f64::NEG_INFINITY, 0.0));
        }
    }

    #[test]
    fn integers_are_exact_beyond_the_range_of_doubles() {
        let tensor = |value: u64| Tensor::from_vec(&[1], vec![value]).expect("one element");
        let difference = Difference::between(&tensor(u64::MAX), &tensor(u64::MAX - 1), STRICT);
        assert_eq!(difference.expect("the same type").max_abs, 1.0);
        let difference = Difference::between(&tensor(0), &tensor(u64::MAX), STRICT);
        assert_eq!(difference.expect("the same type").max_abs, u64::MAX as f64);
    }

    #[test]
    fn types_must_be_the_same() {
        let wide = Tensor::from_vec(&[2], vec![1.0f64, 2.0]).expect("a vector");
        let error = Difference::between(&floats(&[1.0, 2.0]), &wide, STRICT).expect_err("another type");
        assert_eq!(error.to_string(), "found f32[2], expected f64[2]");
        let column = floats(&[1.0, 2.0]).reshaped(&[2, 1]).expect("two elements");
        let error = Difference::between(&column, &floats(&[1.0, 2.0]), STRICT).expect_err("other sizes");
        assert_eq!(error.to_string(), "found f32[2, 1], expected f32[2]");
        let values = Difference::between_values(&floats(&[1.0, 2.5]), &wide, STRICT).expect("the same sizes");
        assert_eq!((values.outside, values.max_abs), (1, 0.5));
        assert!(Difference::between_values(&column, &wide, STRICT).is_err(), "other sizes");
    }

    #[test]
    fn places_count_along_every_axis() {
        assert_eq!(place(0, &[]), Vec::<usize>::new());
        assert_eq!(place(5, &[2, 3]), [1, 2]);
        assert_eq!(place(23, &[2, 3, 4]), [1, 2, 3]);
    }
}
