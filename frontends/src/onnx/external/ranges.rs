//! The byte ranges of one file that tensors have claimed.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that are equal or apart.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Claims by their first byte. No two of them share a byte.
    by_start: BTreeMap<u64, Claim>,
}

/// The bytes of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The first tensor that claimed the range.
    pub(super) tensor: String,
    /// The bytes.
    pub(super) range: Range<u64>,
}

impl Ranges {
    /// Notes that `tensor` has the bytes of `range`, or returns a claim that shares some of them.
    ///
    /// A range that was claimed before as a whole may be claimed again, and an empty one always.
    pub(super) fn claim(&mut self, tensor: &str, range: &Range<u64>) -> Result<(), Claim> {
        if range.is_empty() {
            return Ok(());
        }
        // Claims do not share bytes, so of those that start before the end of the range the last one
        // reaches furthest.
        let last_before_end = self.by_start.range(..range.end).next_back();
        match last_before_end {
            Some((_, claim)) if claim.range == *range => Ok(()),
            Some((_, claim)) if claim.range.end > range.start => Err(claim.clone()),
            _ => {
                let claim = Claim { tensor: tensor.to_owned(), range: range.clone() };
                self.by_start.insert(range.start, claim);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tensor whose range is in the way of `range`.
    fn in_the_way(ranges: &mut Ranges, range: Range<u64>) -> Option<String> {
        ranges.claim("new", &range).err().map(|claim| claim.tensor)
    }

    fn claimed() -> Ranges {
        let mut ranges = Ranges::default();
        ranges.claim("b", &(20..30)).expect("nothing there");
        ranges.claim("a", &(0..10)).expect("apart");
        ranges
    }

    #[test]
    fn ranges_apart_touching_equal_or_empty_are_fine() {
        for range in [10..20, 12..13, 30..31, 0..10, 20..30, 5..5, 25..25] {
            assert_eq!(in_the_way(&mut claimed(), range.clone()), None, "{range:?}");
        }
    }

    #[test]
    fn ranges_that_share_some_bytes_are_not() {
        let cases = [
            (5..15, "a"),
            (0..9, "a"),
            (0..11, "a"),
            (3..4, "a"),
            (19..21, "b"),
            (29..40, "b"),
            (0..100, "b"),
        ];
        for (range, other) in cases {
            assert_eq!(in_the_way(&mut claimed(), range.clone()).as_deref(), Some(other), "{range:?}");
        }
    }
}
