//! `quad bisect`: finds the one change of a pipeline that breaks a model.

use std::io::{self, Write};

use quad_passes::bench::{Bench, Bisection, Culprit};
use quad_passes::registry::Registry;
use serde::Serialize;

use super::pipeline::{Comparison, NodeLine, Subject};
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::table::{counted, grouped};

/// Find the one change of a pipeline that breaks a model.
///
/// The pipeline fails when a pass panics, gives up, leaves a graph that is not valid, or changes what is computed. The
/// change after which it does is found by running it with less and less fuel, which every change takes one of.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad bisect unet.onnx -p npu
  quad bisect unet.onnx -p npu --inputs inputs.npz --tolerance 1e-3 --json

The exit code is 1 when the pipeline fails, and 0 when it holds.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    comparison: Comparison,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Default, Serialize)]
struct Report {
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<u64>,
    #[serde(flatten)]
    culprit: Option<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    kind: &'static str,
    pass: String,
    message: String,
    change: u64,
    rule: Option<&'static str>,
    node: Option<NodeLine>,
    before: Vec<String>,
    after: Vec<String>,
    runs: usize,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let subject = &arguments.subject;
    let pipeline = subject.pipeline(registry)?;
    let module = subject.module()?;
    let settings = arguments.comparison.settings(&module, subject)?;
    let found = Bench::new(&pipeline, settings).bisect(&module).map_err(Failure::input)?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &Report::of(&found))?;
    } else {
        match &found {
            Bisection::Holds { changes } => {
                writeln!(out, "the pipeline holds: {}", counted(*changes as usize, "change"))?;
            }
            Bisection::Fails(culprit) => print(culprit, arguments, out)?,
        }
    }
    Ok(if matches!(found, Bisection::Holds { .. }) { Outcome::Done } else { Outcome::DoesNotHold })
}

impl Report {
    fn of(found: &Bisection) -> Self {
        match found {
            Bisection::Holds { changes } => Self { holds: true, changes: Some(*changes), culprit: None },
            Bisection::Fails(culprit) => Self { culprit: Some(Line::of(culprit)), ..Self::default() },
        }
    }
}

impl Line {
    fn of(culprit: &Culprit) -> Self {
        let witness = culprit.witness.clone().unwrap_or_default();
        Self {
            kind: culprit.failure.kind.name(),
            pass: culprit.failure.pass.clone(),
            message: culprit.failure.message.clone(),
            change: culprit.change,
            rule: culprit.rule,
            node: culprit.place.as_ref().map(NodeLine::of),
            before: witness.before,
            after: witness.after,
            runs: culprit.runs,
        }
    }
}

fn print(culprit: &Culprit, arguments: &Arguments, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", culprit.failure)?;
    let number = grouped(culprit.change);
    match (&culprit.place, culprit.rule) {
        (Some(place), Some(rule)) => {
            writeln!(out, "change {number} breaks it: rule `{rule}` at {place} from {}", place.loc)?;
        }
        _ if culprit.change == 0 => writeln!(out, "it fails whatever was changed before")?,
        _ => writeln!(out, "it fails while change {number} is worked out")?,
    }
    if let Some(witness) = &culprit.witness {
        for (title, lines) in [("before", &witness.before), ("after", &witness.after)] {
            writeln!(out, "\n{title}")?;
            lines.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "found in {}; see it with", counted(culprit.runs, "run"))?;
    let (subject, comparison) = (&arguments.subject, &arguments.comparison);
    let model = subject.model.display();
    writeln!(
        out,
        "  quad opt {model} {} --check-each{} --fuel {}",
        subject.arguments(),
        comparison.arguments(),
        culprit.change
    )
}
