//! How often numbers of each size occur, in bins that are fixed for ever.
//!
//! The bin of a number is the first 15 bits of it as an `f32`: sign, exponent, and 6 bits of the mantissa. So a bin is
//! at most a 64th of its numbers wide, whatever range they have, nothing has to be known beforehand, and merging is
//! adding integers: exact, in any order.

use crate::encoding::Range;

/// Bits of an `f32` behind those that make its bin.
const DROPPED: u32 = 17;

/// The bins there are, of both signs.
const BINS: usize = 1 << (32 - DROPPED);

/// The bit of a bin that says that its numbers are negative.
const NEGATIVE: u16 = 1 << (31 - DROPPED);

/// A set of numbers that share their sign, exponent and first 6 bits of the mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bin(u16);

impl Bin {
    /// The bin of `number`, which must be finite. Both zeros are in one bin.
    pub fn of(number: f32) -> Self {
        let bits = if number == 0.0 { 0 } else { number.to_bits() };
        Self((bits >> DROPPED) as u16)
    }

    /// The bin with this code, when numbers of it are finite.
    pub fn from_code(code: u16) -> Option<Self> {
        let largest = (f32::MAX.to_bits() >> DROPPED) as u16;
        ((code & !NEGATIVE) <= largest && usize::from(code) < BINS).then_some(Self(code))
    }

    /// The 15 bits.
    pub fn code(self) -> u16 {
        self.0
    }

    /// From the smallest number of the bin to the largest.
    pub fn range(self) -> Range {
        let near = u32::from(self.0) << DROPPED;
        let (near, far) = (f32::from_bits(near), f32::from_bits(near | ((1 << DROPPED) - 1)));
        if self.0 & NEGATIVE == 0 { Range { min: near, max: far } } else { Range { min: far, max: near } }
    }

    /// A key that orders bins as their numbers.
    fn order(self) -> i32 {
        let magnitude = i32::from(self.0 & !NEGATIVE);
        if self.0 & NEGATIVE == 0 { magnitude } else { -1 - magnitude }
    }
}

/// The bins that have numbers, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// From the smallest numbers to the largest; no count is 0.
    bins: Vec<(Bin, u64)>,
}

impl Histogram {
    /// A histogram of bins, each there once; `None` when one is there twice or has no numbers.
    pub fn from_bins(mut bins: Vec<(Bin, u64)>) -> Option<Self> {
        bins.sort_by_key(|(bin, _)| bin.order());
        let once = bins.windows(2).all(|pair| pair[0].0 != pair[1].0);
        (once && bins.iter().all(|(_, count)| *count > 0)).then_some(Self { bins })
    }

    /// The bins that have numbers, from the smallest numbers to the largest, with how many numbers are in each.
    pub fn bins(&self) -> &[(Bin, u64)] {
        &self.bins
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.bins.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Adds the numbers of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut merged = Vec::with_capacity(self.bins.len().max(other.bins.len()));
        let (mut left, mut right) = (self.bins.iter().peekable(), other.bins.iter().peekable());
        while let (Some((a, n)), Some((b, m))) = (left.peek(), right.peek()) {
            match a.order().cmp(&b.order()) {
                std::cmp::Ordering::Less => merged.extend(left.next()),
                std::cmp::Ordering::Greater => merged.extend(right.next()),
                std::cmp::Ordering::Equal => {
                    merged.push((*a, n.saturating_add(*m)));
                    left.next();
                    right.next();
                }
            }
        }
        merged.extend(left.chain(right));
        self.bins = merged;
    }
}

/// Counts numbers into bins. One of them serves any number of histograms.
#[derive(Debug)]
pub struct Counter {
    counts: Vec<u32>,
}

impl Default for Counter {
    fn default() -> Self {
        Self { counts: vec![0; BINS] }
    }
}

/// Numbers that are counted before counts are moved into a histogram: few enough for 32 bits.
const AT_A_TIME: usize = 1 << 30;

impl Counter {
    /// Adds `numbers`, all of them finite, to `histogram`.
    pub fn count(&mut self, numbers: &[f32], histogram: &mut Histogram) {
        for numbers in numbers.chunks(AT_A_TIME) {
            for number in numbers {
                self.counts[usize::from(Bin::of(*number).0)] += 1;
            }
            histogram.merge(&self.take());
        }
    }

    /// What was counted, from the smallest numbers to the largest.
    fn take(&mut self) -> Histogram {
        let (positive, negative) = self.counts.split_at_mut(usize::from(NEGATIVE));
        let mut bins = Vec::new();
        drain(negative, NEGATIVE, &mut bins);
        bins.reverse();
        drain(positive, 0, &mut bins);
        Histogram { bins }
    }
}

/// Bins looked at together: most are empty.
const BLOCK: usize = 64;

/// Moves the `counts` of the bins from `first` on to `bins`.
fn drain(counts: &mut [u32], first: u16, bins: &mut Vec<(Bin, u64)>) {
    for (block, counts) in counts.chunks_mut(BLOCK).enumerate() {
        if counts.iter().fold(0, |any, count| any | *count) == 0 {
            continue;
        }
        for (at, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let code = first + (block * BLOCK + at) as u16;
            bins.push((Bin(code), u64::from(std::mem::take(count))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_holds_its_numbers() {
        for number in [0.0, -0.0, 1.0, -1.0, 0.1, -3.75e-12, 1e-44, f32::MAX, f32::MIN, 65504.0] {
            let bin = Bin::of(number);
            let Range { min, max } = bin.range();
            assert!(min <= number && number <= max, "{number} in {min}..{max}");
            assert_eq!(Bin::from_code(bin.code()), Some(bin));
        }
        assert_eq!(Bin::of(-0.0), Bin::of(0.0));
        assert_eq!(Bin::from_code(Bin::of(f32::MAX).code() + 1), None, "infinity has no bin");
    }

    #[test]
    fn counting_sorts_by_value() {
        let mut histogram = Histogram::default();
        let mut counter = Counter::default();
        counter.count(&[3.0, -2.0, 0.0, 3.01, -100.0, 1e-3, -2.0], &mut histogram);
        counter.count(&[3.0], &mut histogram);
        let found: Vec<(f32, u64)> =
            histogram.bins().iter().map(|(bin, count)| (bin.range().min, *count)).collect();
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "{found:?}");
        assert_eq!(found.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 1, 1, 3]);
        assert_eq!(histogram.count(), 8);
        assert_eq!(Histogram::from_bins(histogram.bins().to_vec()), Some(histogram));
    }
}
