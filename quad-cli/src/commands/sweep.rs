//! `quad sweep`: mixes two precisions, from all layers in the higher one to all in the lower one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use quad_quantize::plots::{self, Curve, Curves};
use quad_quantize::precision::{Mixed, Precision};
use quad_quantize::sweep::{self, Point, Sweep};
use serde::Serialize;

use crate::encoding::Encoding;
use crate::exit::{Failure, Outcome};
use crate::measuring::{Counter, Measuring, runs};
use crate::table::{Align, Table};
use crate::{output, picture};

/// Mix two precisions and measure what each mix costs.
///
/// Layers go from the higher precision, --precision, to the lower one, --low, the least sensitive first: a layer is as
/// sensitive as the outputs of the adapter that suffers most are far from full precision when only this layer has the
/// lower precision and everything else is a float. The encodings are those of all adapters together.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad sweep unet.onnx --adapter a=a/ --adapter b=b/ --data a=a.npz --data b=b.npz --stats stats.safetensors --plot sweep.html
  quad sweep unet.onnx --adapter a=a/ --data a.npz --stats stats.safetensors --low w8a8-slots16 --steps 4 --json")]
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
    /// A picture of the mixes, or a page with the picture and the figures.
    #[arg(long, value_name = "FILE.svg|FILE.html")]
    plot: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    adapters: Vec<String>,
    high: String,
    low: String,
    /// The spread that PSNR and SSIM are taken with.
    peak: f64,
    #[serde(flatten)]
    sweep: Sweep,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let opened = arguments.measuring.open()?;
    let names = opened.names();
    let high_precision = arguments.encoding.precision;
    let of = |mixed: &Mixed| arguments.encoding.of(&opened, &names, mixed);
    let (high, low) = (of(&Mixed::uniform(high_precision))?, of(&Mixed::uniform(arguments.low))?);
    let layers = sweep::changing(&opened.layers(&high)?, &high, &low);
    if layers.is_empty() {
        let said = format!(
            "{high_precision} and {} store every layer alike: there is nothing to mix",
            arguments.low
        );
        return Err(Failure::message(said));
    }
    let view = arguments.measuring.looking.view();
    let few = opened.limited(arguments.order_samples as usize);
    let steps = arguments.steps as usize;
    let counter =
        Counter::new("measuring", runs(&few) * (1 + layers.len()) + runs(&opened.subjects) * (steps + 2));
    let done = || counter.step();
    let order =
        sweep::order(&opened.bench(&few, view, &done)?, &layers, &low, &done).map_err(Failure::input)?;
    let bench = opened.bench(&opened.subjects, view, &done)?;
    let mixed = |chosen: &BTreeSet<String>| of(&Mixed::share(high_precision, chosen, arguments.low));
    let sweep = sweep::sweep(&bench, order, &layers, steps, mixed, &done)?;
    drop(counter);
    let adapters = names.iter().map(|name| (*name).to_owned()).collect();
    let (high, low) = (high_precision.to_string(), arguments.low.to_string());
    let report = Report { adapters, high, low, peak: bench.peak(), sweep };
    if let Some(path) = &arguments.plot {
        report.draw(path)?;
    }
    report.print(arguments.json)?;
    Ok(Outcome::Done)
}

impl Report {
    fn draw(&self, path: &Path) -> Result<(), Failure> {
        let svg = self.curves().svg().map_err(Failure::input)?;
        let is_page = path.extension().and_then(OsStr::to_str) == Some("html");
        let text = if is_page { plots::page(&self.curves().title, vec![svg], self.rows()) } else { svg };
        picture::write(path, text.as_bytes())
    }

    fn curves(&self) -> Curves {
        let points = |figure: &dyn Fn(&Point) -> f64| {
            self.sweep.points.iter().map(|point| (100.0 * point.share, figure(point))).collect()
        };
        let adapter = |(index, name): (usize, &String)| Curve {
            name: name.clone(),
            points: points(&|point| point.fidelity[index].psnr),
            marked: false,
        };
        let mut curves: Vec<Curve> = self.adapters.iter().enumerate().map(adapter).collect();
        curves.push(Curve { name: "worst".to_owned(), points: points(&Point::worst), marked: true });
        Curves {
            title: format!("Mixed precision, {} and {}", self.high, self.low),
            along: format!("layers in {} (%), the others in {}", self.low, self.high),
            axis: "PSNR (dB)".to_owned(),
            curves,
        }
    }

    /// The figures as a table.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut head = vec![format!("{} : {}", self.high, self.low), "layers".to_owned()];
        head.extend(self.adapters.iter().cloned());
        head.push("worst".to_owned());
        let row = |point: &Point| {
            let low = 100.0 * point.share;
            let mut cells = vec![format!("{:.0} : {low:.0}", 100.0 - low), point.layers.to_string()];
            cells.extend(point.fidelity.iter().map(|fidelity| format!("{:.2}", fidelity.psnr)));
            cells.push(format!("{:.2}", point.worst()));
            cells
        };
        std::iter::once(head).chain(self.sweep.points.iter().map(row)).collect()
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        writeln!(
            out,
            "PSNR in dB of each adapter against full precision, peak {:.4}, by % of the layers:",
            self.peak
        )?;
        let mut align = vec![Align::Left];
        align.resize(self.adapters.len() + 3, Align::Right);
        let mut table = Table::new(&align);
        for row in self.rows() {
            table.row(row);
        }
        table.print("  ", out)?;
        if let (Some(first), Some(last)) = (self.sweep.order.first(), self.sweep.order.last()) {
            writeln!(out, "the least sensitive layer is {}, the most sensitive {}", first.layer, last.layer)?;
        }
        Ok(())
    }
}
