//! From what a value was seen to be to the range that its encoding is made for.
//!
//! | method | written | the range |
//! |---|---|---|
//! | [`Method::MinMax`] | `min-max` | from the smallest number to the largest |
//! | [`Method::Percentile`] | `percentile=99.99` | without `(100 - p) / 2` percent of the numbers on either side |
//! | [`Method::Entropy`] | `entropy` | the one that loses least of the distribution, see [`entropy`] |
//! | [`Method::Mse`] | `mse` | the one with the least mean squared error, see [`mse`] |
//! | [`Method::MovingAverage`] | `moving-average=0.9` | of the extremes of each sample `x`, in the order of samples: `m = d * m + (1 - d) * x`, from the first one on |
//!
//! Statistics are those of one adapter or of several, of one value or of several that share an encoding. Counts are
//! added, so that the result is that of all numbers together; moving averages are taken of each and united.

pub mod entropy;
pub mod mse;
pub mod weights;

use std::fmt;
use std::str::FromStr;

use crate::encoding::{Beyond, Codes, EncodingError, Range};
use crate::statistics::ValueStatistics;
use crate::statistics::histogram::Histogram;

/// How a range is made of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Method {
    /// From the smallest number to the largest.
    #[default]
    MinMax,
    /// The middle so many percent of the numbers.
    Percentile(f64),
    /// The least divergence between the numbers and what is left of them.
    Entropy,
    /// The least mean squared error.
    Mse,
    /// The average of the extremes of samples, older ones weighing less.
    MovingAverage(f64),
}

/// What part of the average of extremes a further sample leaves, unless it is given.
const DECAY: f64 = 0.9;
/// The percentage of numbers that are kept, unless it is given.
const PERCENT: f64 = 99.99;

/// A text names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no method: expected min-max, percentile=P with P above 50 and up to 100, entropy, mse, or moving-average=D with \
     D from 0 to below 1"
)]
pub struct UnknownMethod(pub String);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(percent) => write!(f, "percentile={percent}"),
            Self::Entropy => f.write_str("entropy"),
            Self::Mse => f.write_str("mse"),
            Self::MovingAverage(decay) => write!(f, "moving-average={decay}"),
        }
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let (name, number) = text.split_once('=').map_or((text, None), |(name, number)| (name, Some(number)));
        let number = |default: f64| number.map_or(Some(default), |number| number.parse::<f64>().ok());
        let found = match name {
            "min-max" if text == name => Some(Self::MinMax),
            "entropy" if text == name => Some(Self::Entropy),
            "mse" if text == name => Some(Self::Mse),
            "percentile" => {
                number(PERCENT).filter(|percent| *percent > 50.0 && *percent <= 100.0).map(Self::Percentile)
            }
            "moving-average" => {
                number(DECAY).filter(|decay| (0.0..1.0).contains(decay)).map(Self::MovingAverage)
            }
            _ => None,
        };
        found.ok_or_else(|| UnknownMethod(text.to_owned()))
    }
}

impl Method {
    /// The range of numbers seen in all of `parts`, which `codes` are to hold; `None` where nothing was seen.
    pub fn range(self, codes: Codes, parts: &[&ValueStatistics]) -> Result<Option<Range>, EncodingError> {
        let Some(all) = parts.iter().filter_map(|part| part.range()).reduce(Range::union) else {
            return Ok(None);
        };
        let range = match self {
            Self::MinMax => all,
            Self::Percentile(percent) => percentile(&merged(parts), all, percent),
            Self::Entropy => entropy::range(&merged(parts), all, codes)?,
            Self::Mse => mse::range(&merged(parts), all, codes, Beyond::Type)?,
            Self::MovingAverage(decay) => parts
                .iter()
                .filter_map(|part| moving_average(part, decay))
                .reduce(Range::union)
                .unwrap_or(all),
        };
        Ok(Some(range))
    }
}

/// The counts of all parts together.
fn merged(parts: &[&ValueStatistics]) -> Histogram {
    let mut all = Histogram::default();
    for part in parts {
        all.merge(&part.histogram);
    }
    all
}

/// The range without `(100 - percent) / 2` percent of the numbers on either side, up to the ends of bins.
fn percentile(histogram: &Histogram, all: Range, percent: f64) -> Range {
    // So many numbers may be cut off on one side. A percentage is the nearest `f64` of what was written: by what it may be
    // off, a number that comes out whole must not end up below.
    let cut = (histogram.count() as f64 * (100.0 - percent + 100.0 * f64::EPSILON) / 200.0).floor();
    let first_kept = |bins: &mut dyn Iterator<Item = Range>, counts: &mut dyn Iterator<Item = u64>| {
        let mut passed = 0.0;
        bins.zip(counts).find(|(_, count)| {
            passed += *count as f64;
            passed > cut
        })
    };
    let bins = histogram.bins();
    let low =
        first_kept(&mut bins.iter().map(|(bin, _)| bin.range()), &mut bins.iter().map(|(_, count)| *count));
    let high = first_kept(
        &mut bins.iter().rev().map(|(bin, _)| bin.range()),
        &mut bins.iter().rev().map(|(_, count)| *count),
    );
    let min = low.map_or(all.min, |(bin, _)| bin.min.max(all.min));
    let max = high.map_or(all.max, |(bin, _)| bin.max.min(all.max));
    Range { min, max }
}

