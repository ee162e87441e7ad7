//! Ranges of tensors that do not change from run to run: weights and slots.
//!
//! Written `per-channel` or `per-tensor`, with `-mse` behind it for scales that are shrunk where that lessens the mean
//! squared error, which pays with 4 bits. Statistics count the elements of whole tensors only, so that a channel is taken
//! to be spread as those elements of its tensor are that lie within the extremes of the channel, but for one that is at the
//! extreme: with few elements in a channel, and codes enough, that one costs more than all others gain.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::mse;
use crate::encoding::{Beyond, Codes, Encoding, EncodingError, Range};
use crate::statistics::TensorStatistics;
use crate::statistics::histogram::{Bin, Histogram};

/// How scales of weights are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightMethod {
    /// Whether each output channel has a scale of its own, where the rules allow it.
    pub per_channel: bool,
    /// Whether scales are shrunk to lessen the mean squared error.
    pub shrink: bool,
}

impl Default for WeightMethod {
    fn default() -> Self {
        Self { per_channel: true, shrink: false }
    }
}

/// A text names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no method for weights: expected per-channel, per-tensor, per-channel-mse or per-tensor-mse"
)]
pub struct UnknownWeightMethod(pub String);

impl fmt::Display for WeightMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.per_channel { "per-channel" } else { "per-tensor" })?;
        f.write_str(if self.shrink { "-mse" } else { "" })
    }
}

impl FromStr for WeightMethod {
    type Err = UnknownWeightMethod;

    fn from_str(text: &str) -> Result<Self, UnknownWeightMethod> {
        let (granularity, shrink) = text.strip_suffix("-mse").map_or((text, false), |text| (text, true));
        let per_channel = match granularity {
            "per-channel" => true,
            "per-tensor" => false,
            _ => return Err(UnknownWeightMethod(text.to_owned())),
        };
        Ok(Self { per_channel, shrink })
    }
}

impl WeightMethod {
    /// The encoding of the tensor that `statistics` are of, with a scale for each index along `axis`, and the range of
    /// all its elements. `None` for a tensor without elements.
    pub fn encoding(
        self,
        statistics: &TensorStatistics,
        axis: Option<u8>,
        codes: Codes,
    ) -> Result<Option<(Encoding, Range)>, EncodingError> {
        let Some(all) = statistics.range else { return Ok(None) };
        let channels = axis
            .filter(|_| self.per_channel)
            .and_then(|axis| Some((axis, statistics.axes.get(usize::from(axis))?)));
        let encoding = match channels {
            Some((axis, ranges)) if self.shrink => {
                codes.per_channel(axis, &shrunk(&statistics.histogram, ranges, codes)?)?
            }
            Some((axis, ranges)) => codes.per_channel(axis, ranges)?,
            None if self.shrink => {
                codes.per_tensor(mse::range(&statistics.histogram, all, codes, Beyond::Limit)?)?
            }
            None => codes.per_tensor(all)?,
        };
        Ok(Some((encoding, all)))
    }
}

/// The ranges of channels, each shrunk to where its elements are stored with the least error.
fn shrunk(histogram: &Histogram, ranges: &[Range], codes: Codes) -> Result<Vec<Range>, EncodingError> {
    let elements = histogram.count() / (ranges.len() as u64).max(1);
    // Channels that end in the same bin are spread alike: their search is done once.
    let mut known: BTreeMap<u16, f32> = BTreeMap::new();
    let shrunk = ranges.iter().map(|range| {
        let magnitude = range.magnitude();
        let bin = Bin::of(magnitude);
        let part = if let Some(part) = known.get(&bin.code()) {
            *part
        } else {
            let end = bin.range().max;
            let found = mse::range(
                &of_channel(histogram, bin, elements),
                Range::symmetric(end),
                codes,
                Beyond::Limit,
            )?;
            let part = if end > 0.0 { found.magnitude() / end } else { 1.0 };
            known.insert(bin.code(), part);
            part
        };
        Ok(mse::clipped(*range, magnitude * part))
    });
    shrunk.collect()
}

