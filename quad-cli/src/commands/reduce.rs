//! `quad reduce`: shrinks a model that a pipeline fails on.

use std::io::{self, Write};
use std::path::PathBuf;

use quad_ir::text;
use quad_passes::bench::{Bench, Reduced};
use quad_passes::registry::Registry;
use serde::Serialize;

use super::pipeline::{Comparison, Subject};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::model::Format;
use crate::output;
use crate::progress::Progress;
use crate::table::{counted, grouped};

/// Shrink a model that a pipeline fails on.
///
/// The pipeline fails when a pass panics, gives up, leaves a graph that is not valid, or changes what is computed. Outputs
/// are dropped, nodes become inputs or one of their operands, sizes become smaller, as long as it fails the same way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad reduce unet.onnx -p npu -o small.quad
  quad reduce unet.onnx -p npu --skip cse -o small.quad --limit 500

Inputs are drawn anew for every model that is tried, so there are none to give.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The file to write, .quad.
    #[arg(short, long, value_name = "SMALL.quad")]
    output: PathBuf,
    #[command(flatten)]
    comparison: Comparison,
    /// Smaller models to try at most.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    limit: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    pass: String,
    message: String,
    nodes_before: usize,
    nodes: usize,
    tried: usize,
    command: String,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let subject = &arguments.subject;
    if Format::of(&arguments.output).map_err(Failure::input)? != Format::Text {
        return Err(Failure::message("the smaller model is a text: OUT must end in .quad"));
    }
    if arguments.comparison.inputs.is_some() {
        return Err(Failure::message(
            "inputs are drawn anew for every model that is tried: give --seed, not --inputs",
        ));
    }
    Files::default().reads_model(&subject.model).writes([&arguments.output]).check()?;
    let pipeline = subject.pipeline(registry)?;
    let module = subject.module()?;
    let settings = arguments.comparison.settings(&module, subject)?;
    let reduced = {
        let progress = Progress::new("trying");
        let mut set = |tried, _nodes| progress.set(tried, arguments.limit);
        Bench::new(&pipeline, settings).reduce(&module, arguments.limit, &mut set).map_err(Failure::input)?
    };
    let reduced = reduced.ok_or_else(|| {
        Failure::message("the pipeline does not fail on this model, so there is nothing to reduce")
    })?;
    text::write_files(&arguments.output, &reduced.module).map_err(Failure::input)?;
    let report = Report::of(&module, &reduced, arguments);
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &report)?;
    } else {
        report.print(&reduced, arguments, out)?;
    }
    Ok(Outcome::Done)
}

impl Report {
    fn of(module: &quad_ir::module::Module, reduced: &Reduced, arguments: &Arguments) -> Self {
        let count =
            |module: &quad_ir::module::Module| module.graphs.iter().map(|graph| graph.nodes().count()).sum();
        let check = if reduced.failure.kind.is_numeric() { " --check-each" } else { " --verify-each" };
        let command = format!(
            "quad opt {} {}{check}{}",
            arguments.output.display(),
            arguments.subject.arguments(),
            arguments.comparison.arguments()
        );
        Self {
            kind: reduced.failure.kind.name(),
            pass: reduced.failure.pass.clone(),
            message: reduced.failure.message.clone(),
            nodes_before: count(module),
            nodes: count(&reduced.module),
            tried: reduced.tried,
            command,
        }
    }

    fn print(&self, reduced: &Reduced, arguments: &Arguments, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", reduced.failure)?;
        let (before, after) = (grouped(self.nodes_before as u64), counted(self.nodes, "node"));
        writeln!(out, "{before} nodes became {after}, of {} tried", counted(self.tried, "smaller model"))?;
        writeln!(out, "written to {}; see it with\n  {}", arguments.output.display(), self.command)
    }
}
