//! Runs a pipeline on random graphs and compares what they compute before and after every pass.
//!
//! ```text
//! cargo run -p quad-tests --bin random-graphs -- --count 10000 --pipeline npu
//! ```

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use indicatif::{ParallelProgressIterator, ProgressBar};
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_tests::generate::{Fault, Fired, Trial};
use rayon::prelude::*;

/// Run a pipeline on random graphs and compare what they compute before and after every pass.
#[derive(Debug, Parser)]
#[command(after_help = "Example:
  random-graphs --count 10000 --pipeline 'canonicalize,(cse,dce)*' --out faults

Prints how often each rule fired, and the graphs on which the pipeline fails; the exit code is 1 when there are any.")]
struct Arguments {
    /// Graphs.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// The seed of the first graph; the others follow.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Nodes of a graph, about.
    #[arg(long, default_value_t = 60)]
    nodes: usize,
    /// Passes in the order in which they run.
    #[arg(short, long)]
    pipeline: String,
    /// Folder for graphs that show a fault.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pipeline = match Pipeline::parse(&arguments.pipeline, &Registry::standard()) {
        Ok(pipeline) => pipeline,
        Err(error) => return end(&format!("error: {error}"), 2),
    };
    let trial = Trial::new(&pipeline, arguments.nodes);
    let total = Mutex::new(Fired::new());
    let bar =
        if io::stderr().is_terminal() { ProgressBar::new(arguments.count) } else { ProgressBar::hidden() };
    let run = |seed: u64| match trial.run(seed, Some(&arguments.out)) {
        Ok(fired) => {
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            for (rule, count) in fired {
                *total.entry(rule).or_default() += count;
            }
            None
        }
        Err(fault) => Some(fault),
    };
    let seeds = arguments.seed..arguments.seed.saturating_add(arguments.count);
    let faults: Vec<Fault> = seeds.into_par_iter().progress_with(bar).filter_map(run).collect();
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let changes: usize = total.values().sum();
    let rule = |((pass, rule), count): (&(String, &str), &usize)| format!("{count:>9}  {pass}: {rule}");
    let mut report: Vec<String> = total.iter().map(rule).collect();
    report.extend(faults.iter().map(ToString::to_string));
    report.push(format!("{} graphs, {changes} changes, {} faults", arguments.count, faults.len()));
    end(&report.join("\n"), u8::from(!faults.is_empty()))
}

fn end(report: &str, code: u8) -> ExitCode {
    // Without a place to print to there is nobody to tell.
    let _ = writeln!(io::stdout(), "{report}");
    ExitCode::from(code)
}
