//! The range with the least mean squared error between numbers and what their codes read back as.
//!
//! Ends are tried from a [`STEPS`]th of the extremes up to the extremes. A symmetric encoding has one end to try. For the
//! two of an asymmetric one both shrink together first; then each is tried alone, twice in turn.
//!
//! A bin that spans several steps has the error of evenly spread numbers, `s * s / 12`. Of a narrower one, or one that is cut
//! off, a few evenly spread numbers stand for all.

use crate::encoding::{Beyond, Codes, EncodingError, Range};
use crate::statistics::histogram::Histogram;

/// How many sizes are tried of an end.
pub const STEPS: u32 = 64;
/// Numbers that stand for those of a bin.
const POINTS: u32 = 4;
/// Steps across a bin beyond which its numbers are evenly spread over them.
const WIDE: f64 = 8.0;

/// The range within `all`, that of the numbers in `histogram`, with the least error where what is out of range is stored
/// as `beyond` says.
pub fn range(
    histogram: &Histogram,
    all: Range,
    codes: Codes,
    beyond: Beyond,
) -> Result<Range, EncodingError> {
    let all = all.with_zero();
    let part = |end: f32, step: u32| (f64::from(end) * f64::from(step) / f64::from(STEPS)) as f32;
    let together = |step| match codes.symmetric {
        Some(_) => clipped(all, part(all.magnitude(), step)),
        None => Range { min: part(all.min, step), max: part(all.max, step) },
    };
    let sizes = || (1..=STEPS).rev();
    let consider = |best: (f64, Range), range| {
        let error = error(histogram, all, (codes, beyond), range)?;
        Ok::<_, EncodingError>(if error < best.0 { (error, range) } else { best })
    };
    let mut best = (error(histogram, all, (codes, beyond), all)?, all);
    best = sizes().map(together).try_fold(best, consider)?;
    if codes.symmetric.is_some() {
        return Ok(best.1);
    }
    for _ in 0..2 {
        let max = best.1.max;
        best = sizes().map(|step| Range { min: part(all.min, step), max }).try_fold(best, consider)?;
        let min = best.1.min;
        best = sizes().map(|step| Range { min, max: part(all.max, step) }).try_fold(best, consider)?;
    }
    Ok(best.1)
}

/// `all` without what is further than `magnitude` from 0.
pub(crate) fn clipped(all: Range, magnitude: f32) -> Range {
    Range { min: all.min.max(-magnitude), max: all.max.min(magnitude) }
}

/// The sum of squared errors of the numbers in `histogram`, which are all within `all`, stored with `codes` made for `range`,
/// those out of it as said.
pub fn error(
    histogram: &Histogram,
    all: Range,
    (codes, beyond): (Codes, Beyond),
    range: Range,
) -> Result<f64, EncodingError> {
    let (scale, zero_point) = codes.parameters(range)?;
    let (scale, zero_point) = (f64::from(scale), f64::from(zero_point));
    let (least, largest) = codes.stored_ends(beyond)?;
    let (least, largest) = (least as f64, largest as f64);
    let (low, high) = (scale * (least - zero_point), scale * (largest - zero_point));
    let squared = |x: f64| {
        let code = ((x / scale).round_ties_even() + zero_point).clamp(least, largest);
        let error = x - scale * (code - zero_point);
        error * error
    };
    let of_bin = |from: f64, to: f64| {
        if from >= low && to <= high && to - from > WIDE * scale {
            return scale * scale / 12.0;
        }
        let width = (to - from) / f64::from(POINTS);
        (0..POINTS).map(|point| squared(from + width * (f64::from(point) + 0.5))).sum::<f64>()
            / f64::from(POINTS)
    };
    let errors = histogram.bins().iter().map(|(bin, count)| {
        let Range { min, max } = bin.range();
        // The outermost bins reach beyond the extremes, where there is no number.
        *count as f64 * of_bin(f64::from(min.max(all.min)), f64::from(max.min(all.max)))
    });
    Ok(errors.sum())
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::super::testing::{drawn, mean_squared_error, statistics};
    use super::*;

    #[test]
    fn the_error_is_that_of_the_numbers() {
        let numbers = drawn(3, 50_000);
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen");
        for (codes, beyond) in [
            (Codes::asymmetric(DType::U8), Beyond::Type),
            (Codes::symmetric(DType::I4), Beyond::Type),
            (Codes::symmetric(DType::I4), Beyond::Limit),
            (Codes::limited(DType::I8, 100), Beyond::Limit),
            (Codes::asymmetric(DType::I16), Beyond::Limit),
        ] {
            for part in [1.0, 0.6, 0.2] {
                let range = Range { min: all.min * part, max: all.max * part };
                let found = error(&statistics.histogram, all, (codes, beyond), range).expect("encodes");
                let found = found / numbers.len() as f64;
                let expected = mean_squared_error(&numbers, codes, range, beyond);
                assert!((found / expected - 1.0).abs() < 0.02, "{codes:?} {part}: {found} and {expected}");
            }
        }
    }

    #[test]
    fn no_other_range_is_much_better() {
        let numbers = drawn(11, 5_000);
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen").with_zero();
        for codes in [Codes::asymmetric(DType::U8), Codes::symmetric(DType::I8), Codes::symmetric(DType::I4)]
        {
            let found = range(&statistics.histogram, all, codes, Beyond::Type).expect("encodes");
            let error = |range| mean_squared_error(&numbers, codes, range, Beyond::Type);
            let found = error(found);
            let parts = || (1..=16).map(|step| step as f32 / 16.0);
            let every = parts()
                .flat_map(|low| parts().map(move |high| Range { min: all.min * low, max: all.max * high }));
            let best = every.map(error).fold(f64::INFINITY, f64::min);
            assert!(found <= best * 1.03, "{codes:?}: {found}, while {best} is possible");
            assert!(found < error(all), "shrinking helps these numbers");
        }
    }

    #[test]
    fn a_limited_code_is_not_counted_on() {
        // With a code for -8 steps the scale of 7/8 would lose nothing of these.
        let numbers: Vec<f32> = (0..70i16).map(|at| f32::from(at % 9 - 8)).collect();
        let statistics = statistics(&[&numbers]);
        let (all, codes) = (statistics.range().expect("seen"), Codes::symmetric(DType::I4));
        let error = |magnitude: f32, beyond| {
            error(&statistics.histogram, all, (codes, beyond), Range::symmetric(magnitude)).expect("encodes")
        };
        assert!(error(7.0, Beyond::Type) < error(8.0, Beyond::Type));
        assert!(error(7.0, Beyond::Limit) > error(8.0, Beyond::Limit));
        let least = |beyond| range(&statistics.histogram, all, codes, beyond).expect("encodes").min;
        assert!(least(Beyond::Limit) < least(Beyond::Type));
    }

    #[test]
    fn what_fits_is_not_cut_off() {
        // With 16 bits and no number far off nothing is gained by cutting.
        let numbers: Vec<f32> = (0..1000).map(|index| index as f32 / 1000.0).collect();
        let statistics = statistics(&[&numbers]);
        let all = statistics.range().expect("seen");
        let codes = Codes::asymmetric(DType::U16);
        assert_eq!(range(&statistics.histogram, all, codes, Beyond::Type), Ok(all));
    }
}
