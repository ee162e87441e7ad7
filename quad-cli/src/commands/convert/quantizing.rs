//! Quantizing on the way: a float model gets stored integers before it is converted.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use quad_backends::target::TargetInfo;
use quad_build::quantized::{self, Form};
use quad_build::{frozen, statistics};
use quad_ir::module::Module;
use quad_quantize::precision::Precision;
use quad_quantize::profile::Profile;
use quad_quantize::profile::anchor::AnchorRule;
use quad_quantize::sensitivity::choice::MARGIN;

use crate::destination::Files;
use crate::exit::Failure;
use crate::freezing::freeze;
use crate::{output, profiles};

/// Where encodings come from.
#[derive(Debug, clap::Args)]
pub(super) struct Quantizing {
    /// Quantize the model as this profile says; the model and the adapters are those that its statistics are of.
    #[arg(long, value_name = "P", requires = "target", conflicts_with = "stats")]
    profile: Option<PathBuf>,
    /// Quantize the model by a profile that is made of these statistics, by the rules of the target.
    #[arg(long, value_name = "STATS", requires = "target")]
    stats: Option<PathBuf>,
    /// With --stats: the adapter whose encodings all share, or `unified`.
    #[arg(long, value_name = "NAME", default_value = "unified", requires = "stats")]
    anchor: String,
}

/// How a model is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// In floats of 32 bits, but for what is quantized already.
    Single,
    /// In floats of 16 bits, but for what is quantized already.
    Half,
    /// In integers.
    Integers(Precision),
}

impl FromStr for Stored {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::Single),
            "f16" => Ok(Self::Half),
            _ => text
                .parse()
                .map(Self::Integers)
                .map_err(|_| format!("`{text}` is no precision: expected f32, f16, or bits such as w8a16")),
        }
    }
}

/// The model at `path`, quantized for `target` where that is asked for; `None` where it is not.
pub(super) fn quantized(
    path: &Path,
    adapters: &[frozen::Named],
    asked: &Quantizing,
    stored: Stored,
    target: &TargetInfo,
) -> Result<Option<Module>, Failure> {
    let Some(profile) = asked.profile(path, stored, target)? else { return Ok(None) };
    let frozen = freeze(path, adapters, &[])?;
    let mut module = frozen.module;
    let report =
        quantized::quantize(&mut module, &frozen.digest, &profile, Form::Typed).map_err(Failure::input)?;
    for said in quantized::disagreements(&report) {
        output::warning(&said);
    }
    Ok(Some(module))
}

impl Quantizing {
    /// `files` and what encodings come from.
    pub(super) fn files(&self, files: Files) -> Files {
        let files = files.reads_given("the profile", self.profile.as_ref());
        files.reads_given("the statistics", self.stats.as_ref())
    }

    /// The profile that is given or made, which fits `target`.
    fn profile(&self, model: &Path, stored: Stored, target: &TargetInfo) -> Result<Option<Profile>, Failure> {
        let precision = match stored {
            Stored::Integers(precision) => Some(precision),
            Stored::Single | Stored::Half => None,
        };
        if let Some(path) = &self.profile {
            let profile = profiles::read(path)?;
            quantized::check_rules(&profile, target).map_err(Failure::input)?;
            return match precision.filter(|precision| *precision != profile.precision) {
                None => Ok(Some(profile)),
                Some(asked) => Err(Failure::message(format!(
                    "--precision {asked}: the profile `{}` is one of {}; leave --precision out, or make a profile of {asked}",
                    path.display(),
                    profile.precision
                ))),
            };
        }
        if let Some(path) = &self.stats {
            let statistics = statistics::read(path).map_err(Failure::input)?;
            let anchor = AnchorRule::named(&self.anchor, MARGIN);
            let made = quantized::profile_for(target, &statistics, &anchor, precision.unwrap_or_default())
                .map_err(Failure::input)?;
            made.notes.iter().for_each(|note| output::note(note));
            return Ok(Some(made.profile));
        }
        let Some(precision) = precision else { return Ok(None) };
        let (model, target) = (model.display(), target.name);
        Err(Failure::message(format!(
            "--precision {precision}: the ranges of activations are not known; calibrate first, and convert with what that found:\n  \
             quad calibrate {model} --adapter NAME=PATH --data NAME=SAMPLES -o STATS\n  \
             quad convert {model} --target {target} --precision {precision} --adapter NAME=PATH --stats STATS -o OUT"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_floats_or_bits() {
        assert_eq!("f16".parse(), Ok(Stored::Half));
        assert_eq!("w8a16".parse(), Ok(Stored::Integers(Precision::W8A16)));
        assert!("int8".parse::<Stored>().is_err_and(|error| error.contains("w8a16")));
    }
}
