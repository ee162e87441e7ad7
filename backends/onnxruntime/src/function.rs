//! Functions of one number, by the runtime's polynomials.
//!
//! Coefficients are those of `mlas/lib/logistic.cpp`, `compute.cpp`, `erf.cpp` and `intrinsics/avx512/gelu_avx512f.cpp`.

/// `1.5 * 2^23`: adding it rounds to an integer.
const ROUNDING: f32 = 12_582_912.0;
/// `log(2)` with few digits, negated, and the rest.
const LOG_2: [f32; 2] = [-6.931_457_5e-1, -1.428_606_8e-6];

/// The polynomial with these coefficients, the highest power first, at `x`.
fn polynomial<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    coefficients.into_iter().reduce(|sum, coefficient| sum.mul_add(x, coefficient)).unwrap_or_default()
}

/// `e^x` by `coefficients`, for an `x` that does not overflow.
fn exponential<const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let power = x.mul_add(std::f32::consts::LOG2_E, ROUNDING) - ROUNDING;
    let rest = power.mul_add(LOG_2[1], power.mul_add(LOG_2[0], x));
    // Of the product only the last rounding is one: results may be smaller than normal numbers.
    (f64::from(polynomial(coefficients, rest)) * f64::from(power).exp2()) as f32
}

/// `e^x` for an `x` of at most 0, as softmax has it.
pub(crate) fn exponential_of_difference(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 7] = [
        f32::from_bits(0x3ab4_a000),
        f32::from_bits(0x3c09_2f6e),
        f32::from_bits(0x3d2a_adad),
        f32::from_bits(0x3e2a_aa28),
        f32::from_bits(0x3eff_fffb),
        1.0,
        1.0,
    ];
    exponential(COEFFICIENTS, x.max(-103.972_084))
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f32) -> f32 {
    const ABOVE: [f32; 5] = [4.370_31e-11, 1.156_273_2e-7, 6.085_749e-5, 8.513_771e-3, 2.482_879_5e-1];
    const BELOW: [f32; 6] =
        [6.102_473_7e-13, 5.761_021_4e-9, 6.291_068e-6, 1.701_988_2e-3, 1.168_176_5e-1, 9.931_519e-1];
    let x = x.clamp(-18.0, 18.0);
    let square = x * x;
    let ratio = polynomial(ABOVE, square) * x / polynomial(BELOW, square);
    (ratio + 0.5).max(0.0)
}

/// The error function.
fn error_function(x: f32) -> f32 {
    const NEAR: [f32; 6] =
        [-5.991_049_7e-4, 4.993_396e-3, -2.676_673_4e-2, 1.128_180_25e-1, -3.761_248_6e-1, 1.283_791_5e-1];
    const FAR: [f32; 7] = [
        1.729_489_3e-5,
        -3.832_086_8e-4,
        3.883_934_3e-3,
        -2.425_456e-2,
        1.067_778_5e-1,
        6.348_467e-1,
        1.287_175_1e-1,
    ];
    const EXPONENTIAL: [f32; 7] =
        [1.383_198_1e-3, 8.375_5e-3, 4.166_895e-2, 1.666_644_7e-1, 4.999_998_5e-1, 1.0, 1.0];
    let size = x.abs().min(3.925);
    let result = if size > 0.921_875 {
        1.0 - exponential(EXPONENTIAL, -polynomial(FAR, size).mul_add(size, size))
    } else {
        polynomial(NEAR, size * size).mul_add(size, size)
    };
    result.copysign(x)
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
pub(crate) fn gelu(x: f32) -> f32 {
    0.5 * x * (error_function(x * std::f32::consts::FRAC_1_SQRT_2) + 1.0)
}
