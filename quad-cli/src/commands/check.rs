//! `quad check`: says what a target takes of a model, before anything is written.

use std::io::Write;
use std::path::PathBuf;

use quad_backends::report::Report;
use quad_backends::target;
use quad_passes::registry::Registry;
use serde::Serialize;

use super::pipeline::size;
use crate::exit::{Failure, Outcome};
use crate::table::{Align, Table, counted};
use crate::targets::{TARGETS, make_legal};
use crate::{model, output};

/// Say what a target takes of a model.
///
/// The passes of the target run first, as when the model is converted. Each node is legal or not, with every reason; a
/// compiler would cut the graph into the partitions that are shown, and leave the rest to another processor. Ends with 1
/// where anything is not legal.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad check --target litert unet.onnx
  quad check --target neuropilot --arch mdla5.5 unet.onnx
  quad check --target qnn --soc SM8750 quantized.quad
  quad check --target litert quantized.quad --json")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// What it is checked for: litert, neuropilot, exynos, litert-qualcomm or qnn.
    #[arg(long, value_name = "TARGET")]
    target: String,
    /// The generation of hardware or the chip, where the target knows several; the newest unless given.
    #[arg(long, visible_alias = "soc", value_name = "ARCH")]
    arch: Option<String>,
    /// The value of a symbolic size, 1 by default; may be given more than once.
    #[arg(long = "size", value_name = "NAME=N", value_parser = size)]
    sizes: Vec<(String, u64)>,
    /// Nodes that are named for each reason.
    #[arg(long, value_name = "N", default_value_t = 3)]
    places: usize,
    /// Print one JSON object, with all nodes.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Findings {
    #[serde(flatten)]
    report: Report,
    /// The passes that came first.
    pipeline: String,
    notes: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let target =
        target::find(TARGETS, &arguments.target, arguments.arch.as_deref()).map_err(Failure::input)?;
    let mut module = model::open(&arguments.model).map_err(Failure::input)?;
    let mut notes = Vec::new();
    let sizes = arguments.sizes.iter().cloned().collect();
    make_legal(&mut module, &*target, &sizes, registry, &mut notes)?;
    let graph = model::main_graph(&module, &arguments.model).map_err(Failure::input)?;
    let report = Report::new(target.name(), graph, &target.verdicts(graph));
    let outcome = if report.legal { Outcome::Done } else { Outcome::DoesNotHold };
    let findings = Findings { report, pipeline: target.pipeline(), notes };
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &findings)?;
    } else {
        findings.notes.iter().for_each(|note| output::note(note));
        print(&findings.report, arguments.places, out)?;
    }
    Ok(outcome)
}

fn print(report: &Report, places: usize, out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right]);
    table.row(["operation", "nodes", "legal"]);
    for (name, count) in &report.operations {
        table.row([(*name).to_owned(), count.nodes.to_string(), count.legal.to_string()]);
    }
    table.print("", out)?;
    for (reason, nodes) in report.by_reason() {
        writeln!(out, "\n{} x {reason}", nodes.len())?;
        for node in nodes.iter().take(places) {
            writeln!(out, "    {} : {} from {}", node.node, node.ty, node.origin)?;
        }
        if nodes.len() > places {
            writeln!(out, "    and {} more", nodes.len() - places)?;
        }
    }
    writeln!(
        out,
        "\n{}: {} of {} legal, {}",
        report.target,
        report.legal_nodes,
        counted(report.nodes, "node"),
        counted(report.partitions.len(), "partition")
    )
}