/// The average of the extremes, each sample weighing `1 - decay` against all before it.
fn moving_average(part: &ValueStatistics, decay: f64) -> Option<Range> {
    let ends = |range: &Range| (f64::from(range.min), f64::from(range.max));
    let step = |(min, max): (f64, f64), (low, high): (f64, f64)| {
        (decay * min + (1.0 - decay) * low, decay * max + (1.0 - decay) * high)
    };
    let (min, max) = part.extremes.values().map(ends).reduce(step)?;
    Some(Range { min: min as f32, max: max as f32 })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Numbers of known distributions, and statistics of them.

    use super::*;
    use crate::statistics::histogram::Counter;

    /// Numbers that look like activations: many small ones, few large ones, some far off.
    pub(crate) fn drawn(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut normal = move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (0..count).map(|index| (normal() * if index % 97 == 0 { 6.0 } else { 1.0 } + 0.3) as f32).collect()
    }

    /// Statistics of samples, numbered from 0.
    pub(crate) fn statistics(samples: &[&[f32]]) -> ValueStatistics {
        let mut statistics = ValueStatistics::default();
        for (index, sample) in (0u64..).zip(samples) {
            Counter::default().count(sample, &mut statistics.histogram);
            let ends = sample.iter().map(|x| Range { min: *x, max: *x }).reduce(Range::union);
            statistics.extremes.extend(ends.map(|ends| (index, ends)));
        }
        statistics
    }

    /// The mean squared error of `numbers`, stored with `codes` made for `range`.
    pub(crate) fn mean_squared_error(numbers: &[f32], codes: Codes, range: Range, beyond: Beyond) -> f64 {
        let (scale, zero_point) = codes.parameters(range).expect("encodes");
        let (least, largest) = codes.stored_ends(beyond).expect("codes");
        let squared = numbers.iter().map(|x| {
            let code = (f64::from(*x) / f64::from(scale)).round_ties_even() + f64::from(zero_point);
            let code = code.clamp(least as f64, largest as f64);
            (f64::from(*x) - f64::from(scale) * (code - f64::from(zero_point))).powi(2)
        });
        squared.sum::<f64>() / numbers.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::testing::{drawn, statistics};
    use super::*;

    const CODES: Codes = Codes { stored: DType::U8, symmetric: None };

    fn range(method: &str, parts: &[&ValueStatistics]) -> Range {
        let method: Method = method.parse().expect("a method");
        method.range(CODES, parts).expect("encodes").expect("seen")
    }

    #[test]
    fn methods_are_written_and_read() {
        for text in ["min-max", "percentile=99.99", "entropy", "mse", "moving-average=0.9", "percentile=100"]
        {
            assert_eq!(text.parse::<Method>().expect("a method").to_string(), text);
        }
        assert_eq!("percentile".parse(), Ok(Method::Percentile(99.99)));
        for wrong in
            ["", "max", "mse=1", "percentile=50", "percentile=101", "percentile=x", "moving-average=1"]
        {
            assert_eq!(wrong.parse::<Method>(), Err(UnknownMethod(wrong.to_owned())));
        }
    }

    #[test]
    fn the_extremes_are_exact() {
        let (a, b) = (statistics(&[&[0.3, -1.7], &[2.9]]), statistics(&[&[-0.1, 3.3]]));
        assert_eq!(range("min-max", &[&a]), Range { min: -1.7, max: 2.9 });
        assert_eq!(range("min-max", &[&a, &b]), Range { min: -1.7, max: 3.3 });
        assert_eq!(Method::Mse.range(CODES, &[&ValueStatistics::default()]), Ok(None));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_numbers() {
        let mut numbers = drawn(7, 20_000);
        let (left, right) = numbers.split_at(5_000);
        let parts = [statistics(&[left]), statistics(&[right])];
        let parts = [&parts[0], &parts[1]];
        let all = parts.iter().filter_map(|part| part.range()).reduce(Range::union).expect("seen");
        numbers.sort_by(f32::total_cmp);
        for (percent, cut) in
            [("100", 0), ("99.99", 1), ("99.9", 10), ("99", 100), ("90", 1_000), ("60", 4_000), ("99.995", 0)]
        {
            let found = range(&format!("percentile={percent}"), &parts);
            let (low, high) = (numbers[cut], numbers[numbers.len() - 1 - cut]);
            // The ends of the bins that these two are in, or the extremes.
            let ends = |x: f32| crate::statistics::histogram::Bin::of(x).range();
            assert_eq!(found, Range { min: ends(low).min.max(all.min), max: ends(high).max.min(all.max) });
            assert!(found.min <= low && found.max >= high);
        }
        assert_eq!(range("percentile=100", &parts), all);
    }

    #[test]
    fn averages_forget() {
        let part = statistics(&[&[-1.0, 4.0], &[-2.0, 8.0], &[0.0, 0.0]]);
        // -1, then 0.5 * -1 + 0.5 * -2 = -1.5, then 0.5 * -1.5 + 0 = -0.75; 4, 6, 3.
        assert_eq!(range("moving-average=0.5", &[&part]), Range { min: -0.75, max: 3.0 });
        assert_eq!(range("moving-average=0", &[&part]), Range { min: 0.0, max: 0.0 });
        let other = statistics(&[&[-7.0, 1.0]]);
        assert_eq!(range("moving-average=0.5", &[&part, &other]), Range { min: -7.0, max: 3.0 });
    }
}
