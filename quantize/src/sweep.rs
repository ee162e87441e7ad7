//! The sweep of mixed precision: from all layers in one precision to all in a lower one, step by step.
//!
//! Layers go to the lower precision in the order of their sensitivity to it, the least sensitive first. What a layer costs
//! is the QSS of the model in which this layer's values have the lower precision and everything else is a float; the
//! adapter that suffers most decides, as one profile serves them all. Values that both precisions store alike, such as
//! weights of 8 bits in W8A16 and W8A8, do not count.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::insert::Encodings;
use crate::sensitivity::bench::{Bench, BenchError, Fidelity};
use crate::sensitivity::layers::{self, LayerScore, Layers};

/// One mix of the two precisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The part of the layers that have the lower precision, from 0 to 1.
    pub share: f64,
    /// How many layers that are.
    pub layers: usize,
    /// What it does to the outputs, for each subject of the bench.
    pub fidelity: Vec<Fidelity>,
}

impl Point {
    /// The peak signal-to-noise ratio of the adapter that is worst off, in decibels.
    pub fn worst(&self) -> f64 {
        self.fidelity.iter().map(|fidelity| fidelity.psnr).fold(f64::INFINITY, f64::min)
    }
}

/// A sweep from one precision to a lower one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sweep {
    /// All layers with what the lower precision costs them, the least sensitive first.
    pub order: Vec<LayerScore>,
    /// From none to all of them in the lower precision.
    pub points: Vec<Point>,
}

/// The layers among `layers` that `low` and `high` store in different ways, with the values of which that is so.
pub fn changing(layers: &Layers, high: &Encodings, low: &Encodings) -> Layers {
    let differ = |name: &&String| {
        let of = |encodings: &Encodings| encodings.get(*name).map(|wanted| wanted.encoding.clone());
        of(high) != of(low)
    };
    let changing =
        |names: &BTreeSet<String>| names.iter().filter(differ).cloned().collect::<BTreeSet<String>>();
    let layers = layers.iter().map(|(layer, names)| (layer.clone(), changing(names)));
    layers.filter(|(_, names)| !names.is_empty()).collect()
}

/// `layers` by what the encodings `low` cost each alone, the least sensitive first; equal ones by name.
pub fn order(
    bench: &Bench<'_>,
    layers: &Layers,
    low: &Encodings,
    done: &(dyn Fn() + Sync),
) -> Result<Vec<LayerScore>, BenchError> {
    let mut order = layers::scores(bench, layers, low, &Encodings::new(), done)?;
    order.sort_by(|a, b| a.worst().total_cmp(&b.worst()).then_with(|| a.layer.cmp(&b.layer)));
    Ok(order)
}

/// How many of `layers` layers a part `share` of them is.
pub fn count(layers: usize, share: f64) -> usize {
    ((layers as f64 * share).round() as usize).min(layers)
}

/// The names of the values of the first `count` layers in `order`.
pub fn first(order: &[LayerScore], layers: &Layers, count: usize) -> BTreeSet<String> {
    let names = order[..count].iter().filter_map(|score| layers.get(&score.layer));
    names.flatten().cloned().collect()
}

/// Measures `steps` steps from no layer to all layers in the lower precision. `mixed` makes the encodings in which the
/// values called so have the lower one.
pub fn sweep<E: From<BenchError>>(
    bench: &Bench<'_>,
    order: Vec<LayerScore>,
    layers: &Layers,
    steps: usize,
    mut mixed: impl FnMut(&BTreeSet<String>) -> Result<Encodings, E>,
    done: &(dyn Fn() + Sync),
) -> Result<Sweep, E> {
    let all: Vec<usize> = (0..bench.subjects().len()).collect();
    let mut points = Vec::with_capacity(steps + 1);
    for step in 0..=steps {
        let share = step as f64 / steps.max(1) as f64;
        let count = count(order.len(), share);
        let fidelity = bench.measure(&mixed(&first(&order, layers, count))?, &all, done)?;
        points.push(Point { share, layers: count, fidelity });
    }
    Ok(Sweep { order, points })
}

