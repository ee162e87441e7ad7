//! `report.html`: what was built, what it weighs, what it costs in quality, and what each target takes of it, in one file that
//! needs no other.
//!
//! Pictures come first, figures below them. Whatever was not measured is left out, and a section of which nothing was measured
//! is left out whole: a report never fills a gap with an assumption.

mod memory;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quad_quantize::plots::{Bar, Bars, Image, Page, PlotError, Section};

/// Layers that are shown: those that cost most.
const LAYERS: usize = 30;
/// Slots that are listed: those of which most is cut off.
const SLOTS: usize = 20;

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A picture cannot be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// An image cannot be encoded.
    #[error("the image `{caption}` cannot be encoded: {source}")]
    Image {
        /// What is below it.
        caption: String,
        /// What the encoder says.
        source: png::EncodingError,
    },
}

/// Everything that a report shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was built.
    pub title: String,
    /// Names and values: the model and its digest, precision, anchor and why, versions.
    pub facts: Vec<(String, String)>,
    /// What is stored for each target.
    pub sizes: BTreeMap<String, Sizes>,
    /// How good each adapter is on each target.
    pub checks: Vec<Check>,
    /// What each target takes.
    pub coverage: Vec<Coverage>,
    /// The sensitivity of each adapter (QSS, equation (8) of the paper), and what it is measured by.
    pub scores: Vec<(String, f64)>,
    /// The adapter, or `unified`, whose encodings all share.
    pub anchor: String,
    /// The signal-to-quantization-noise ratio of each layer, in decibels.
    pub layers: Vec<(String, f64)>,
    /// Adapter, slot, and the share of its numbers that is cut off.
    pub clipped: Vec<(String, String, f64)>,
    /// Outputs in full precision and quantized.
    pub pictures: Vec<Picture>,
    /// Passes with how many changes they made, in the order in which they ran.
    pub passes: Vec<(String, usize)>,
}

/// Bytes that are stored for a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of the one model that all adapters share.
    pub shared: u64,
    /// Of each adapter, packed for it.
    pub adapters: Vec<(String, u64)>,
    /// Of the same model for the same target without branches for adapters, which is what a model that has one adapter merged
    /// into its weights takes.
    pub separate: Option<u64>,
}

/// How good an adapter is on a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Check {
    /// The target.
    pub target: String,
    /// The adapter; none is the model alone.
    pub adapter: Option<String>,
    /// Against the model in full precision, in decibels.
    pub psnr: Option<f64>,
    /// The most that an output differs because of the adapter, relative to its largest magnitude.
    pub effect: Option<f64>,
    /// What ran the model.
    pub by: String,
}

