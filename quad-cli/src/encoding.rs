//! How encodings are made of statistics: the options that all commands share which make profiles, for a file or to measure.

use quad_backends::target;
use quad_ir::graph::Graph;
use quad_passes::lora::expose::Form;
use quad_quantize::insert::{self, Encodings};
use quad_quantize::precision::{Mixed, Pattern, Precision};
use quad_quantize::profile::make::{self, Options};
use quad_quantize::profile::scores::UNIFIED;
use quad_quantize::profile::{Anchor, Profile};
use quad_quantize::ranges::Method;
use quad_quantize::ranges::weights::WeightMethod;
use quad_quantize::rules::Rules;

use crate::exit::Failure;
use crate::measuring::{Calibrated, Opened};
use crate::patterns::{self, Reach};
use crate::targets::TARGETS;

/// How encodings are made of statistics.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Encoding {
    /// Bits of weights, activations and slots, such as `w8a16`, `w8a8` or `w8a16-slots8`.
    #[arg(long, value_name = "PRECISION", default_value_t)]
    pub(crate) precision: Precision,
    /// Another precision for values or modules whose whole name a pattern fits, with * for any text, such as
    /// `*mid_block*=w8a8`; the last that fits decides.
    #[arg(long, value_name = "PATTERN=PRECISION", value_parser = mixed)]
    mixed: Vec<(Pattern, Precision)>,
    /// Values or modules that stay floats, with * for any text. May be given several times.
    #[arg(long = "float", value_name = "PATTERN")]
    floats: Vec<Pattern>,
    /// What the target asks of encodings: litert (for the targets litert, litert-qualcomm and exynos), qnn (for qnn), neuropilot
    /// (for neuropilot, litert, litert-qualcomm and exynos), exynos (for exynos, litert and litert-qualcomm), or reference, which
    /// `quad quantize` takes and no target does. The name of a target stands for the first that serve it.
    #[arg(long, visible_alias = "target", value_name = "RULES", default_value = "reference", value_parser = rules)]
    rules: Rules,
    /// How ranges of activations are found: min-max, percentile=P, entropy, mse or moving-average=D.
    #[arg(long, value_name = "METHOD", default_value_t)]
    method: Method,
    /// How scales of weights are found: per-channel or per-tensor, with -mse to shrink them where that lessens the error.
    #[arg(long, value_name = "METHOD", default_value_t)]
    weights: WeightMethod,
    /// The model was exposed with `--form rank-normalized`: one encoding of the slots fits all adapters.
    #[arg(long)]
    rank_normalized: bool,
    /// One scale for both factors of a site and the weight beside them.
    #[arg(long)]
    site_scales: bool,
}

fn mixed(text: &str) -> Result<(Pattern, Precision), String> {
    let (name, precision) =
        text.rsplit_once('=').ok_or("expected PATTERN=PRECISION, such as '*mid_block*=w8a16'")?;
    let pattern = name.parse().map_err(|error: quad_quantize::precision::BadPattern| error.to_string());
    let precision =
        precision.parse().map_err(|error: quad_quantize::precision::UnknownPrecision| error.to_string());
    Ok((pattern?, precision?))
}

/// Reads the name of rules, or of a target, which stands for the first rules that serve it.
pub(crate) fn rules(text: &str) -> Result<Rules, String> {
    let first = target::info(TARGETS, text).ok().and_then(|target| target.rules.first());
    Rules::preset(first.copied().unwrap_or(text)).map_err(|error| error.to_string())
}

impl Encoding {
    /// What profiles are to be like, with the precision that was asked for.
    pub(crate) fn options(&self) -> Options {
        self.options_with(&Mixed::uniform(self.precision))
    }

    /// As [`options`](Self::options) with another precision, which what a pattern fits does not follow.
    fn options_with(&self, mixed: &Mixed) -> Options {
        let mut mixed = mixed.clone();
        mixed.patterns.extend(self.mixed.iter().cloned());
        Options {
            floats: self.floats.clone(),
            method: self.method,
            weights: self.weights,
            slots: if self.rank_normalized { Form::RankNormalized } else { Form::Plain },
            site_scales: self.site_scales,
            ..Options::new(self.rules.clone(), mixed)
        }
    }

    /// What the patterns reach in `profile`, which was made with them for `graph`.
    pub(crate) fn reach_in(&self, graph: &Graph, profile: &Profile) -> Vec<Reach> {
        patterns::reach(graph, profile, self.mixed.iter().map(|(pattern, _)| pattern), &self.floats)
    }

    /// What the patterns reach in what is measured, in `precision`.
    pub(crate) fn reach(&self, opened: &Opened, precision: Precision) -> Result<Vec<Reach>, Failure> {
        if self.mixed.is_empty() && self.floats.is_empty() {
            return Ok(Vec::new());
        }
        let profile = self.profile(&opened.calibrated, &opened.names(), &Mixed::uniform(precision))?;
        Ok(self.reach_in(&opened.calibrated.graph, &profile))
    }

    /// The profile for `adapters`: of one alone, or of several together.
    pub(crate) fn profile(
        &self,
        statistics: &Calibrated,
        adapters: &[&str],
        mixed: &Mixed,
    ) -> Result<Profile, Failure> {
        let choice = if let [only] = adapters { *only } else { UNIFIED };
        let names = adapters.iter().map(|name| (*name).to_owned()).collect();
        let anchor = Anchor {
            choice: choice.to_owned(),
            reason: "measured as a candidate".to_owned(),
            adapters: names,
        };
        let made =
            make::make_for(&statistics.graph, &statistics.statistics, &anchor, &self.options_with(mixed));
        Ok(made.map_err(Failure::input)?.profile)
    }

    /// The encodings for `adapters`.
    pub(crate) fn of(&self, opened: &Opened, adapters: &[&str], mixed: &Mixed) -> Result<Encodings, Failure> {
        Ok(insert::of_profile(&self.profile(&opened.calibrated, adapters, mixed)?))
    }

    /// The encodings for `adapters` with the precision that was asked for.
    pub(crate) fn uniform(&self, opened: &Opened, adapters: &[&str]) -> Result<Encodings, Failure> {
        self.of(opened, adapters, &Mixed::uniform(self.precision))
    }
}
