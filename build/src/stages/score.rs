//! Whose encodings all should share: what the encodings of each candidate do to each adapter.
//!
//! Each pair of a candidate and an adapter is a stage of its own. The adapter's outputs in full precision are computed once
//! for all of its pairs that are not there yet.

use std::collections::BTreeMap;

use quad_quantize::insert::{self, Encodings};
use quad_quantize::profile::Anchor;
use quad_quantize::profile::make::make_for;
use quad_quantize::profile::scores::{Scores, UNIFIED};
use quad_quantize::rules::Rules;
use quad_quantize::sensitivity::bench::{self, Bench, Subject, View};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calibrate::Calibrated;
use super::freeze::FrozenStage;
use super::runner::{Runner, read};
use super::{BuildError, Failed};

const CELL: &str = "cell.json";
/// Scores compare adapters, and not targets.
const RULES: &str = "reference";

/// What one candidate's encodings do to one adapter.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Cell {
    psnr: f64,
    qss: f64,
}

/// The scores, where the anchor is chosen by them.
pub(super) fn scores(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    calibrated: &Calibrated<'_>,
) -> Result<Option<Scores>, BuildError> {
    let all = match run.job.anchor.policy.as_str() {
        "auto" => true,
        "qss" => false,
        _ => return Ok(None),
    };
    let anchor = &run.job.anchor;
    let view = run.job.verify.view(anchor.divergence.value);
    let mut scores = Scores {
        graph: frozen.facts.digest.clone(),
        divergence: view.divergence.to_string(),
        precision: run.job.precision.default.value.to_string(),
        ..Scores::default()
    };
    let names: Vec<&str> = calibrated.names().collect();
    let mut rows: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for name in &names {
        let mut pairs = Pairs { run, frozen, calibrated, name, view, bench: None };
        for candidate in names.iter().copied().chain((names.len() > 1).then_some(UNIFIED)) {
            if !all && candidate != *name {
                continue;
            }
            let cell = pairs.cell(candidate)?;
            if candidate == *name {
                scores.qss.insert((*name).to_owned(), cell.qss);
            }
            rows.entry(candidate.to_owned()).or_default().insert((*name).to_owned(), cell.psnr);
        }
    }
    scores.psnr = rows;
    Ok(Some(scores))
}

/// All pairs of one adapter.
struct Pairs<'r> {
    run: &'r Runner<'r>,
    frozen: &'r FrozenStage,
    calibrated: &'r Calibrated<'r>,
    name: &'r str,
    view: View,
    /// Its outputs in full precision, when a pair needed them.
    bench: Option<Bench<'r>>,
}

impl Pairs<'_> {
    fn cell(&mut self, candidate: &str) -> Result<Cell, BuildError> {
        let (run, calibrated, job) = (self.run, self.calibrated, self.run.job);
        let of = match candidate {
            UNIFIED => calibrated.inputs(),
            name => json!(calibrated.digest(name)),
        };
        let inputs = json!({
            "frozen": self.frozen.facts.digest, "statistics": of, "slots": calibrated.slots_digest(self.name),
            "data": self.frozen.sources.data[self.name], "ignore": job.calibration.ignore, "precision": job.precision,
            "expose": job.expose, "samples": job.anchor.samples, "divergence": job.anchor.divergence,
            "peak": job.verify.peak, "shuffle": job.verify.shuffle,
        });
        let product = run.stage("score", format!("{} with {candidate}", self.name), &inputs, |place| {
            let encodings = self.encodings(candidate)?;
            let found = {
                let done = place.counter(run, 2 * job.anchor.samples.unwrap_or(1));
                let bench = self.bench(&done)?;
                bench.measure(&encodings, &[0], &done)?
            };
            let cell = found.first().map(|found| Cell { psnr: found.psnr, qss: found.qss });
            place.write(CELL, &cell.ok_or("nothing was measured")?)
        })?;
        Runner::reading("score", read(&product, CELL))
    }

    fn encodings(&self, candidate: &str) -> Result<Encodings, Failed> {
        let (statistics, graph) = self.calibrated.all()?;
        let anchor = Anchor {
            choice: candidate.to_owned(),
            reason: "measured as a candidate".to_owned(),
            adapters: statistics.adapters.keys().cloned().collect(),
        };
        let options = self.run.job.encoding(Rules::preset(RULES)?);
        Ok(insert::of_profile(&make_for(graph, statistics, &anchor, &options)?.profile))
    }

    fn bench(&mut self, done: &(dyn Fn() + Sync)) -> Result<&Bench<'_>, Failed> {
        let bench = if let Some(bench) = self.bench.take() {
            bench
        } else {
            let most = self.run.job.anchor.samples;
            let (slots, samples) = (self.calibrated.slots(self.name)?, self.calibrated.data(self.name)?);
            let subject = Subject::new(self.name, slots, samples, most);
            Bench::new(self.frozen.module()?, vec![subject], &bench::reference, self.view, done)?
        };
        Ok(self.bench.insert(bench))
    }
}