/// What a target takes of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The target.
    pub target: String,
    /// Nodes that it takes, and all.
    pub legal: usize,
    /// All nodes.
    pub nodes: usize,
    /// Pieces that the graph falls into there.
    pub partitions: usize,
    /// Why nodes are not taken, with how many.
    pub reasons: Vec<(String, usize)>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What is written below it.
    pub caption: String,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row.
    pub pixels: Vec<u8>,
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// [`ReportError`] when a picture cannot be drawn or encoded.
    pub fn html(&self) -> Result<String, ReportError> {
        let mut sections = vec![self.facts()];
        for (target, sizes) in &self.sizes {
            sections.push(sizes.section(target)?);
        }
        sections.extend(self.quality()?);
        sections.extend(self.images()?);
        sections.extend(self.taken()?);
        sections.extend(self.sensitivity()?);
        sections.extend(self.noise()?);
        sections.extend([self.cut_off(), self.changes()].into_iter().flatten());
        Ok(Page { title: self.title.clone(), sections }.html())
    }

    fn facts(&self) -> Section {
        let rows = self.facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]);
        let header = vec![String::new(), String::new()];
        Section { rows: std::iter::once(header).chain(rows).collect(), ..Section::default() }
    }

    fn quality(&self) -> Result<Option<Section>, ReportError> {
        if self.checks.is_empty() {
            return Ok(None);
        }
        let named = |check: &Check| check.adapter.clone().unwrap_or_else(|| "no adapter".to_owned());
        let bars: Vec<Bar> = self
            .checks
            .iter()
            .filter_map(|check| {
                let name = format!("{} on {}", named(check), check.target);
                Some(Bar { name, value: check.psnr?, marked: false })
            })
            .collect();
        let mut section = Section::new("Quality");
        section.text.push(
            "Outputs of the quantized model against those of the model in full precision, with the same adapter and the \
             same inputs. The effect of an adapter is how far it moves an output, relative to the output's largest magnitude: \
             an adapter without effect fails the build."
                .to_owned(),
        );
        if bars.iter().any(|bar| bar.value.is_finite()) {
            let title = "Fidelity per adapter and target".to_owned();
            section.pictures.push(Bars { title, axis: "PSNR (dB)".to_owned(), bars }.svg()?);
        }
        section.rows.push(words(&["adapter", "target", "PSNR (dB)", "effect", "run by"]));
        section.rows.extend(self.checks.iter().map(|check| {
            let effect = check.effect.map_or_else(String::new, |effect| format!("{effect:.3e}"));
            vec![named(check), check.target.clone(), decibels(check.psnr), effect, check.by.clone()]
        }));
        Ok(Some(section))
    }

    fn images(&self) -> Result<Option<Section>, ReportError> {
        if self.pictures.is_empty() {
            return Ok(None);
        }
        let images: Result<Vec<Image>, ReportError> = self.pictures.iter().map(Picture::image).collect();
        let mut section = Section::new("Before and after");
        section.text.push("One sample of each adapter, in full precision and quantized.".to_owned());
        section.images = images?;
        Ok(Some(section))
    }

    fn taken(&self) -> Result<Option<Section>, ReportError> {
        if self.coverage.is_empty() {
            return Ok(None);
        }
        let share = |coverage: &Coverage| 100.0 * coverage.legal as f64 / coverage.nodes.max(1) as f64;
        let bars = self.coverage.iter().map(|coverage| Bar {
            name: coverage.target.clone(),
            value: share(coverage),
            marked: coverage.legal < coverage.nodes,
        });
        let title = "Operations that each target takes".to_owned();
        let picture = Bars { title, axis: "share of nodes (%)".to_owned(), bars: bars.collect() }.svg()?;
        let mut section = Section { pictures: vec![picture], ..Section::new("Targets") };
        section.rows.push(words(&["target", "nodes", "taken", "partitions", "why not"]));
        section.rows.extend(self.coverage.iter().map(|coverage| {
            let reasons: Vec<String> =
                coverage.reasons.iter().map(|(reason, count)| format!("{count} x {reason}")).collect();
            let numbers =
                [coverage.nodes, coverage.legal, coverage.partitions].map(|number| number.to_string());
            [vec![coverage.target.clone()], numbers.to_vec(), vec![reasons.join("; ")]].concat()
        }));
        Ok(Some(section))
    }

    fn sensitivity(&self) -> Result<Option<Section>, ReportError> {
        if self.scores.is_empty() {
            return Ok(None);
        }
        let bars = self.scores.iter().map(|(name, value)| Bar {
            name: name.clone(),
            value: *value,
            marked: *name == self.anchor,
        });
        let title = "Sensitivity of each adapter (QSS)".to_owned();
        let picture = Bars { title, axis: "divergence of outputs".to_owned(), bars: bars.collect() }.svg()?;
        let mut section = Section { pictures: vec![picture], ..Section::new("Sensitivity") };
        section.text.push(format!("All adapters share the encodings of `{}`.", self.anchor));
        Ok(Some(section))
    }

    fn noise(&self) -> Result<Option<Section>, ReportError> {
        let mut layers: Vec<&(String, f64)> =
            self.layers.iter().filter(|(_, sqnr)| sqnr.is_finite()).collect();
        if layers.is_empty() {
            return Ok(None);
        }
        layers.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        layers.truncate(LAYERS);
        let bars =
            layers.iter().map(|(name, sqnr)| Bar { name: name.clone(), value: sqnr.max(0.0), marked: false });
        let title = format!("The {} layers with the most quantization noise", layers.len());
        let picture =
            Bars { title, axis: "signal to quantization noise (dB)".to_owned(), bars: bars.collect() }
                .svg()?;
        Ok(Some(Section { pictures: vec![picture], ..Section::new("Layers") }))
    }

    fn cut_off(&self) -> Option<Section> {
        let mut clipped: Vec<_> = self.clipped.iter().filter(|(_, _, share)| *share > 0.0).collect();
        clipped.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
        let left_out = clipped.len().saturating_sub(SLOTS);
        clipped.truncate(SLOTS);
        let mut section = Section::new("Clipping");
        if clipped.is_empty() {
            section.text.push("No number of any adapter lies outside of what its slot holds.".to_owned());
            return (!self.checks.is_empty()).then_some(section);
        }
        section.rows.push(words(&["slot", "adapter", "share that is cut off (%)"]));
        section.rows.extend(clipped.iter().map(|(adapter, slot, share)| {
            vec![slot.clone(), adapter.clone(), format!("{:.3}", 100.0 * share)]
        }));
        if left_out > 0 {
            section
                .text
                .push(format!("The {SLOTS} slots of which most is cut off; {left_out} more lose less."));
        }
        Some(section)
    }

    fn changes(&self) -> Option<Section> {
        let rows = self.passes.iter().map(|(pass, changes)| vec![pass.clone(), changes.to_string()]);
        let rows: Vec<Vec<String>> = std::iter::once(words(&["pass", "changes"])).chain(rows).collect();
        (rows.len() > 1).then(|| Section { rows, ..Section::new("Passes") })
    }
}

