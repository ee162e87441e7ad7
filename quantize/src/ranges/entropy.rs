//! The range that loses least of a distribution, by Kullback-Leibler divergence.
//!
//! `P` is how the numbers are spread over bins, with those out of range added to the outermost bins in range. `Q` is what can
//! be told of them from their codes: bins whose middles have the same code share what they hold in range, in proportion to
//! their widths; 0 is told from all others, as no bin next to it is as narrow. What is out of range is missing from `Q`, which
//! then sums to less than 1. The outermost bins end at the extremes: beyond these there is no number. The range is from `-t` to
//! `t`, as far as there are numbers, for the `t` with the least `sum of P * ln(P / Q)`. So numbers that are cut off cost, and so
//! do codes that hold several bins; with 16 bits there are few of these, and hardly anything is cut off. Ends of bins down to a
//! 16th of the largest magnitude are tried; of equal ones the largest is taken.

use crate::encoding::{Codes, EncodingError, Range};
use crate::statistics::histogram::Histogram;

use super::mse::clipped;

/// The smallest part of the largest magnitude that is tried.
const LEAST: f32 = 1.0 / 16.0;

/// The range within `all`, that of the numbers in `histogram`, with the least divergence.
pub fn range(histogram: &Histogram, all: Range, codes: Codes) -> Result<Range, EncodingError> {
    let all = all.with_zero();
    let mut ends: Vec<f32> = histogram.bins().iter().map(|(bin, _)| bin.range().magnitude()).collect();
    ends.sort_by(|a, b| b.total_cmp(a));
    ends.dedup();
    let mut best = (divergence(histogram, all, codes, all)?, all);
    for end in ends.into_iter().filter(|end| *end < all.magnitude() && *end >= all.magnitude() * LEAST) {
        let range = clipped(all, end);
        let found = divergence(histogram, all, codes, range)?;
        if found < best.0 {
            best = (found, range);
        }
    }
    Ok(best.1)
}

/// The divergence between the numbers in `histogram`, which are all within `all`, and what is left of them within `range`.
pub fn divergence(
    histogram: &Histogram,
    all: Range,
    codes: Codes,
    range: Range,
) -> Result<f64, EncodingError> {
    let (scale, _) = codes.parameters(range)?;
    let total = histogram.count() as f64;
    // A bin is in range when the middle of its numbers is: the outermost bins reach beyond the extremes.
    let middle = |bin: Range| f64::midpoint(f64::from(bin.min.max(all.min)), f64::from(bin.max.min(all.max)));
    let is_in = |x: f64| x >= f64::from(range.min) && x <= f64::from(range.max);
    let bins: Vec<(Range, f64)> =
        histogram.bins().iter().map(|(bin, count)| (bin.range(), *count as f64)).collect();
    let below: f64 =
        bins.iter().take_while(|(bin, _)| !is_in(middle(*bin)) && bin.max <= 0.0).map(|(_, n)| n).sum();
    let inside: Vec<(Range, f64)> = bins.iter().copied().filter(|(bin, _)| is_in(middle(*bin))).collect();
    let kept: f64 = inside.iter().map(|(_, count)| count).sum();
    let above = total - kept - below;
    let Some(last) = inside.len().checked_sub(1) else { return Ok(f64::INFINITY) };
    let code = |bin: &(Range, f64)| (middle(bin.0) / f64::from(scale)).round_ties_even();
    let mut sum = 0.0;
    let mut index = 0;
    for cell in inside.chunk_by(|a, b| code(a) == code(b)) {
        let shared = || cell.iter().filter(|(bin, _)| !is_zero(*bin));
        let count: f64 = shared().map(|(_, count)| count).sum();
        let width: f64 = shared().map(|(bin, _)| width(*bin)).sum();
        for (bin, own) in cell {
            let outside = if index == 0 { below } else { 0.0 } + if index == last { above } else { 0.0 };
            let p = (own + outside) / total;
            let q = if is_zero(*bin) { *own } else { count * self::width(*bin) / width } / total;
            sum += p * (p / q).ln();
            index += 1;
        }
    }
    Ok(sum)
}

/// Whether a bin is that of 0, and no wider: what half of an activation may be, and none of its neighbors.
fn is_zero(bin: Range) -> bool {
    bin.magnitude() < f32::MIN_POSITIVE
}

