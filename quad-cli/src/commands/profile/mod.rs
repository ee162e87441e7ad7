//! `quad profile`: the encodings that all adapters of a model share, one file for each command.

mod diff;
mod export;
mod import;
mod make;
mod rules;
mod show;

use std::io::{self, Write};
use std::path::Path;

use quad_quantize::interchange::Format;
use quad_quantize::interchange::convert::Report;

use crate::exit::{Failure, Outcome};

/// Make, show, compare and exchange profiles: one encoding for each value of a model, whatever the adapter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile make unet.stats --anchor unified --precision w8a16 -o unet.profile
  quad profile show unet.profile
  quad profile diff unified.profile edge.profile
  quad profile export unet.profile --format aimet-1.0.0 -o encodings.json
  quad profile import encodings.json --format aimet-0.6.1 --stats unet.stats -o unet.profile
  quad profile rules qnn")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Make(make::Arguments),
    Show(show::Arguments),
    Diff(diff::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Rules(rules::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Make(arguments) => make::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Rules(arguments) => rules::run(arguments),
    }
}

/// Reads the name of a format.
fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: quad_quantize::interchange::UnknownFormat| error.to_string())
}

/// Says what got lost, if anything did.
fn losses(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.losses.is_empty() {
        return writeln!(out, "nothing got lost");
    }
    writeln!(out, "lost:")?;
    report.to_string().lines().try_for_each(|line| writeln!(out, "  {line}"))
}

fn written(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "written to {}", path.display())
}
