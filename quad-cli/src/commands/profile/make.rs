//! `quad profile make`: encodings from statistics.

use std::fs;
use std::path::{Path, PathBuf};

use quad_passes::lora::expose::Form;
use quad_quantize::precision::{Mixed, Pattern, Precision};
use quad_quantize::profile::anchor::{self, AnchorRule};
use quad_quantize::profile::make::{Options, make};
use quad_quantize::profile::scores::Scores;
use quad_quantize::ranges::Method;
use quad_quantize::ranges::weights::WeightMethod;
use quad_quantize::rules::Rules;
use quad_quantize::sensitivity::choice::MARGIN;

use crate::exit::{Failure, Outcome};
use crate::{output, statistics};

/// Make a profile of what calibration found.
///
/// The anchor is the adapter whose ranges all share: one by name, `unified` for all of them together, `qss` for the one
/// with the highest sensitivity, or `auto` for what was measured best. The last two need scores from `quad qss -o`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile make unet.stats --anchor unified -o unet.profile
  quad profile make unet.stats --anchor auto --scores unet.scores --rules qnn -o unet.profile
  quad profile make unet.stats --anchor edge --precision w8a8 --mixed 'mid_block.*=w8a16' --method percentile=99.99 -o p.profile")]
pub(crate) struct Arguments {
    /// What `quad calibrate` wrote.
    stats: PathBuf,
    /// The profile to write.
    #[arg(short, long)]
    output: PathBuf,
    /// The adapter whose encodings all share, `unified`, `qss` or `auto`.
    #[arg(long, value_name = "NAME")]
    anchor: String,
    /// Scores that `quad qss -o` wrote.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// With `qss`: where the two highest scores differ by less than this part of the highest, take `unified`.
    #[arg(long, value_name = "PART", default_value_t = MARGIN)]
    margin: f64,
    /// Bits of weights, activations and slots, such as `w8a16`, `w8a8` or `w8a16-slots8`.
    #[arg(long, default_value = "w8a16")]
    precision: Precision,
    /// Another precision for values or modules that a pattern fits; the last that fits decides.
    #[arg(long, value_name = "PATTERN=PRECISION", value_parser = mixed)]
    mixed: Vec<(Pattern, Precision)>,
    /// Values or modules that stay floats.
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    float: Vec<Pattern>,
    /// What the target asks of encodings: reference, litert, qnn, neuropilot or exynos.
    #[arg(long, value_name = "PRESET", default_value = "reference", value_parser = super::rules)]
    rules: Rules,
    /// How ranges of activations are found: min-max, percentile=P, entropy, mse or moving-average=D.
    #[arg(long, default_value_t = Method::default())]
    method: Method,
    /// How scales of weights are found: per-channel or per-tensor, with -mse to shrink them where that lessens the error.
    #[arg(long, default_value_t = WeightMethod::default())]
    weights: WeightMethod,
    /// The model was exposed with `--form rank-normalized`: one encoding of the slots fits all adapters.
    #[arg(long)]
    rank_normalized: bool,
    /// One scale for both factors of a site and the weight beside them.
    #[arg(long)]
    site_scales: bool,
}

fn pattern(text: &str) -> Result<Pattern, String> {
    text.parse().map_err(|error: quad_quantize::precision::BadPattern| error.to_string())
}

fn mixed(text: &str) -> Result<(Pattern, Precision), String> {
    let (name, precision) =
        text.rsplit_once('=').ok_or("expected PATTERN=PRECISION, such as 'mid_block.*=w8a16'")?;
    let precision =
        precision.parse().map_err(|error: quad_quantize::precision::UnknownPrecision| error.to_string());
    Ok((pattern(name)?, precision?))
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let statistics = statistics::read(&arguments.stats).map_err(Failure::input)?;
    let scores = arguments.scores.as_deref().map(read_scores).transpose()?;
    let rule = AnchorRule::named(&arguments.anchor, arguments.margin);
    let anchor = anchor::choose(&rule, &statistics, scores.as_ref()).map_err(Failure::input)?;
    let made = make(&statistics, &anchor, &options(arguments)).map_err(Failure::input)?;
    made.profile.write(&arguments.output).map_err(Failure::input)?;
    made.notes.iter().for_each(|note| output::note(note));
    super::show::summary(&made.profile, &mut output::stdout())?;
    super::written(&arguments.output, &mut output::stdout())?;
    Ok(Outcome::Done)
}

fn options(arguments: &Arguments) -> Options {
    let mixed = Mixed { patterns: arguments.mixed.clone(), ..Mixed::uniform(arguments.precision) };
    Options {
        floats: arguments.float.clone(),
        method: arguments.method,
        weights: arguments.weights,
        slots: if arguments.rank_normalized { Form::RankNormalized } else { Form::Plain },
        site_scales: arguments.site_scales,
        ..Options::new(arguments.rules.clone(), mixed)
    }
}

fn read_scores(path: &Path) -> Result<Scores, Failure> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| Failure::message(format!("`{}`: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::message(format!(
            "`{}` is no file of scores, as `quad qss -o` writes: {error}",
            path.display()
        ))
    })
}
