//! What `quad sweep` has to say, as prose, JSON and a picture.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quad_quantize::plots::{self, Curve, Curves};
use quad_quantize::sweep::{Point, Sweep};
use serde::Serialize;

use crate::exit::Failure;
use crate::patterns::{self, Reach};
use crate::table::{Align, Table};
use crate::{output, picture};

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) adapters: Vec<String>,
    pub(super) high: String,
    pub(super) low: String,
    /// The spread that PSNR and SSIM are taken with.
    pub(super) peak: f64,
    #[serde(flatten)]
    pub(super) sweep: Sweep,
    /// The mix that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chosen: Option<Chosen>,
    /// What patterns reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) patterns: Vec<Reach>,
}

/// The mix that a share or a quality asks for.
#[derive(Debug, Serialize)]
pub(super) struct Chosen {
    /// The quality asked for, in decibels.
    pub(super) quality: Option<f64>,
    /// What no mix has it costs; `None` where not even all layers in the higher precision have it.
    #[serde(flatten)]
    pub(super) point: Option<Point>,
    /// The profile that was written.
    pub(super) output: Option<PathBuf>,
}

impl Report {
    pub(super) fn draw(&self, path: &Path) -> Result<(), Failure> {
        let svg = self.curves().svg().map_err(Failure::input)?;
        let is_page = picture::is_page(path);
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

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
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
        patterns::print(&self.patterns, out)?;
        if let Some(chosen) = &self.chosen {
            self.print_chosen(chosen, out)?;
        }
        Ok(())
    }

    fn print_chosen(&self, chosen: &Chosen, out: &mut dyn Write) -> io::Result<()> {
        let Chosen { quality, point, output } = chosen;
        let bound = quality.map(|quality| format!("{quality} dB for every adapter")).unwrap_or_default();
        let Some(point) = point else {
            return writeln!(out, "not even {} alone has {bound}: no profile is written", self.high);
        };
        let what =
            if quality.is_some() { format!("the largest share with {bound}") } else { "chosen".to_owned() };
        writeln!(
            out,
            "{what}: {:.1} % of the layers, {} of {}, in {}; the adapter that is worst off has {:.2} dB",
            100.0 * point.share,
            point.layers,
            self.sweep.order.len(),
            self.low,
            point.worst()
        )?;
        output.iter().try_for_each(|path| writeln!(out, "written to {}", path.display()))
    }
}