/// How wide a bin is; never 0.
fn width(bin: Range) -> f64 {
    (f64::from(bin.max) - f64::from(bin.min)).max(f64::from(f32::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quad_ir::dtype::DType;

    use super::super::testing::{drawn, statistics};
    use super::*;
    use crate::statistics::histogram::Bin;

    /// The same from the numbers one by one: bins and cells are made anew, and what is in range is so by its own.
    fn brute(numbers: &[f32], codes: Codes, range: Range) -> f64 {
        let (scale, _) = codes.parameters(range).expect("encodes");
        let all = super::super::testing::statistics(&[numbers]).range().expect("numbers");
        let middle = |x: f32| {
            let Range { min, max } = Bin::of(x).range();
            f64::midpoint(f64::from(min.max(all.min)), f64::from(max.min(all.max)))
        };
        let mut kept: BTreeMap<(i64, u16), f64> = BTreeMap::new();
        let mut cells: BTreeMap<(i64, bool), (f64, BTreeMap<u16, f64>)> = BTreeMap::new();
        let (mut below, mut above) = (0.0, 0.0);
        for x in numbers {
            let at = middle(*x);
            if *x < range.min {
                below += 1.0;
            } else if *x > range.max {
                above += 1.0;
            } else {
                let (cell, bin) = ((at / f64::from(scale)).round_ties_even() as i64, Bin::of(*x));
                *kept.entry(((at * 1e9) as i64, bin.code())).or_default() += 1.0;
                let cell = cells.entry((cell, *x == 0.0)).or_default();
                cell.0 += 1.0;
                cell.1.insert(bin.code(), f64::from(bin.range().max) - f64::from(bin.range().min));
            }
        }
        let q = |code: u16| {
            let (count, widths) =
                cells.values().find(|(_, widths)| widths.contains_key(&code)).expect("a cell");
            count * widths[&code] / widths.values().sum::<f64>() / numbers.len() as f64
        };
        let mut p: Vec<(u16, f64)> = kept.iter().map(|((_, code), count)| (*code, *count)).collect();
        p.first_mut().expect("numbers").1 += below;
        p.last_mut().expect("numbers").1 += above;
        let terms = p.iter().map(|(code, count)| (count / numbers.len() as f64, q(*code)));
        terms.map(|(p, q)| p * (p / q).ln()).sum()
    }

    /// The numbers of [`drawn`], none beyond 3, and `at` so many times: as what a clip leaves.
    fn heaped(at: f32, times: usize) -> Vec<f32> {
        let mut numbers: Vec<f32> = drawn(5, 3_000).iter().map(|x| x.clamp(-3.0, 3.0)).collect();
        numbers.extend(std::iter::repeat_n(at, times));
        numbers
    }

    #[test]
    fn the_divergence_is_that_of_the_numbers() {
        for numbers in [drawn(5, 3_000), heaped(3.0, 7_000), heaped(-3.0, 7_000), heaped(0.0, 7_000)] {
            let statistics = statistics(&[&numbers]);
            let all = statistics.range().expect("seen");
            for codes in [Codes::asymmetric(DType::U8), Codes::symmetric(DType::I4)] {
                for part in [1.0, 0.7, 0.3] {
                    // Up to the end of a bin, so that no bin is in range in part.
                    let end = Bin::of(all.magnitude() * part).range().max;
                    let range = clipped(all, end);
                    let found = divergence(&statistics.histogram, all, codes, range).expect("encodes");
                    let expected = brute(&numbers, codes, range);
                    let bound = 1e-9 * expected.abs().max(1e-3);
                    assert!((found - expected).abs() < bound, "{part}: {found} and {expected}");
                }
            }
        }
    }

    #[test]
    fn what_much_of_the_data_is_stays_in_range() {
        // Grey levels of which most are white, and their negatives.
        let levels = |sign: f32| -> Vec<f32> {
            (0..10_000u16).map(|at| sign * f32::from(at.min(3_000)) / 3_000.0).collect()
        };
        for codes in
            [Codes::asymmetric(DType::U8), Codes::asymmetric(DType::U16), Codes::symmetric(DType::I8)]
        {
            let found = |numbers: &[f32]| {
                let statistics = statistics(&[numbers]);
                range(&statistics.histogram, statistics.range().expect("seen"), codes).expect("encodes")
            };
            assert_eq!(found(&levels(1.0)).max, 1.0, "{codes:?}");
            assert_eq!(found(&levels(-1.0)).min, -1.0, "{codes:?}");
            let rectified: Vec<f32> = (0..10_000u16).map(|at| f32::from(at.max(5_000) - 5_000)).collect();
            assert_eq!(found(&rectified).max, 4_999.0, "{codes:?}");
        }
    }

    #[test]
    fn numbers_far_from_zero_stay_in_range() {
        // Had `Q` only to be like what is left, a range with the smallest of them alone would lose nothing.
        let numbers: Vec<f32> = drawn(31, 4_000).iter().map(|x| (x / 4.0).exp()).collect();
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen");
        for (stored, least) in [(DType::U8, 0.05), (DType::U16, 0.9)] {
            let found = range(&statistics.histogram, all, Codes::asymmetric(stored)).expect("encodes");
            let lost = numbers.iter().filter(|x| **x > found.max).count();
            assert!(
                found.max >= all.max * least && lost < 40,
                "{stored}: {found:?} of {all:?}, {lost} cut off"
            );
        }
    }

    #[test]
    fn no_other_end_loses_less() {
        let numbers = drawn(17, 3_000);
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen").with_zero();
        let codes = Codes::symmetric(DType::I4);
        let found = range(&statistics.histogram, all, codes).expect("encodes");
        let ends = numbers.iter().map(|x| Bin::of(*x).range().magnitude());
        let tried = ends
            .filter(|end| *end >= all.magnitude() / 16.0)
            .map(|end| brute(&numbers, codes, clipped(all, end)));
        let least = tried.fold(f64::INFINITY, f64::min);
        assert!(brute(&numbers, codes, found) <= least * (1.0 + 1e-9));
        assert!(found.magnitude() < all.magnitude(), "four bits are better spent on the many small numbers");
    }

    #[test]
    fn zeros_lose_nothing() {
        let statistics = statistics(&[&[0.0, 0.0]]);
        let all = statistics.range().expect("seen");
        assert_eq!(
            range(&statistics.histogram, all, Codes::asymmetric(DType::U8)),
            Ok(Range { min: 0.0, max: 0.0 })
        );
    }
}
