//! `quad calibrate --show`: what statistics hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use quad_quantize::encoding::Range;
use quad_quantize::statistics::{AdapterStatistics, Statistics, ValueStatistics};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::table::{Align, Table, counted};
use crate::{output, statistics};

/// Values that the table lists.
const LISTED: usize = 10;

/// Statistics, for scripts.
#[derive(Debug, Serialize)]
struct Report<'s> {
    model: &'s str,
    pipeline: &'s str,
    weights: BTreeMap<&'s str, Option<Range>>,
    adapters: BTreeMap<&'s str, AdapterReport<'s>>,
}

/// One adapter.
#[derive(Debug, Serialize)]
struct AdapterReport<'s> {
    digest: &'s str,
    data: &'s str,
    available: u64,
    samples: &'s BTreeSet<u64>,
    slots: BTreeMap<&'s str, Option<Range>>,
    values: BTreeMap<&'s str, ValueReport>,
}

/// One value.
#[derive(Debug, Serialize)]
struct ValueReport {
    range: Option<Range>,
    /// How many numbers it had.
    count: u64,
}

/// Shows the statistics at `path`.
pub(super) fn run(path: &Path, json: bool) -> Result<Outcome, Failure> {
    let statistics = statistics::read(path).map_err(Failure::input)?;
    let out = &mut output::stdout();
    if json {
        output::json(out, &report(&statistics))?;
    } else {
        print(&statistics, out)?;
    }
    Ok(Outcome::Done)
}

fn report(statistics: &Statistics) -> Report<'_> {
    Report {
        model: &statistics.model.digest,
        pipeline: &statistics.model.pipeline,
        weights: statistics.weights.iter().map(|(name, weight)| (name.as_str(), weight.range)).collect(),
        adapters: statistics.adapters.iter().map(|(name, one)| (name.as_str(), adapter(one))).collect(),
    }
}

fn adapter(statistics: &AdapterStatistics) -> AdapterReport<'_> {
    let value =
        |value: &ValueStatistics| ValueReport { range: value.range(), count: value.histogram.count() };
    AdapterReport {
        digest: &statistics.digest,
        data: &statistics.data,
        available: statistics.available,
        samples: &statistics.samples,
        slots: statistics.slots.iter().map(|(name, slot)| (name.as_str(), slot.range)).collect(),
        values: statistics.values.iter().map(|(name, one)| (name.as_str(), value(one))).collect(),
    }
}

fn print(statistics: &Statistics, out: &mut dyn Write) -> std::io::Result<()> {
    let Statistics { model, weights, adapters } = statistics;
    writeln!(
        out,
        "model {}, pipeline {}, {}",
        model.digest,
        model.pipeline,
        counted(weights.len(), "weight")
    )?;
    for (name, adapter) in adapters {
        let AdapterStatistics { samples, available, slots, values, .. } = adapter;
        let (slots, values) = (counted(slots.len(), "slot"), counted(values.len(), "value"));
        let available = counted(*available as usize, "sample");
        writeln!(out, "{name}: {} of {available}, {values}, {slots}", samples.len())?;
    }
    let apart = apart(adapters);
    if adapters.len() < 2 || apart.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nvalues whose ranges differ most between adapters")?;
    let align: Vec<Align> =
        [Align::Left, Align::Right].into_iter().chain(adapters.keys().map(|_| Align::Right)).collect();
    let mut table = Table::new(&align);
    table.row(["value", "ratio"].into_iter().map(str::to_owned).chain(adapters.keys().cloned()));
    for (ratio, name) in apart {
        let range = |adapter: &AdapterStatistics| adapter.values.get(name).and_then(ValueStatistics::range);
        let cells = adapters.values().map(|adapter| {
            range(adapter).map_or_else(|| "-".to_owned(), |Range { min, max }| format!("{min:.3}..{max:.3}"))
        });
        table.row([name.to_owned(), format!("{ratio:.2}")].into_iter().chain(cells));
    }
    table.print("  ", out)
}

/// The values whose largest magnitude differs most from adapter to adapter, with the ratio of the largest to the smallest.
fn apart(adapters: &BTreeMap<String, AdapterStatistics>) -> Vec<(f32, &str)> {
    let mut extremes: BTreeMap<&str, (f32, f32)> = BTreeMap::new();
    for (name, value) in adapters.values().flat_map(|adapter| &adapter.values) {
        let Some(magnitude) = value.range().map(Range::magnitude) else { continue };
        let (least, most) = extremes.entry(name).or_insert((magnitude, magnitude));
        (*least, *most) = (least.min(magnitude), most.max(magnitude));
    }
    let differing = extremes.into_iter().filter(|(_, (least, _))| *least > 0.0);
    let mut apart: Vec<(f32, &str)> = differing.map(|(name, (least, most))| (most / least, name)).collect();
    apart.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    apart.truncate(LISTED);
    apart
}
