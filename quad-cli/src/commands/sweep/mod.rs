//! `quad sweep`: mixes two precisions, from all layers in the higher one to all in the lower one.

mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;

use quad_quantize::insert::Encodings;
use quad_quantize::precision::{Mixed, Precision};
use quad_quantize::sensitivity::bench::Bench;
use quad_quantize::sensitivity::layers::Layers;
use quad_quantize::sweep::{self, Point, Sweep};

use crate::destination::PICTURES;
use crate::encoding::Encoding;
use crate::exit::{Failure, Outcome};
use crate::measuring::{Counter, Measuring, Opened, runs};
use report::{Chosen, Report};

/// Mix two precisions and measure what each mix costs.
///
/// Layers go from the higher precision, --precision, to the lower one, --low, the least sensitive first: a layer is as
/// sensitive as the outputs of the adapter that suffers most are far from full precision when only this layer has the
/// lower precision and everything else is a float. The encodings are those of all adapters together.
///
/// With -o the profile of one mix is written: of a share of the layers, --share, or of the largest share with which no
/// adapter is below --quality. Where not even the higher precision alone has that, nothing is written and the exit code is 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad sweep unet.onnx --adapter a=a/ --adapter b=b/ --data a=a.npz --data b=b.npz --stats stats.safetensors --plot sweep.html
  quad sweep unet.onnx --adapter a=a/ --data a.npz --stats stats.safetensors --low w8a8-slots16 --steps 4 --json
  quad sweep unet.onnx --adapter a=a/ --data a.npz --stats stats.safetensors --share 60 -o mixed.profile
  quad sweep unet.onnx --adapter a=a/ --data a.npz --stats stats.safetensors --quality 40 -o mixed.profile")]
pub(crate) struct Arguments {
    #[command(flatten)]
    measuring: Measuring,
    #[command(flatten)]
    encoding: Encoding,
    /// The lower precision.
    #[arg(long, value_name = "PRECISION", default_value_t = Precision::W8A8)]
    low: Precision,
    /// Steps from none to all layers.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Order layers by so many samples of each adapter.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    order_samples: u32,
    /// Choose the mix with so many percent of the layers in the lower precision.
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "output", conflicts_with = "quality")]
    share: Option<f64>,
    /// Choose the mix with the most layers in the lower precision with which every adapter has this PSNR, in decibels.
    #[arg(long, value_name = "DB", value_parser = finite, requires = "output", allow_negative_numbers = true)]
    quality: Option<f64>,
    /// The profile of the mix that is chosen.
    #[arg(short, long, value_name = "PROFILE")]
    output: Option<PathBuf>,
    /// A picture of the mixes, or a page with the picture and the figures.
    #[arg(long, value_name = "FILE.svg|FILE.html")]
    plot: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected percent, a number from 0 to 100".to_owned()),
    }
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(decibels) if decibels.is_finite() => Ok(decibels),
        _ => Err("expected decibels, a number such as 40".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    arguments.check()?;
    let opened = arguments.measuring.open()?;
    let high = arguments.encoding.precision;
    let patterns = arguments.encoding.reach(&opened, high)?;
    let (layers, low) = arguments.layers(&opened)?;
    let view = arguments.measuring.looking.view();
    let few = opened.limited(arguments.order_samples as usize);
    let steps = arguments.steps as usize;
    let total = runs(&few) * (1 + layers.len()) + runs(&opened.subjects) * (steps + 2);
    let counter = Counter::new("measuring", total);
    let done = || counter.step();
    let order =
        sweep::order(&opened.bench(&few, view, &done)?, &layers, &low, &done).map_err(Failure::input)?;
    let bench = opened.bench(&opened.subjects, view, &done)?;
    let mixed = |chosen: &BTreeSet<String>| arguments.encodings(&opened, &arguments.mix(chosen));
    let sweep = sweep::sweep(&bench, order, &layers, steps, mixed, &done)?;
    let chosen = match &arguments.output {
        Some(_) => Some(arguments.choose(&opened, &bench, &layers, &sweep)?),
        None => None,
    };
    drop(counter);
    let failed = chosen.as_ref().is_some_and(|chosen| chosen.point.is_none());
    let adapters = opened.names().into_iter().map(str::to_owned).collect();
    let (high, low) = (high.to_string(), arguments.low.to_string());
    let report = Report { adapters, high, low, peak: bench.peak(), sweep, chosen, patterns };
    if let Some(path) = &arguments.plot {
        report.draw(path)?;
    }
    report.print(arguments.json)?;
    Ok(if failed { Outcome::DoesNotHold } else { Outcome::Done })
}

