//! `quad profile import`: encodings of other tools.

use std::fs;
use std::path::PathBuf;

use quad_quantize::interchange::convert;
use quad_quantize::interchange::{Encodings, Format};
use quad_quantize::rules::{Rules, graph};

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::{output, statistics};

/// Make a profile of encodings that another tool wrote, and say what of them has no place in the model.
///
/// The statistics say which model the profile is for; its rules decide what the file does not say.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile import encodings.json --format aimet-0.6.1 --stats unet.stats -o unet.profile")]
pub(crate) struct Arguments {
    /// The file of encodings.
    file: PathBuf,
    /// aimet-0.6.1, aimet-1.0.0 or aimet-2.0.0.
    #[arg(long, value_parser = super::format)]
    format: Format,
    /// What `quad calibrate` wrote for the model.
    #[arg(long)]
    stats: PathBuf,
    /// What the target asks of encodings: reference, litert, qnn, neuropilot, exynos, or the name of a target.
    #[arg(long, visible_alias = "target", value_name = "PRESET", default_value = "reference", value_parser = crate::encoding::rules)]
    rules: Rules,
    /// The profile to write.
    #[arg(short, long)]
    output: PathBuf,
    /// Print what got lost as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let files =
        Files::default().reads("the encodings", &arguments.file).reads("the statistics", &arguments.stats);
    files.writes([&arguments.output]).check()?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::message(format!("`{}`: {error}", arguments.file.display()));
    let text = fs::read_to_string(&arguments.file).map_err(|error| failed(&error))?;
    let encodings = Encodings::from_text(&text, arguments.format).map_err(|error| failed(&error))?;
    let statistics = statistics::read(&arguments.stats).map_err(Failure::input)?;
    let graph = graph::read(&statistics.model.text).map_err(Failure::input)?;
    let (profile, report) =
        convert::import(&encodings, arguments.format, &graph, &statistics, &arguments.rules)
            .map_err(Failure::input)?;
    if profile.entries.is_empty() {
        return Err(Failure::message(format!(
            "`{}`: none of its {} tensors has an encoding in the model of `{}`; names are those of the values of the \
             model, and what is wrong with them is\n{}",
            arguments.file.display(),
            encodings.tensors.len(),
            arguments.stats.display(),
            report.to_string().trim_end()
        )));
    }
    profile.write(&arguments.output).map_err(Failure::input)?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &report)?;
        return Ok(Outcome::Done);
    }
    super::show::summary(&profile, out)?;
    super::losses(&report, out)?;
    super::written(&arguments.output, out)?;
    Ok(Outcome::Done)
}
