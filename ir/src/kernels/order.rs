//! The order in which elements are sorted.

use std::cmp::Ordering;

use crate::tensor::Number;

/// Ascending, with everything that is not a number after all numbers and equal to its like.
pub(crate) fn ascending<T: Number>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_comes_last() {
        let mut values = [f32::NAN, 1.0, f32::INFINITY, -0.0, -f32::NAN, f32::NEG_INFINITY];
        values.sort_by(|a, b| ascending(*a, *b));
        assert_eq!(values[..4], [f32::NEG_INFINITY, 0.0, 1.0, f32::INFINITY]);
        assert!(values[4..].iter().all(|value| value.is_nan()));
        assert_eq!(ascending(0.0, -0.0), Ordering::Equal);
    }
}
