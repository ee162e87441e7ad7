//! `quad profile rules`: what targets ask of encodings.

use std::io::Write;

use quad_quantize::rules::{PRESETS, Rules};

use crate::exit::{Failure, Outcome};
use crate::output;

/// List what targets ask of encodings, and where each rule comes from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile rules
  quad profile rules qnn")]
pub(crate) struct Arguments {
    /// One preset: reference, litert, qnn, neuropilot or exynos.
    #[arg(value_parser = crate::encoding::rules)]
    preset: Option<Rules>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let out = &mut output::stdout();
    let presets = arguments.preset.as_ref().map_or(PRESETS.as_slice(), std::slice::from_ref);
    for (index, rules) in presets.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", rules.name)?;
        for line in rules.to_string().lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(Outcome::Done)
}
