//! Why rules did not fire, collected from a run.

use std::collections::BTreeMap;

use crate::context::{Event, Place};
use crate::runner::RunReport;

/// A reason for which a rule did not fire, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The pass, with options.
    pub pass: String,
    /// The rule.
    pub rule: &'static str,
    /// The reason.
    pub why: String,
    /// The nodes that were in the way, in topological order.
    pub places: Vec<Place>,
}

/// The near misses of a run, which must have been told to explain: those for the same reason together, the most frequent
/// first in each pass.
pub fn near_misses(report: &RunReport) -> Vec<NearMiss> {
    let mut found = Vec::new();
    for pass in &report.passes {
        let mut by_reason: BTreeMap<(&'static str, &str), Vec<Place>> = BTreeMap::new();
        for event in &pass.events {
            if let Event::Left { rule, place, why } = event {
                by_reason.entry((rule, why)).or_default().push(place.clone());
            }
        }
        let miss = |((rule, why), places): ((&'static str, &str), Vec<Place>)| NearMiss {
            pass: pass.pass.clone(),
            rule,
            why: why.to_owned(),
            places,
        };
        let mut misses: Vec<NearMiss> = by_reason.into_iter().map(miss).collect();
        misses.sort_by_key(|miss| std::cmp::Reverse(miss.places.len()));
        found.extend(misses);
    }
    found
}