impl Picture {
    fn image(&self) -> Result<Image, ReportError> {
        let failed = |source| ReportError::Image { caption: self.caption.clone(), source };
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        let address = format!("data:image/png;base64,{}", STANDARD.encode(&file));
        Ok(Image { address, caption: self.caption.clone() })
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn decibels(figure: Option<f64>) -> String {
    match figure {
        Some(figure) if figure.is_infinite() => "equal".to_owned(),
        Some(figure) => format!("{figure:.2}"),
        None => "not run".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let check = |adapter: Option<&str>, psnr| Check {
            target: "litert".to_owned(),
            adapter: adapter.map(str::to_owned),
            psnr,
            effect: adapter.map(|_| 0.25),
            by: "interpreter".to_owned(),
        };
        Report {
            title: "testbed".to_owned(),
            facts: vec![("precision".to_owned(), "w8a16".to_owned())],
            sizes: BTreeMap::from([(
                "litert".to_owned(),
                Sizes {
                    shared: 3 << 20,
                    adapters: vec![("edge".to_owned(), 1 << 19)],
                    separate: Some(2 << 20),
                },
            )]),
            checks: vec![check(Some("edge"), Some(52.75)), check(None, None)],
            coverage: vec![Coverage {
                target: "neuropilot".to_owned(),
                legal: 9,
                nodes: 10,
                partitions: 2,
                reasons: vec![("SIN is not taken".to_owned(), 1)],
            }],
            scores: vec![("edge".to_owned(), 3.5e-5)],
            anchor: "edge".to_owned(),
            layers: vec![("conv_in".to_owned(), 41.0), ("conv_out".to_owned(), f64::INFINITY)],
            clipped: vec![("edge".to_owned(), "a.lora_A".to_owned(), 0.01)],
            pictures: vec![Picture {
                caption: "edge".to_owned(),
                width: 2,
                height: 1,
                pixels: vec![0, 128, 255, 1, 2, 3],
            }],
            passes: vec![("fuse-silu".to_owned(), 19)],
        }
    }

    #[test]
    fn a_report_shows_what_was_measured() {
        let html = report().html().expect("a report");
        for part in [
            "<h1>testbed</h1>",
            "one model, adapters as inputs",
            "Fidelity per adapter and target",
            "<td>52.75</td>",
            "<td>not run</td>",
            "data:image/png;base64,iVBOR",
            "1 x SIN is not taken",
            "All adapters share the encodings of `edge`.",
            "The 1 layers with the most quantization noise",
            "<td>1.000</td>",
            "<td>fuse-silu</td>",
        ] {
            assert!(html.contains(part), "`{part}` is not in\n{html}");
        }
        assert!(!html.contains("http://") || html.contains("www.w3.org"), "nothing is loaded from elsewhere");
        assert_eq!(html, report().html().expect("a report"), "the same figures give the same bytes");
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let html = Report { title: "nothing".to_owned(), ..Report::default() }.html().expect("a report");
        for heading in
            ["Quality", "Before and after", "Targets", "Sensitivity", "Layers", "Clipping", "Passes"]
        {
            assert!(!html.contains(heading), "{heading}");
        }
    }

    #[test]
    fn images_that_are_cut_short_are_refused() {
        let picture = Picture { caption: "x".to_owned(), width: 2, height: 2, pixels: vec![0; 3] };
        assert!(picture.image().expect_err("too few pixels").to_string().contains("`x`"));
    }
}
