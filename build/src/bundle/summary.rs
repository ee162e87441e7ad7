//! What the report of a bundle shows.

use quad_quantize::profile::scores::Scores;

use super::Manifest;
use crate::report::{Check, Coverage, Report, Sizes};

/// The report of the bundle whose page is `manifest`.
pub(super) fn report(manifest: &Manifest, scores: Option<&Scores>) -> Report {
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
    if let Some(scores) = scores {
        report.scores = scores.qss.iter().map(|(name, score)| (name.clone(), *score)).collect();
    }
    for (target, page) in &manifest.targets {
        let (choice, reason) = &page.facts.anchor;
        report.anchor.clone_from(choice);
        report.facts.push(fact(&format!("anchor on {target}"), &format!("{choice}: {reason}")));
        let adapters = page.adapters.iter().map(|(name, adapter)| (name.clone(), adapter.bytes)).collect();
        report.sizes.insert(target.clone(), Sizes { shared: page.facts.bytes, adapters, separate: None });
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
    report
}