impl Arguments {
    /// Whether there is something to do, and a place for it.
    fn check(&self) -> Result<(), Failure> {
        let (high, low) = (self.encoding.precision, self.low);
        if low.weights > high.weights || low.activations > high.activations || low.slots > high.slots {
            return Err(Failure::message(format!(
                "--low {low} has more bits than --precision {high}: layers go from --precision to --low, so give the one \
                 with more bits as --precision"
            )));
        }
        if self.output.is_some() && self.share.is_none() && self.quality.is_none() {
            return Err(Failure::message(
                "-o writes the profile of one mix: say which, by --share PERCENT or --quality DB",
            ));
        }
        self.measuring.files().writes(&self.output).writes_as(&self.plot, &PICTURES).check()
    }

    /// The precision in which the values called `names` are in the lower one.
    fn mix(&self, names: &BTreeSet<String>) -> Mixed {
        Mixed::share(self.encoding.precision, names, self.low)
    }

    fn encodings(&self, opened: &Opened, mixed: &Mixed) -> Result<Encodings, Failure> {
        self.encoding.of(opened, &opened.names(), mixed)
    }

    /// The layers that the two precisions store in different ways, and the encodings of the lower one.
    fn layers(&self, opened: &Opened) -> Result<(Layers, Encodings), Failure> {
        let (high, low) = (self.encoding.precision, self.low);
        let of = |precision: Precision| self.encodings(opened, &Mixed::uniform(precision));
        let (in_high, in_low) = (of(high)?, of(low)?);
        let layers = sweep::changing(&opened.layers(&in_high)?, &in_high, &in_low);
        if layers.is_empty() {
            let said = format!("{high} and {low} store every layer alike: there is nothing to mix");
            return Err(Failure::message(said));
        }
        Ok((layers, in_low))
    }

    /// Finds the mix that is asked for, and writes its profile.
    fn choose(
        &self,
        opened: &Opened,
        bench: &Bench<'_>,
        layers: &Layers,
        sweep: &Sweep,
    ) -> Result<Chosen, Failure> {
        let all: Vec<usize> = (0..bench.subjects().len()).collect();
        let (order, progress) = (&sweep.order, Counter::new("choosing", 0));
        let names = |count: usize| sweep::first(order, layers, count);
        let measure = |count: usize| -> Result<Point, Failure> {
            let encodings = self.encodings(opened, &self.mix(&names(count)))?;
            let fidelity = bench.measure(&encodings, &all, &|| progress.step())?;
            Ok(Point { share: count as f64 / order.len() as f64, layers: count, fidelity })
        };
        let point = match self.quality {
            Some(quality) => sweep::largest(&sweep.points, quality, measure)?,
            None => Some(measure(sweep::count(order.len(), self.share.unwrap_or_default() / 100.0))?),
        };
        let quality = self.quality;
        let (Some(point), Some(output)) = (point, &self.output) else {
            return Ok(Chosen { quality, point: None, output: None });
        };
        let mixed = self.mix(&names(point.layers));
        let mut profile = self.encoding.profile(&opened.calibrated, &opened.names(), &mixed)?;
        let (some, of) = (point.layers, order.len());
        profile.anchor.reason =
            format!("`quad sweep` put {some} of {of} layers, the least sensitive, in {}", self.low);
        profile.write(output).map_err(Failure::input)?;
        Ok(Chosen { quality, point: Some(point), output: Some(output.clone()) })
    }
}
