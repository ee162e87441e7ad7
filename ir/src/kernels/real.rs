//! Exponential functions for elements computed in `f32` and `f64`.
//!
//! Everything is evaluated in `f64` and rounded once. For `f32` elements the functions here need only a few bits more
//! than `f32` holds, so they are short polynomials without branches, which compilers turn into vector code. They use
//! nothing but exactly specified operations, so results are the same on every machine; the same is true of `libm`,
//! which serves `f64` elements and all functions that are rarely hot.

use std::f64::consts::{LN_2, LOG2_E};

use crate::tensor::Number;

/// A type in which floating-point elements are computed, with functions just precise enough for it.
///
/// Arguments and results are `f64` so that formulas made of several functions round only once, at their end.
pub(crate) trait Real: Number {
    /// `e^x`.
    fn exp_of(x: f64) -> f64;
    /// Hyperbolic tangent.
    fn tanh_of(x: f64) -> f64;
    /// The error function.
    fn erf_of(x: f64) -> f64;
    /// `1 - erf(x)`, without cancellation.
    fn erfc_of(x: f64) -> f64;

    /// `1 / (1 + e^-x)`.
    fn sigmoid_of(x: f64) -> f64 {
        1.0 / (1.0 + Self::exp_of(-x))
    }
}

impl Real for f32 {
    fn exp_of(x: f64) -> f64 {
        short_exp(x)
    }
    fn tanh_of(x: f64) -> f64 {
        short_tanh(x)
    }
    fn erf_of(x: f64) -> f64 {
        f64::from(libm::erff(x as f32))
    }
    fn erfc_of(x: f64) -> f64 {
        libm::erfc(x)
    }
}

impl Real for f64 {
    fn exp_of(x: f64) -> f64 {
        libm::exp(x)
    }
    fn tanh_of(x: f64) -> f64 {
        libm::tanh(x)
    }
    fn erf_of(x: f64) -> f64 {
        libm::erf(x)
    }
    fn erfc_of(x: f64) -> f64 {
        libm::erfc(x)
    }
}

/// Taylor coefficients of `e^x` from degree 8 down to 0.
const EXP_COEFFICIENTS: [f64; 9] =
    [1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// Adding and subtracting this rounds to an integer, which the sum then holds in its low bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// `e^x` with a relative error below 2^-31 within `[-708, 709]`, 0 and infinity beyond: `f32` ends at 104 already.
///
/// With `n` the integer nearest to `x / ln 2` it is `2^n e^r`, where `r` is at most `ln 2 / 2` in magnitude and the
/// series needs nine terms.
fn short_exp(x: f64) -> f64 {
    // At the ends `n` is -1023 and 1024, whose exponent fields stand for zero and infinity.
    let x = x.clamp(-709.2, 709.8);
    let shifted = x * LOG2_E + ROUNDING;
    let r = x - (shifted - ROUNDING) * LN_2;
    let mut series = 0.0;
    for coefficient in EXP_COEFFICIENTS {
        series = series * r + coefficient;
    }
    // The exponent field of 2^n is n + 1023; what lies above the low 12 bits of the sum is shifted out. A NaN gives any
    // power, but passes through the series.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    series * power
}

/// `tanh x` with a relative error below 2^-28.
fn short_tanh(x: f64) -> f64 {
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (short_exp(2.0 * magnitude) + 1.0);
    // Near zero the difference cancels; there the Taylor series is short.
    let square = x * x;
    let small = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    if magnitude < 0.1 { small } else { large.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 9,973rd `f32`, infinities and NaN among them.
    fn samples() -> impl Iterator<Item = f64> {
        let sampled = (0..=u32::MAX).step_by(9973).map(|bits| f64::from(f32::from_bits(bits)));
        sampled.chain([f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0])
    }

    /// Whether two results are the same `f32` or neighbors.
    fn close(found: f64, expected: f64) -> bool {
        let (found, expected) = (found as f32, expected as f32);
        (found.is_nan() && expected.is_nan())
            || (found.is_sign_negative() == expected.is_sign_negative()
                && found.to_bits().abs_diff(expected.to_bits()) <= 1)
    }

    #[test]
    fn short_functions_are_within_one_unit_in_the_last_place() {
        for x in samples() {
            assert!(close(f32::exp_of(x), libm::exp(x)), "exp {x:e}: {:e}", f32::exp_of(x));
            assert!(close(f32::tanh_of(x), libm::tanh(x)), "tanh {x:e}: {:e}", f32::tanh_of(x));
            assert!(close(f32::sigmoid_of(x), f64::sigmoid_of(x)), "sigmoid {x:e}: {:e}", f32::sigmoid_of(x));
        }
    }

    #[test]
    fn relative_errors_are_as_stated() {
        for step in -70_800..=70_900 {
            let x = f64::from(step) / 100.0;
            assert!((short_exp(x) / libm::exp(x) - 1.0).abs() < 2f64.powi(-31), "{x}");
            if step != 0 {
                let x = x / 50.0;
                assert!((short_tanh(x) / libm::tanh(x) - 1.0).abs() < 2f64.powi(-28), "{x}");
            }
        }
    }
}