/// How a channel of so many `elements` that ends in `last` is spread: as the numbers in `histogram` up to there, with one more at
/// the end for each channel that they would make.
fn of_channel(histogram: &Histogram, last: Bin, elements: u64) -> Histogram {
    let end = last.range().max;
    let within = histogram.bins().iter().filter(|(bin, _)| bin.range().magnitude() <= end);
    let mut bins: BTreeMap<u16, (Bin, u64)> = within.map(|entry| (entry.0.code(), *entry)).collect();
    let count: u64 = bins.values().map(|(_, count)| count).sum();
    let channels = count.div_ceil(elements.saturating_sub(1).max(1));
    bins.entry(last.code()).or_insert((last, 0)).1 += channels.max(1);
    Histogram::from_bins(bins.into_values().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::super::testing::{drawn, mean_squared_error, statistics};
    use super::*;

    /// Two channels of which one is ten times as large.
    fn channels() -> (Vec<Vec<f32>>, TensorStatistics) {
        let small = drawn(23, 4_000);
        let large = drawn(29, 4_000).iter().map(|x| x * 10.0).collect();
        let channels: Vec<Vec<f32>> = vec![small, large];
        let ranges: Vec<Range> =
            channels.iter().map(|numbers| statistics(&[numbers]).range().expect("numbers")).collect();
        let all = statistics(&[&channels.concat()]);
        let statistics =
            TensorStatistics { axes: vec![ranges, Vec::new()], range: all.range(), histogram: all.histogram };
        (channels, statistics)
    }

    /// The error of `numbers` stored as weights are, with codes up to `end`.
    fn stored(numbers: &[f32], codes: Codes, end: f32) -> f64 {
        mean_squared_error(numbers, codes, Range::symmetric(end), Beyond::Limit)
    }

    fn error(method: &str, codes: Codes) -> f64 {
        let (channels, statistics) = channels();
        let method: WeightMethod = method.parse().expect("a method");
        let (encoding, _) = method.encoding(&statistics, Some(0), codes).expect("encodes").expect("elements");
        let scales: Vec<f32> = encoding.parameters().map(|(scale, _)| scale).collect();
        assert_eq!(scales.len(), if method.per_channel { 2 } else { 1 });
        let limit = codes.symmetric.expect("symmetric") as f32;
        let errors = channels.iter().zip(scales.iter().cycle());
        errors.map(|(numbers, scale)| stored(numbers, codes, scale * limit)).sum()
    }

    #[test]
    fn methods_are_written_and_read() {
        for text in ["per-channel", "per-tensor", "per-channel-mse", "per-tensor-mse"] {
            assert_eq!(text.parse::<WeightMethod>().expect("a method").to_string(), text);
        }
        assert!("mse".parse::<WeightMethod>().is_err());
    }

    #[test]
    fn scales_reach_the_extremes_of_their_channel() {
        let (channels, statistics) = channels();
        let codes = Codes::symmetric(DType::I8);
        let (encoding, all) = WeightMethod::default()
            .encoding(&statistics, Some(0), codes)
            .expect("encodes")
            .expect("elements");
        let largest = |numbers: &[f32]| numbers.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        for (numbers, (scale, zero_point)) in channels.iter().zip(encoding.parameters()) {
            assert_eq!((scale, zero_point), (largest(numbers) / 127.0, 0));
        }
        assert_eq!(all.magnitude(), largest(&channels.concat()));
        let nothing = TensorStatistics::default();
        assert_eq!(WeightMethod::default().encoding(&nothing, Some(0), codes), Ok(None));
    }

    #[test]
    fn own_scales_and_shrinking_lessen_the_error() {
        let codes = Codes::symmetric(DType::I4);
        let [tensor, channel] = ["per-tensor", "per-channel"].map(|method| error(method, codes));
        let [tensor_mse, channel_mse] =
            ["per-tensor-mse", "per-channel-mse"].map(|method| error(method, codes));
        assert!(channel < tensor && tensor_mse < tensor && channel_mse < channel && channel_mse < tensor_mse);
        // The best shrinking of each channel by brute force, on its own numbers.
        let best: f64 = channels()
            .0
            .iter()
            .map(|numbers| {
                let end = numbers.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                let tried = (1..=64).map(|step| stored(numbers, codes, end * step as f32 / 64.0));
                tried.fold(f64::INFINITY, f64::min)
            })
            .sum();
        assert!(channel_mse < best * 1.5, "{channel_mse}, while {best} is possible");
    }

    #[test]
    fn shrinking_costs_nothing_where_codes_suffice() {
        // Channels of few elements, no two alike.
        let channels: Vec<Vec<f32>> = (0..40u16)
            .map(|at| {
                drawn(100 + u64::from(at), 96).iter().map(|x| x * (1.0 + f32::from(at) / 8.0)).collect()
            })
            .collect();
        let ranges =
            channels.iter().map(|numbers| statistics(&[numbers]).range().expect("numbers")).collect();
        let all = statistics(&[&channels.concat()]);
        let of_tensor = TensorStatistics { axes: vec![ranges], range: all.range(), histogram: all.histogram };
        let error = |method: &str, codes: Codes| -> f64 {
            let method: WeightMethod = method.parse().expect("a method");
            let (encoding, _) =
                method.encoding(&of_tensor, Some(0), codes).expect("encodes").expect("elements");
            let limit = codes.symmetric.expect("symmetric") as f32;
            let stored = channels.iter().zip(encoding.parameters());
            stored.map(|(numbers, (scale, _))| self::stored(numbers, codes, scale * limit)).sum()
        };
        for (codes, most) in [(DType::I8, 1.01), (DType::I16, 1.0), (DType::I4, 0.95)] {
            let codes = Codes::symmetric(codes);
            let [plain, shrunk] = ["per-channel", "per-channel-mse"].map(|method| error(method, codes));
            assert!(shrunk <= plain * most, "{codes:?}: {shrunk}, while the extremes give {plain}");
        }
    }
}
