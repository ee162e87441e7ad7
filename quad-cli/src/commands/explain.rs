//! `quad explain`: says why rules did not fire.

use std::io::{self, Write};

use quad_passes::bench::{NearMiss, near_misses};
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use serde::Serialize;

use super::opt::failed;
use super::pipeline::{NodeLine, Subject};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::table::{counted, grouped};

/// Say why rules did not fire.
///
/// A near miss is a node that looks like what a rule is after, with something in the way: the same constant read twice, a
/// size that is not known, a bias that is computed. Near misses are those that are left when a pass has done all it can.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad explain unet.onnx -p dce
  quad explain unet.onnx -p npu --places 20
  quad explain unet.onnx -p npu --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Nodes that are named for each reason.
    #[arg(long, value_name = "N", default_value_t = 5)]
    places: usize,
    /// Print one JSON object, with all nodes.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    changes: usize,
    near_misses: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    pass: String,
    rule: &'static str,
    why: String,
    count: usize,
    nodes: Vec<NodeLine>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let subject = &arguments.subject;
    let pipeline = subject.pipeline(registry)?;
    let mut module = subject.module()?;
    let options = RunOptions { explain: true, skip: subject.skipped(), ..RunOptions::default() };
    let report =
        runner::run(&pipeline, &mut module, &options, &mut []).map_err(|error| failed(error, subject))?;
    let misses = near_misses(&report);
    let out = &mut output::stdout();
    if arguments.json {
        let near_misses = misses.iter().map(Line::of).collect();
        let report = Report { changes: report.changes(), near_misses };
        output::json(out, &report)?;
    } else {
        print(&misses, report.changes(), arguments.places, out)?;
    }
    Ok(Outcome::Done)
}

impl Line {
    fn of(miss: &NearMiss) -> Self {
        Self {
            pass: miss.pass.clone(),
            rule: miss.rule,
            why: miss.why.clone(),
            count: miss.places.len(),
            nodes: miss.places.iter().map(NodeLine::of).collect(),
        }
    }
}

fn print(misses: &[NearMiss], changes: usize, places: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut pass = "";
    for miss in misses {
        if miss.pass != pass {
            writeln!(out, "{}", miss.pass)?;
            pass = &miss.pass;
        }
        let count = grouped(miss.places.len() as u64);
        writeln!(out, "  {count} x {}: {}", miss.rule, miss.why)?;
        for place in miss.places.iter().take(places) {
            writeln!(out, "      {place} from {}", place.loc)?;
        }
        if miss.places.len() > places {
            writeln!(out, "      and {} more", grouped((miss.places.len() - places) as u64))?;
        }
    }
    let total: usize = misses.iter().map(|miss| miss.places.len()).sum();
    let misses =
        if total == 1 { "near miss".to_owned() } else { format!("{} near misses", grouped(total as u64)) };
    let misses = if total == 1 { format!("1 {misses}") } else { misses };
    writeln!(out, "{}, {misses}", counted(changes, "change"))
}