/// The mix with the most layers in the lower precision with which every adapter has `quality`, in decibels: the last of
/// `points` that has it, or one between it and the next, which `measure` looks for by halves. `None` where none has it.
pub fn largest<E>(
    points: &[Point],
    quality: f64,
    mut measure: impl FnMut(usize) -> Result<Point, E>,
) -> Result<Option<Point>, E> {
    let Some(at) = points.iter().rposition(|point| point.worst() >= quality) else { return Ok(None) };
    let mut best = points[at].clone();
    let mut beyond = points.get(at + 1).map_or(best.layers, |point| point.layers);
    while best.layers + 1 < beyond {
        let middle = best.layers.midpoint(beyond);
        let point = measure(middle)?;
        if point.worst() >= quality {
            best = point;
        } else {
            beyond = middle;
        }
    }
    Ok(Some(best))
}

#[cfg(test)]
mod tests {
    use quad_ir::dtype::DType;

    use super::*;
    use crate::encoding::Encoding;

    fn encodings(steps: &[(&str, f32)]) -> Encodings {
        let encoding = |(name, scale): &(&str, f32)| {
            let encoding = Encoding::per_tensor(DType::U8, *scale, 0).expect("encodes");
            ((*name).to_owned(), encoding.into())
        };
        steps.iter().map(encoding).collect()
    }

    fn layers(of: &[(&str, &[&str])]) -> Layers {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        of.iter().map(|(layer, values)| ((*layer).to_owned(), names(values))).collect()
    }

    #[test]
    fn what_both_store_alike_does_not_count() {
        let all = layers(&[("conv", &["conv/y", "conv.weight"]), ("norm", &["norm.weight"])]);
        let high = encodings(&[("conv/y", 0.1), ("conv.weight", 0.2), ("norm.weight", 0.3)]);
        let low = encodings(&[("conv/y", 0.9), ("conv.weight", 0.2), ("norm.weight", 0.3)]);
        assert_eq!(changing(&all, &high, &low), layers(&[("conv", &["conv/y"])]));
    }

    #[test]
    fn the_least_sensitive_go_first() {
        let all = layers(&[("a", &["a/y"]), ("b", &["b/y", "b/z"]), ("c", &["c/y"])]);
        let score = |layer: &str| LayerScore { layer: layer.to_owned(), values: 1, qss: vec![0.0] };
        let order = ["b", "c", "a"].map(score);
        let names = |share: f64| {
            let count = count(order.len(), share);
            (first(&order, &all, count).into_iter().collect::<Vec<String>>().join(" "), count)
        };
        assert_eq!(names(0.0), (String::new(), 0));
        assert_eq!(names(0.34), ("b/y b/z".to_owned(), 1));
        assert_eq!(names(0.6), ("b/y b/z c/y".to_owned(), 2));
        assert_eq!(names(1.0), ("a/y b/y b/z c/y".to_owned(), 3));
    }

    #[test]
    fn the_largest_share_is_found_between_points() {
        // 50 dB with no layer, one less for each.
        let point = |layers: usize| {
            let fidelity = Fidelity { psnr: 50.0 - layers as f64, ssim: None, qss: 0.0 };
            Point { share: layers as f64 / 20.0, layers, fidelity: vec![fidelity] }
        };
        let points = [0, 10, 20].map(point);
        let find = |quality: f64| {
            let mut measured = 0;
            let found = largest(&points, quality, |layers| {
                measured += 1;
                Ok::<_, BenchError>(point(layers))
            });
            (found.expect("measured").map(|point| point.layers), measured)
        };
        assert_eq!(find(51.0), (None, 0));
        assert_eq!(find(50.0), (Some(0), 3));
        assert_eq!(find(36.5).0, Some(13));
        assert_eq!(find(30.0), (Some(20), 0));
    }
}
