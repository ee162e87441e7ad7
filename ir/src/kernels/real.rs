//! Exponential functions for elements computed in `f32` and `f64`.
//!
//! Everything is evaluated in `f64` and rounded once. For `f32` elements the functions here need only a few bits more
//! than `f32` holds, so they are short polynomials without branches, which compilers turn into vector code. They use
//! nothing but exactly specified operations, so results are the same on every machine; the same is true of `libm`,
//! which serves `f64` elements and all functions that are rarely hot.

#![expect(clippy::inline_always, reason = "a loop becomes vector code only when the whole formula is in it")]

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E};
use std::hint::select_unpredictable as select;

use crate::tensor::Number;

/// A type in which floating-point elements are computed, with functions just precise enough for it.
///
/// Arguments and results are `f64` so that formulas made of several functions round only once, at their end.
pub(crate) trait Real: Number {
    /// `e^x`.
    fn exp_of(x: f64) -> f64;
    /// `e^x - 1`, without cancellation.
    fn exp_m1_of(x: f64) -> f64;
    /// Hyperbolic tangent.
    fn tanh_of(x: f64) -> f64;
    /// The error function.
    fn erf_of(x: f64) -> f64;
    /// `1 - erf(x)`, without cancellation.
    fn erfc_of(x: f64) -> f64;

    /// `1 / (1 + e^-x)`.
    #[inline(always)]
    fn sigmoid_of(x: f64) -> f64 {
        1.0 / (1.0 + Self::exp_of(-x))
    }
}

impl Real for f32 {
    #[inline(always)]
    fn exp_of(x: f64) -> f64 {
        short_exp(x)
    }
    #[inline(always)]
    fn exp_m1_of(x: f64) -> f64 {
        short_exp_m1(x)
    }
    #[inline(always)]
    fn tanh_of(x: f64) -> f64 {
        short_tanh(x)
    }
    #[inline(always)]
    fn erf_of(x: f64) -> f64 {
        short_erf(x)
    }
    #[inline(always)]
    fn erfc_of(x: f64) -> f64 {
        short_erfc(x)
    }
}

