//! `quad qss`: how sensitive adapters and layers are to quantization, and whose encodings all should share.

mod report;

use std::path::PathBuf;

use quad_quantize::groups::{self, Measured};
use quad_quantize::insert::Encodings;
use quad_quantize::profile::scores::{Scores, UNIFIED};
use quad_quantize::sensitivity::bench::Bench;
use quad_quantize::sensitivity::choice::{MARGIN, Rule, Verdict};
use quad_quantize::sensitivity::layers::{self, Layers};
use quad_quantize::sensitivity::matrix::Matrix;

use crate::destination::PICTURES;
use crate::encoding::Encoding;
use crate::exit::{Failure, Outcome};
use crate::measuring::{Counter, Measuring, runs};
use report::{Groups, Judged, Report};

/// Measure how sensitive adapters are to quantization, and whose encodings all should share.
///
/// The model is run in full precision, with encodings of each adapter's own, with those of each other adapter, and with
/// those of all together. The quantization sensitivity score of an adapter, QSS, is the mean divergence between its outputs
/// in full precision and with its own encodings. The adapter with the highest is the anchor, as the paper has it; all
/// together are, where the two highest are equal within --margin. What was measured says whether that was the best choice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad qss unet.onnx --adapter a=a/ --adapter b=b/ --data a=a.npz --data b=b.npz --stats stats.safetensors
  quad qss unet.onnx --adapter a=a/ --adapter b=b/ --data all.npz --stats stats.safetensors --precision w8a8 -o scores.json
  quad qss unet.onnx --adapter a=a/ --data a.npz --stats stats.safetensors --per-layer --samples 4 --plot layers.svg
  quad qss unet.onnx --adapter a=a/ --adapter b=b/ --data all.npz --stats stats.safetensors --groups --quality 40

`quad profile make --anchor qss --scores scores.json` makes the profile of what was chosen.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    measuring: Measuring,
    #[command(flatten)]
    encoding: Encoding,
    /// Fall back to all adapters together where the second highest score is within this part of the highest.
    #[arg(long, value_name = "PART", default_value_t = MARGIN, value_parser = part)]
    margin: f64,
    /// Score every layer too: the model in which nothing but this layer is quantized. Takes one more run of all samples
    /// for each layer.
    #[arg(long)]
    per_layer: bool,
    /// Measure which adapters should share a profile, if there were more than one.
    #[arg(long)]
    groups: bool,
    /// With --groups: the quality that every adapter should have, in decibels.
    #[arg(long, value_name = "DB", requires = "groups")]
    quality: Option<f64>,
    /// A file for the scores, which `quad profile make` chooses an anchor by.
    #[arg(short, long, value_name = "SCORES.json")]
    output: Option<PathBuf>,
    /// A picture of the scores: of layers with --per-layer, of numbers of profiles with --groups, else of adapters. An
    /// .html file has all of them, with the figures.
    #[arg(long, value_name = "FILE.svg|FILE.html")]
    plot: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn part(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let files = arguments.measuring.files().writes(&arguments.output);
    files.writes_as(&arguments.plot, &PICTURES).check()?;
    let opened = arguments.measuring.open()?;
    let names = opened.names();
    let patterns = arguments.encoding.reach(&opened, arguments.encoding.precision)?;
    let encodings = |adapters: &[&str]| arguments.encoding.uniform(&opened, adapters);
    let mut candidates = Vec::new();
    for name in &names {
        candidates.push(((*name).to_owned(), encodings(&[name])?));
    }
    if names.len() > 1 {
        candidates.push((UNIFIED.to_owned(), encodings(&names)?));
    }
    let all = candidates.last().map_or_else(Encodings::new, |(_, encodings)| encodings.clone());
    let layers = if arguments.per_layer { opened.layers(&all)? } else { Layers::new() };
    let counter = Counter::new("measuring", runs(&opened.subjects) * (1 + candidates.len() + layers.len()));
    let done = || counter.step();
    let view = arguments.measuring.looking.view();
    let bench = opened.bench(&opened.subjects, view, &done)?;
    let matrix = Matrix::measure(&bench, &candidates, &done).map_err(Failure::input)?;
    let precision = arguments.encoding.precision.to_string();
    let scores = matrix.scores(&opened.frozen.digest, &view.divergence.to_string(), &precision);
    let scores = Scores { margin: Some(arguments.margin), ..scores };
    let choice = Rule::Qss { margin: arguments.margin }.choose(&scores).map_err(Failure::input)?;
    let verdict = if names.len() > 1 { Verdict::of(&choice, &scores).ok().map(Judged::from) } else { None };
    let layers = layers::scores(&bench, &layers, &all, &Encodings::new(), &done).map_err(Failure::input)?;
    drop(counter);
    let groups = if arguments.groups { Some(arguments.group(&bench, &matrix, &encodings)?) } else { None };
    let peak = bench.peak();
    let report = Report {
        peak,
        divergence: view.divergence,
        scores,
        matrix,
        choice,
        verdict,
        layers,
        groups,
        patterns,
    };
    report.write(arguments.output.as_deref(), arguments.plot.as_deref())?;
    report.print(arguments.json)?;
    Ok(Outcome::Done)
}

impl Arguments {
    /// Measures which adapters should share a profile. That of a group is the better one of the encodings of all its
    /// members together and of those of a single member, by the member that is worst off.
    fn group(
        &self,
        bench: &Bench<'_>,
        matrix: &Matrix,
        encodings: &dyn Fn(&[&str]) -> Result<Encodings, Failure>,
    ) -> Result<Groups, Failure> {
        let progress = Counter::new("measuring groups", 0);
        let measure = |members: &[usize]| -> Result<Measured, Failure> {
            let names: Vec<&str> = members.iter().map(|member| matrix.adapters[*member].as_str()).collect();
            let known = |candidate: &str| -> Option<Measured> {
                let quality: Option<Vec<f64>> =
                    names.iter().map(|name| Some(matrix.get(candidate, name)?.psnr)).collect();
                Some(Measured { quality: quality?, profile: candidate.to_owned() })
            };
            let mut found: Vec<Measured> = names.iter().filter_map(|name| known(name)).collect();
            if names.len() == matrix.adapters.len() {
                found.extend(known(UNIFIED));
            } else if names.len() > 1 {
                let measured = bench.measure(&encodings(&names)?, members, &|| progress.step());
                let quality =
                    measured.map_err(Failure::input)?.iter().map(|fidelity| fidelity.psnr).collect();
                found.push(Measured { quality, profile: UNIFIED.to_owned() });
            }
            let worst = |measured: &Measured| measured.quality.iter().copied().fold(f64::INFINITY, f64::min);
            let best = found.into_iter().max_by(|a, b| worst(a).total_cmp(&worst(b)));
            best.ok_or_else(|| Failure::message("a group of adapters was not measured"))
        };
        let found = groups::group(matrix.adapters.len(), measure)?;
        Ok(Groups::of(&found, &matrix.adapters, self.quality))
    }
}
