//! Functions of numbers in fixed point: no table, but polynomials and steps of Newton, whose every product is rounded.
//!
//! A number from -1 to 1 is an `i32` in steps of 2^-31; where more bits stand before the point, steps are as much larger.

use super::fixed_point::{doubled_high, shifted_right};

/// 1, as near as it gets.
const ONE: i32 = i32::MAX;
/// `exp(-1/8)`
const EIGHTH: i32 = 1_895_147_668;
/// `exp(-1/4)`, `exp(-1/2)`, `exp(-1)` and so on, to `exp(-16)`.
const POWERS: [i32; 7] = [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
/// Steps of arguments of [`exponential`] in a quarter.
const QUARTER: i32 = 1 << 24;

/// `exp(x)` for `x` of at most 0, in steps of 2^-26: a polynomial over the last quarter, and factors for all others.
pub(super) fn exponential(x: i32) -> i32 {
    if x == 0 {
        return ONE;
    }
    let last = (x & (QUARTER - 1)) - QUARTER;
    let quarters = last.wrapping_sub(x);
    let times = |product: i32, (bit, power): (usize, &i32)| {
        if quarters & (QUARTER << bit) == 0 { product } else { doubled_high(product, *power) }
    };
    POWERS.iter().enumerate().fold(of_last_quarter(last << 5), times)
}

/// `exp(x)` for `x` from -1/4 up to 0: four terms around -1/8.
fn of_last_quarter(x: i32) -> i32 {
    let x = x + (1 << 28);
    let square = doubled_high(x, x);
    let (cube, fourth) = (doubled_high(square, x), doubled_high(square, square));
    let third = (f64::from(1u32 << 31) / 3.0).round() as i32;
    let higher = doubled_high(shifted_right(fourth, 2) + cube, third);
    EIGHTH + doubled_high(EIGHTH, x + shifted_right(higher + square, 1))
}

/// `1 / (1 + x)` for `x` from 0 to 1: three steps of Newton from the best line.
pub(super) fn reciprocal_above_one(x: i32) -> i32 {
    // Two bits stand before the point of `found`, as it is up to 2: the reciprocal of half of the sum.
    let unit = f64::from(1 << 29);
    let (start, slope) = ((48.0 / 17.0 * unit).round() as i32, (-32.0 / 17.0 * unit).round() as i32);
    let half = ((i64::from(x) + i64::from(ONE) + 1) / 2) as i32;
    let mut found = start + doubled_high(half, slope);
    for _ in 0..3 {
        let missing = (1 << 29) - doubled_high(half, found);
        found += doubled(doubled_high(found, missing), 2);
    }
    doubled(found, 1)
}

/// `x` doubled so many `times`, cut off where the type ends.
fn doubled(x: i32, times: u32) -> i32 {
    (i64::from(x) << times).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(real: f64) -> i32 {
        (real * f64::from(1u32 << 31)).round() as i32
    }

    #[test]
    fn constants_are_exponentials() {
        assert_eq!(EIGHTH, steps((-0.125f64).exp()));
        for (bit, power) in POWERS.iter().enumerate() {
            assert_eq!(*power, steps((-0.25 * f64::from(1 << bit)).exp()));
        }
    }

    #[test]
    fn both_functions_are_near() {
        for x in (1..31 << 8).map(|x| -(x << 18)) {
            let exact = (f64::from(x) / f64::from(1 << 26)).exp();
            assert!((exponential(x) - steps(exact)).abs() < 1 << 11, "{x}");
        }
        for x in (0..i32::MAX).step_by(1 << 22) {
            let exact = 1.0 / (1.0 + f64::from(x) / f64::from(1u32 << 31));
            assert!(
                (i64::from(reciprocal_above_one(x)) - (exact * f64::from(1u32 << 31)) as i64).abs() < 64,
                "{x}"
            );
        }
    }
}
