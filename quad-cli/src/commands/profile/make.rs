//! `quad profile make`: encodings from statistics.

use std::fs;
use std::path::{Path, PathBuf};

use quad_quantize::profile::anchor::{self, AnchorRule};
use quad_quantize::profile::make::make_for;
use quad_quantize::profile::scores::Scores;
use quad_quantize::rules::graph;
use quad_quantize::sensitivity::choice::MARGIN;

use crate::destination::Files;
use crate::encoding::Encoding;
use crate::exit::{Failure, Outcome};
use crate::{output, patterns, statistics};

/// Make a profile of what calibration found.
///
/// The anchor is the adapter whose ranges all share: one by name, `unified` for all of them together, `qss` for the one
/// with the highest sensitivity, or `auto` for what was measured best. The last two need scores from `quad qss -o`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile make unet.stats --anchor unified -o unet.profile
  quad profile make unet.stats --anchor auto --scores unet.scores --rules qnn -o unet.profile
  quad profile make unet.stats --anchor edge --precision w8a8 --mixed '*mid_block*=w8a16' --method percentile=99.99 -o p.profile")]
pub(crate) struct Arguments {
    /// What `quad calibrate` wrote.
    stats: PathBuf,
    /// The profile to write.
    #[arg(short, long)]
    output: PathBuf,
    /// The adapter whose encodings all share, `unified`, `qss` or `auto`; or some adapters that share a profile, `a+b`.
    #[arg(long, value_name = "NAME")]
    anchor: String,
    /// Scores that `quad qss -o` wrote.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// With `qss`: where the two highest scores differ by less than this part of the highest, take `unified`. That of the
    /// scores unless given.
    #[arg(long, value_name = "PART")]
    margin: Option<f64>,
    #[command(flatten)]
    encoding: Encoding,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let files = Files::default().reads("the statistics", &arguments.stats);
    let files = files.reads_given("the scores", arguments.scores.as_ref());
    files.writes([&arguments.output]).check()?;
    let statistics = statistics::read(&arguments.stats).map_err(Failure::input)?;
    let scores = arguments.scores.as_deref().map(read_scores).transpose()?;
    let margin = arguments.margin.or(scores.as_ref().and_then(|scores| scores.margin)).unwrap_or(MARGIN);
    let rule = AnchorRule::named(&arguments.anchor, margin);
    let anchor = anchor::choose(&rule, &statistics, scores.as_ref()).map_err(Failure::input)?;
    if let (AnchorRule::Scored(..), Some(scores)) = (&rule, &scores) {
        scores.other_precision(arguments.encoding.precision).iter().for_each(|note| output::note(note));
    }
    let graph = graph::read(&statistics.model.text).map_err(Failure::input)?;
    let made = make_for(&graph, &statistics, &anchor, &arguments.encoding.options());
    let made = made.map_err(Failure::input)?;
    let patterns = arguments.encoding.reach_in(&graph, &made.profile);
    made.profile.write(&arguments.output).map_err(Failure::input)?;
    made.notes.iter().for_each(|note| output::note(note));
    super::show::summary(&made.profile, &mut output::stdout())?;
    patterns::print(&patterns, &mut output::stdout())?;
    super::written(&arguments.output, &mut output::stdout())?;
    Ok(Outcome::Done)
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
