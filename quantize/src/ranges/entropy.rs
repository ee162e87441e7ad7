//! The range that loses least of a distribution, by Kullback-Leibler divergence.
//!
//! `P` is how the numbers are spread over bins, with those out of range added to the outermost bins in range. `Q` is what can
//! be told of them from their codes: bins whose middles have the same code share what they hold in range, in proportion
//! to their widths. The range is from `-t` to `t`, as far as there are numbers, for the `t` with the least
//! `sum of P * ln(P / Q)`. So numbers that are cut off cost, because `P` has them and `Q` has not, and so do codes that hold
//! several bins. Ends of bins down to a 16th of the largest magnitude are tried; of equal ones the largest is taken.

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
    let mut best = (divergence(histogram, codes, all)?, all);
    for end in ends.into_iter().filter(|end| *end < all.magnitude() && *end >= all.magnitude() * LEAST) {
        let range = clipped(all, end);
        let found = divergence(histogram, codes, range)?;
        if found < best.0 {
            best = (found, range);
        }
    }
    Ok(best.1)
}

/// The divergence between the numbers in `histogram` and what is left of them within `range`.
pub fn divergence(histogram: &Histogram, codes: Codes, range: Range) -> Result<f64, EncodingError> {
    let (scale, _) = codes.parameters(range)?;
    let total = histogram.count() as f64;
    // A bin is in range when its middle is: the outermost one may reach beyond the extremes.
    let middle = |bin: Range| f64::midpoint(f64::from(bin.min), f64::from(bin.max));
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
        let count: f64 = cell.iter().map(|(_, count)| count).sum();
        let width: f64 = cell.iter().map(|(bin, _)| width(*bin)).sum();
        for (bin, own) in cell {
            let outside = if index == 0 { below } else { 0.0 } + if index == last { above } else { 0.0 };
            let p = (own + outside) / total;
            let q = count * self::width(*bin) / width / kept;
            sum += p * (p / q).ln();
            index += 1;
        }
    }
    Ok(sum)
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

    /// The same from the numbers one by one: bins and cells are made anew.
    fn brute(numbers: &[f32], codes: Codes, range: Range) -> f64 {
        let (scale, _) = codes.parameters(range).expect("encodes");
        let middle = |x: f32| {
            let Range { min, max } = Bin::of(x).range();
            f64::midpoint(f64::from(min), f64::from(max))
        };
        let mut kept: BTreeMap<(i64, u16), f64> = BTreeMap::new();
        let mut cells: BTreeMap<i64, (f64, BTreeMap<u16, f64>)> = BTreeMap::new();
        let (mut below, mut above) = (0.0, 0.0);
        for x in numbers {
            let at = middle(*x);
            if at < f64::from(range.min) {
                below += 1.0;
            } else if at > f64::from(range.max) {
                above += 1.0;
            } else {
                let (cell, bin) = ((at / f64::from(scale)).round_ties_even() as i64, Bin::of(*x));
                *kept.entry(((at * 1e9) as i64, bin.code())).or_default() += 1.0;
                let cell = cells.entry(cell).or_default();
                cell.0 += 1.0;
                cell.1.insert(bin.code(), f64::from(bin.range().max) - f64::from(bin.range().min));
            }
        }
        let total: f64 = kept.values().sum();
        let q = |code: u16| {
            let (count, widths) =
                cells.values().find(|(_, widths)| widths.contains_key(&code)).expect("a cell");
            count * widths[&code] / widths.values().sum::<f64>() / total
        };
        let mut p: Vec<(u16, f64)> = kept.iter().map(|((_, code), count)| (*code, *count)).collect();
        p.first_mut().expect("numbers").1 += below;
        p.last_mut().expect("numbers").1 += above;
        let terms = p.iter().map(|(code, count)| (count / numbers.len() as f64, q(*code)));
        terms.map(|(p, q)| p * (p / q).ln()).sum()
    }

    #[test]
    fn the_divergence_is_that_of_the_numbers() {
        let numbers = drawn(5, 3_000);
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen");
        for codes in [Codes::asymmetric(DType::U8), Codes::symmetric(DType::I4)] {
            for part in [1.0, 0.7, 0.3] {
                let range = clipped(all, all.magnitude() * part);
                let found = divergence(&statistics.histogram, codes, range).expect("encodes");
                let expected = brute(&numbers, codes, range);
                assert!(
                    (found - expected).abs() < 1e-9 * expected.abs().max(1e-3),
                    "{part}: {found} and {expected}"
                );
            }
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
