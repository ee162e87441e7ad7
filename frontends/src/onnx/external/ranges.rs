//! The byte ranges of one file that tensors have claimed.

use std::collections::BTreeMap;

use super::Claim;

/// Ranges that are equal or apart.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// Claims by their first byte. No two of them share a byte.
    by_start: BTreeMap<u64, Claim>,
}

impl Ranges {
    /// Notes `claim`, or returns it with an earlier one that shares some of its bytes.
    ///
    /// A range that was claimed before as a whole may be claimed again, and an empty one always.
    pub(super) fn claim(&mut self, claim: Claim) -> Result<(), Box<[Claim; 2]>> {
        if claim.range.is_empty() {
            return Ok(());
        }
        // Claims do not share bytes, so of those that start before the end of the range the last one
        // reaches furthest.
        let last_before_end = self.by_start.range(..claim.range.end).next_back();
        match last_before_end {
            Some((_, earlier)) if earlier.range == claim.range => Ok(()),
            Some((_, earlier)) if earlier.range.end > claim.range.start => {
                Err(Box::new([claim, earlier.clone()]))
            }
            _ => {
                self.by_start.insert(claim.range.start, claim);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn claim(tensor: &str, range: Range<u64>) -> Claim {
        Claim { tensor: tensor.to_owned(), range }
    }

    /// The tensor whose range is in the way of `range`.
    fn in_the_way(ranges: &mut Ranges, range: Range<u64>) -> Option<String> {
        let [new, earlier] = *ranges.claim(claim("new", range)).err()?;
        assert_eq!(new.tensor, "new");
        Some(earlier.tensor)
    }

    fn claimed() -> Ranges {
        let mut ranges = Ranges::default();
        ranges.claim(claim("b", 20..30)).expect("nothing there");
        ranges.claim(claim("a", 0..10)).expect("apart");
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
