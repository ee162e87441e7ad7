//! What the report of a bundle shows.

use std::collections::BTreeMap;

use quad_quantize::profile::scores::Scores;

use super::Manifest;
use crate::report::{Check, Coverage, Picture, Report, Sizes};

/// What a report shows and no page of a bundle has.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The scores, where the anchor was chosen by them.
    pub(crate) scores: Option<Scores>,
    /// Images before and after.
    pub(crate) pictures: Vec<Picture>,
    /// Signal to quantization noise of values, in decibels.
    pub(crate) layers: Vec<(String, f64)>,
    /// Bytes of a model for a target without branches for adapters.
    pub(crate) separate: BTreeMap<&'static str, u64>,
    /// Passes with their changes.
    pub(crate) passes: Vec<(String, usize)>,
}

/// The report of the bundle whose page is `manifest`.
pub(super) fn report(manifest: &Manifest, shown: &Shown) -> Report {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut report = Report {
        title: manifest.model.name.clone(),
        facts: vec![
            fact("model", &format!("{}, {}", manifest.model.name, manifest.model.digest)),
            fact("graph", &manifest.graph),
            fact("precision", &manifest.precision),
            fact("adapters", &manifest.adapters.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
            fact("QUAD", &manifest.quad),
        ],
        ..Report::default()
    };
    if let Some(scores) = &shown.scores {
        report.scores = scores.qss.iter().map(|(name, score)| (name.clone(), *score)).collect();
    }
    for (target, page) in &manifest.targets {
        let (choice, reason) = &page.facts.anchor;
        report.anchor.clone_from(choice);
        report.facts.push(fact(&format!("anchor on {target}"), &format!("{choice}: {reason}")));
        let adapters = page.adapters.iter().map(|(name, adapter)| (name.clone(), adapter.bytes)).collect();
        report.sizes.insert(
            target.clone(),
            Sizes {
                shared: page.facts.bytes,
                adapters,
                separate: shown.separate.get(target.as_str()).copied(),
            },
        );
        let [nodes, legal, partitions] = page.facts.coverage;
        let reasons = page.facts.reasons.clone();
        report.coverage.push(Coverage { target: target.clone(), legal, nodes, partitions, reasons });
        for (name, adapter) in &page.adapters {
            report.checks.push(Check {
                target: target.clone(),
                adapter: Some(name.clone()),
                psnr: adapter.figures.as_ref().map(|figures| figures.psnr),
                effect: adapter.figures.as_ref().map(|figures| figures.effect),
                by: "the interpreter of QUAD".to_owned(),
            });
            let clipped = adapter.packing.slots.iter();
            report
                .clipped
                .extend(clipped.map(|(slot, share)| (name.clone(), format!("{slot} on {target}"), *share)));
        }
    }
    report.layers.clone_from(&shown.layers);
    report.pictures.clone_from(&shown.pictures);
    report.passes.clone_from(&shown.passes);
    report
}
