//! `quad profile export`: encodings for other tools.

use std::io::Write;
use std::path::PathBuf;

use quad_ir::whole_file::WholeFile;
use quad_quantize::interchange::Format;
use quad_quantize::interchange::convert;

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::{output, profiles};

/// Write the encodings of a profile as other tools read them, and say what their format has no place for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile export unet.profile --format aimet-1.0.0 -o encodings.json
  quad profile export unet.profile --format aimet-0.6.1 -o overrides.json --json")]
pub(crate) struct Arguments {
    /// The profile.
    profile: PathBuf,
    /// aimet-0.6.1, aimet-1.0.0 or aimet-2.0.0.
    #[arg(long, value_parser = super::format)]
    format: Format,
    /// The file to write.
    #[arg(short, long)]
    output: PathBuf,
    /// Print what got lost as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    Files::default().reads("the profile", &arguments.profile).writes([&arguments.output]).check()?;
    let profile = profiles::read(&arguments.profile)?;
    let (encodings, report) = convert::export(&profile, arguments.format);
    let write = || {
        let mut file = WholeFile::create(&arguments.output)?;
        file.write_all(encodings.to_text(arguments.format).as_bytes())?;
        file.publish()
    };
    let failed = |error| Failure::message(format!("`{}`: {error}", arguments.output.display()));
    write().map_err(failed)?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &report)?;
        return Ok(Outcome::Done);
    }
    writeln!(out, "{} of {} encodings", encodings.tensors.len(), profile.entries.len())?;
    super::losses(&report, out)?;
    super::written(&arguments.output, out)?;
    Ok(Outcome::Done)
}
