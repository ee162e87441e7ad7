//! Softmax along the last axis.
//!
//! Of 8 bits exponentials and the reciprocal of their sum are computed in fixed point. Of 16 bits they are looked up, in steps of
//! 1/32768; the sum is brought to 16 bits first.

use std::sync::LazyLock;

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::tensor::Tensor;

use super::curve::Curve;
use super::fixed_functions::{exponential, reciprocal_above_one};
use super::fixed_point::{Multiplier, doubled_high, shifted_right};
use super::{Computed, Stored, result};

/// Of 16 bits, exponentials of less are taken for that of this.
const LOWEST: f64 = -10.0;
/// Of 16 bits, steps of exponentials to a unit.
const STEPS: f64 = 32768.0;

/// Of 8 bits, exponentials of less are taken for 0.
const LOWEST_OF_BYTES: i64 = -31;
/// Of 8 bits, steps to a unit of the arguments of exponentials.
const UNIT_OF_BYTES: i32 = 1 << 26;

/// From [`LOWEST`] to 0.
static EXPONENTIAL: LazyLock<Curve> = LazyLock::new(|| Curve::of([LOWEST, 0.0], STEPS, |x| x, libm::exp));

/// `1 / (1 + x)` from 0 to 1.
static RECIPROCAL: LazyLock<Curve> =
    LazyLock::new(|| Curve::of([0.0, 1.0], STEPS, |x| x, |x| 1.0 / (1.0 + x)));

pub(super) fn softmax(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let input = Stored::of(node.operand("x")?)?;
    let length = operands.first()?.as_ref()?.sizes().last().copied().filter(|length| *length > 0)?;
    let stored = operands.first()?.as_ref()?.to_i64().ok()?;
    let rows = stored.chunks(length);
    let elements: Option<Vec<Vec<i64>>> = if input.dtype == DType::I8 {
        let factor = f64::from(input.scale) * f64::from(UNIT_OF_BYTES);
        let below = Multiplier::of(factor.min(f64::from(u32::MAX >> 1)));
        rows.map(|row| of_bytes(row, below)).collect()
    } else {
        let multiplier = Multiplier::of(f64::from(input.scale) / (-LOWEST / 65535.0));
        rows.map(|row| of_words(row, multiplier)).collect()
    };
    result(node, elements?.concat())
}

/// `below` brings differences to steps of [`UNIT_OF_BYTES`]. `None` where exponentials sum to 512 and more: their reciprocal, in
/// steps of 1/256, would be shifted out of the type, and the kernel ends the process.
fn of_bytes(row: &[i64], below: Multiplier) -> Option<Vec<i64>> {
    let largest = row.iter().copied().max().unwrap_or_default();
    let least = below.least_within(LOWEST_OF_BYTES * i64::from(UNIT_OF_BYTES));
    let exponential = |x: &i64| {
        let difference = x - largest;
        (difference >= least).then(|| exponential(below.times(difference as i32)))
    };
    let exponentials: Vec<Option<i32>> = row.iter().map(exponential).collect();
    // Of the 31 bits behind the point 19 are summed.
    let sum: i64 = exponentials.iter().flatten().map(|x| i64::from(shifted_right(*x, 12))).sum();
    let sum = u32::try_from(sum).ok().filter(|sum| *sum < 512 << 19)?;
    let zeros = sum.leading_zeros();
    let reciprocal = reciprocal_above_one(((sum << zeros) ^ (1 << 31)) as i32);
    let shift = 35 - zeros;
    let stored = |x: &Option<i32>| {
        x.map_or(-128, |x| i64::from(shifted_right(doubled_high(reciprocal, x), shift) - 128).min(127))
    };
    Some(exponentials.iter().map(stored).collect())
}

/// `multiplier` brings differences to 65535 steps from [`LOWEST`] to 0. `None` where sums do not fit 32 bits.
fn of_words(row: &[i64], multiplier: Multiplier) -> Option<Vec<i64>> {
    let largest = row.iter().copied().max().unwrap_or_default();
    let exponential = |x: &i64| {
        let below = i64::from(multiplier.times((x - largest) as i32));
        EXPONENTIAL.at((below + 32767).clamp(-32768, 32767))
    };
    let exponentials: Vec<i64> = row.iter().map(exponential).collect();
    let sum: i64 = exponentials.iter().sum();
    // The sum is 2^shift times a number from 1 to 2, of which 16 bits behind the point are kept.
    let shift = 31 - i32::try_from(sum).ok()?.leading_zeros();
    let scaled = ((sum << (30 - shift)) + (1 << 13)) >> 14;
    let reciprocal = RECIPROCAL.at((scaled - (1 << 16) - (1 << 15)).clamp(-32768, 32767));
    // The largest exponential has 15 bits alone.
    let half = 1 << (shift - 1);
    Some(exponentials.iter().map(|x| ((x * reciprocal + half) >> shift).clamp(0, 32767)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one() {
        let row = [30_000, -2_000, 500, 29_000];
        let words = of_words(&row, Multiplier::of(0.0005 / (10.0 / 65535.0))).expect("few enough");
        assert!((words.iter().sum::<i64>() - 32768).abs() < 8, "{words:?}");
        let below = Multiplier::of(0.1 * f64::from(UNIT_OF_BYTES));
        let bytes = of_bytes(&[100, 90, -100, 100], below).expect("few enough");
        assert_eq!(bytes.iter().map(|x| x + 128).sum::<i64>(), 256);
        assert_eq!(of_bytes(&[7; 511], below).map(|row| row[0]), Some(-127));
        assert_eq!(of_bytes(&[7; 512], below), None);
    }
}
