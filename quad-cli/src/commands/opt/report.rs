//! What `quad opt` has to say when it is done.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quad_passes::check::{Checker, Deviation};
use quad_passes::runner::{PassReport, RunReport};
use serde::Serialize;

use crate::output;
use crate::table::{Align, Table, counted, grouped};

/// What there is to say.
#[derive(Debug, clap::Args)]
pub(super) struct Reporting {
    /// Print how long each pass took.
    #[arg(long)]
    time_passes: bool,
    /// Print what each pass and each rule did.
    #[arg(long)]
    stats: bool,
    /// Print one JSON object instead of tables.
    #[arg(long, conflicts_with_all = ["print_after", "print_after_all", "print_after_changed"])]
    pub(super) json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    holds: bool,
    passes: Vec<Line>,
    changes: usize,
    nodes_before: usize,
    nodes_after: usize,
    /// The largest deviation of an output after any pass, relative to its largest magnitude.
    #[serde(skip_serializing_if = "Option::is_none")]
    deviation: Option<f64>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<String>,
}

/// What one pass did.
#[derive(Debug, Serialize)]
struct Line {
    pass: String,
    changes: usize,
    added: usize,
    erased: usize,
    nodes_before: usize,
    nodes_after: usize,
    rules: BTreeMap<&'static str, usize>,
    /// There with `--time-passes`, as it differs from run to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

impl Report {
    /// What `report` says of a run that began with so many nodes.
    pub(super) fn of(
        report: &RunReport,
        nodes_before: usize,
        checker: Option<&Checker>,
        reporting: &Reporting,
    ) -> Self {
        Self {
            holds: true,
            passes: report.passes.iter().map(|pass| Line::of(pass, reporting.time_passes)).collect(),
            changes: report.changes(),
            nodes_before,
            nodes_after: report.passes.last().map_or(nodes_before, |pass| pass.nodes_after),
            deviation: checker.map(|checker| checker.worst().map_or(0.0, Deviation::relative)),
            written: None,
        }
    }

    /// Prints it as the arguments ask for.
    pub(super) fn print(&self, reporting: &Reporting, out: &mut dyn Write) -> io::Result<()> {
        if reporting.json {
            return output::json(out, self);
        }
        if reporting.stats {
            self.print_stats(out)?;
        }
        if reporting.time_passes {
            self.print_times(out)?;
        }
        if let Some(deviation) = self.deviation {
            writeln!(
                out,
                "outputs agree: the largest deviation is {deviation:.3e} of an output's largest magnitude"
            )?;
        }
        let passes = match self.passes.len() {
            1 => "1 pass".to_owned(),
            count => format!("{} passes", grouped(count as u64)),
        };
        let (before, after) = (grouped(self.nodes_before as u64), grouped(self.nodes_after as u64));
        writeln!(
            out,
            "{passes}, {}, {before} nodes before and {after} after",
            counted(self.changes, "change")
        )?;
        self.written.as_ref().map_or(Ok(()), |path| writeln!(out, "written to {path}"))
    }

    fn print_stats(&self, out: &mut dyn Write) -> io::Result<()> {
        use Align::{Left, Right};
        let mut table = Table::new(&[Left, Right, Right, Right, Right]);
        table.row(["pass", "changes", "added", "erased", "nodes"]);
        for pass in &self.passes {
            let counts = [pass.changes, pass.added, pass.erased, pass.nodes_after];
            let cells = counts.map(|count| grouped(count as u64));
            table.row(std::iter::once(pass.pass.clone()).chain(cells));
            for (rule, count) in pass.rules.iter().filter(|(rule, _)| **rule != pass.pass) {
                table.row([format!("  {rule}"), grouped(*count as u64)]);
            }
        }
        table.print("", out)?;
        writeln!(out)
    }

    fn print_times(&self, out: &mut dyn Write) -> io::Result<()> {
        use Align::{Left, Right};
        let total: f64 = self.passes.iter().filter_map(|pass| pass.seconds).sum();
        let mut by_pass: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for pass in &self.passes {
            let entry = by_pass.entry(&pass.pass).or_default();
            *entry = (entry.0 + 1, entry.1 + pass.seconds.unwrap_or(0.0));
        }
        let mut rows: Vec<(&str, (usize, f64))> = by_pass.into_iter().collect();
        rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        let mut table = Table::new(&[Left, Right, Right, Right]);
        table.row(["pass", "runs", "ms", "share"]);
        for (pass, (runs, seconds)) in rows {
            let share = if total > 0.0 { 100.0 * seconds / total } else { 0.0 };
            let cells = [
                pass.to_owned(),
                grouped(runs as u64),
                format!("{:.2}", 1e3 * seconds),
                format!("{share:.1}%"),
            ];
            table.row(cells);
        }
        table.row(["all".to_owned(), String::new(), format!("{:.2}", 1e3 * total), String::new()]);
        table.print("", out)?;
        writeln!(out)
    }
}

impl Line {
    fn of(pass: &PassReport, with_time: bool) -> Self {
        Self {
            pass: pass.pass.clone(),
            changes: pass.changes,
            added: pass.added,
            erased: pass.erased,
            nodes_before: pass.nodes_before,
            nodes_after: pass.nodes_after,
            rules: pass.by_rule(),
            seconds: with_time.then_some(pass.time.as_secs_f64()),
        }
    }
}