impl Real for f64 {
    fn exp_of(x: f64) -> f64 {
        libm::exp(x)
    }
    fn exp_m1_of(x: f64) -> f64 {
        libm::expm1(x)
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

/// Adding and subtracting this rounds to an integer, which the sum then holds in its low bits.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// Taylor coefficients of `(e^r - 1) / r` from degree 8 down to 0.
const EXP_COEFFICIENTS: [f64; 9] = [
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    1.0 / 2.0,
    1.0,
];

/// Taylor coefficients of `erf(x) / x` by powers of `x^2`, from degree 4 down to 0, up to the factor `2 / sqrt(pi)`.
const ERF_COEFFICIENTS: [f64; 5] = [1.0 / 216.0, -1.0 / 42.0, 1.0 / 10.0, -1.0 / 3.0, 1.0];

/// What the interpolation of `erfc` is centered at.
const ERFC_CENTER: f64 = 3.0;

/// Coefficients of `(1 + 2 z) e^(z^2) erfc(z)` by powers of `(z - 3) / (z + 3)`, from degree 13 down to 0: the polynomial
/// that agrees with it in the Chebyshev nodes. Its relative error is below 2^-32.
#[expect(clippy::unreadable_literal, reason = "digits of fitted numbers are not read")]
const ERFC_COEFFICIENTS: [f64; 14] = [
    -1.148164096776e-5,
    3.858829424124e-6,
    1.146299553462e-4,
    -1.041215482149e-4,
    -7.731099367305e-4,
    1.888102403353e-3,
    2.527115519158e-3,
    -2.377032915219e-2,
    6.830839969331e-2,
    -1.192736926459e-1,
    1.296451356484e-1,
    -4.756229257841e-2,
    -1.356211058898e-1,
    1.253008058252,
];

/// The polynomial with these coefficients, highest degree first.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: [f64; N], x: f64) -> f64 {
    coefficients.into_iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// `2^n` and `e^r - 1`, where `n` is the integer nearest to `x / ln 2` and `r = x - n ln 2`, which is at most `ln 2 / 2`
/// in magnitude: `e^x = 2^n e^r`. For `x` from -709.2 to 709.8; at these ends `2^n` is zero and infinity.
#[inline(always)]
fn split_exp(x: f64) -> (f64, f64) {
    let shifted = x * LOG2_E + ROUNDING;
    let r = x - (shifted - ROUNDING) * LN_2;
    // The exponent field of 2^n is n + 1023; what lies above the low 12 bits of the sum is shifted out. A NaN gives any
    // power, but is kept by the polynomial.
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    (power, r * polynomial(EXP_COEFFICIENTS, r))
}

/// `e^x` with a relative error below 2^-32 within `[-708, 709]`, 0 and infinity beyond: `f32` ends at 104 already.
#[inline(always)]
fn short_exp(x: f64) -> f64 {
    let (power, rest) = split_exp(x.clamp(-709.2, 709.8));
    power * (1.0 + rest)
}

/// `e^x - 1` with a relative error below 2^-32, up to `x = 700`, beyond which it stays the same.
#[inline(always)]
fn short_exp_m1(x: f64) -> f64 {
    let (power, rest) = split_exp(x.clamp(-50.0, 700.0));
    // For small `x` the power is 1, and only the small part is left. A sum of zeros loses its sign.
    (power * rest + (power - 1.0)).copysign(x)
}

/// `tanh x` with a relative error below 2^-30.
#[inline(always)]
fn short_tanh(x: f64) -> f64 {
    let above_one = short_exp_m1(2.0 * x.clamp(-50.0, 50.0));
    above_one / (above_one + 2.0)
}

/// `1 - erf(x)` with a relative error below 2^-31, where it is not below 10^-300.
#[inline(always)]
fn short_erfc(x: f64) -> f64 {
    let right = right_erfc(x.abs());
    select(x < 0.0, 2.0 - right, right)
}

/// `erf x` with a relative error below 2^-29.
#[inline(always)]
fn short_erf(x: f64) -> f64 {
    let large = (1.0 - right_erfc(x.abs())).copysign(x);
    // Near zero the difference cancels; there the Taylor series is short.
    let small = FRAC_2_SQRT_PI * x * polynomial(ERF_COEFFICIENTS, x * x);
    select(x.abs() < 0.25, small, large)
}

/// [`short_erfc`] of numbers that are not negative.
#[inline(always)]
fn right_erfc(x: f64) -> f64 {
    // Infinity over infinity would be no number.
    let x = x.clamp(0.0, 1e3);
    let scaled = polynomial(ERFC_COEFFICIENTS, (x - ERFC_CENTER) / (x + ERFC_CENTER));
    scaled / (1.0 + 2.0 * x) * short_exp(-x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Function = fn(f64) -> f64;

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
        let functions: [(&str, Function, Function); 6] = [
            ("exp", f32::exp_of, libm::exp),
            ("exp_m1", f32::exp_m1_of, libm::expm1),
            ("tanh", f32::tanh_of, libm::tanh),
            ("erf", f32::erf_of, libm::erf),
            ("erfc", f32::erfc_of, libm::erfc),
            ("sigmoid", f32::sigmoid_of, f64::sigmoid_of),
        ];
        for (name, short, exact) in functions {
            for x in samples() {
                assert!(close(short(x), exact(x)), "{name} {x:e}: {:e}, not {:e}", short(x), exact(x));
            }
        }
    }

    #[test]
    fn relative_errors_are_as_stated() {
        let error = |short: Function, exact: Function, x: f64| (short(x) / exact(x) - 1.0).abs().log2();
        for step in -70_800..=70_900 {
            let x = f64::from(step) / 100.0;
            assert!(error(short_exp, libm::exp, x) < -32.0, "exp {x}");
            let x = x / 27.0;
            assert!(error(short_erfc, libm::erfc, x) < -31.0, "erfc {x}");
            if step != 0 {
                assert!(error(short_exp_m1, libm::expm1, x) < -32.0, "exp_m1 {x}");
                assert!(error(short_tanh, libm::tanh, x) < -30.0, "tanh {x}");
                assert!(error(short_erf, libm::erf, x) < -29.0, "erf {x}");
            }
        }
    }
}
