//! `quad conformance`: runs test cases laid out as ONNX's backend tests are.

mod cases;
mod check;

use std::io::{self, Write};
use std::path::PathBuf;

use rayon::prelude::*;
use regex::Regex;
use serde::Serialize;

use super::compare::tolerance;
use crate::exit::{Failure, Outcome};
use crate::output;
use cases::Stated;
use check::{Report, Status};

/// Run test cases laid out as ONNX's backend tests are.
///
/// A case is a folder with `model.onnx` and `test_data_set_*/{input,output}_*.pb`. It passes when every output has the
/// expected type, sizes and elements: |found - expected| <= atol + rtol * |expected|. A `tolerance.json` in its folder,
/// such as `{"rtol": 1e-3, "atol": 1e-7}`, overrides the default; --rtol and --atol override both.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad conformance target/conformance
  quad conformance target/conformance --filter '^node/test_conv' --json

The exit code is 1 when a case failed; unsupported cases are no failure.")]
pub(crate) struct Arguments {
    /// Folders to search for cases, at any depth.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Run only cases whose name, the path below DIR, matches this regular expression.
    #[arg(long, value_name = "RE")]
    filter: Option<Regex>,
    /// Relative tolerance for all cases.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = tolerance)]
    rtol: Option<f64>,
    /// Absolute tolerance for all cases.
    #[arg(long, value_name = "Y", allow_negative_numbers = true, value_parser = tolerance)]
    atol: Option<f64>,
    /// Number of cases to run at a time; by default one for each processor.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Print totals and cases as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    unsupported: usize,
    cases: Vec<Report>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut cases = cases::find(&arguments.folders).map_err(Failure::input)?;
    if cases.is_empty() {
        return Err(Failure::message(format!(
            "there is no case below {}; expected folders with `model.onnx` and `test_data_set_0`",
            arguments
                .folders
                .iter()
                .map(|folder| format!("`{}`", folder.display()))
                .collect::<Vec<_>>()
                .join(", "),
        )));
    }
    if let Some(filter) = &arguments.filter {
        cases.retain(|case| filter.is_match(&case.name));
        if cases.is_empty() {
            return Err(Failure::message(format!("no case has a name that matches `{filter}`")));
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.jobs.unwrap_or(0)).build();
    let pool = pool.map_err(Failure::input)?;
    let reports = pool.install(|| {
        let options = Stated { rtol: arguments.rtol, atol: arguments.atol };
        cases.par_iter().map(|case| check::check(case, options)).collect()
    });
    let summary = Summary::new(reports);
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &summary)?;
    } else {
        summary.print(out)?;
    }
    Ok(if summary.failed == 0 { Outcome::Done } else { Outcome::DoesNotHold })
}

impl Summary {
    fn new(cases: Vec<Report>) -> Self {
        let count = |status| cases.iter().filter(|case| case.status == status).count();
        Self {
            passed: count(Status::Passed),
            failed: count(Status::Failed),
            unsupported: count(Status::Unsupported),
            cases,
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for Report { name, status, detail } in &self.cases {
            let label = match status {
                Status::Passed => continue,
                Status::Failed => "failed",
                Status::Unsupported => "unsupported",
            };
            // A detail of several lines stays below its case.
            writeln!(out, "{label:<11}  {name}: {}", detail.replace('\n', "\n               "))?;
        }
        let Self { passed, failed, unsupported, cases } = self;
        writeln!(out, "{passed} passed, {failed} failed, {unsupported} unsupported of {} cases", cases.len())
    }
}
