//! What `quad qss` has to say, as prose, JSON, a file of scores and pictures.

use std::io::{self, Write};
use std::path::Path;

use quad_quantize::groups::{Grouping, Groupings};
use quad_quantize::plots::{self, Bar, Bars, Curve, Curves, PlotError};
use quad_quantize::profile::scores::Scores;
use quad_quantize::sensitivity::bench::Fidelity;
use quad_quantize::sensitivity::choice::{Choice, Verdict};
use quad_quantize::sensitivity::divergence::Divergence;
use quad_quantize::sensitivity::layers::LayerScore;
use quad_quantize::sensitivity::matrix::Matrix;
use serde::Serialize;

use crate::exit::Failure;
use crate::output;
use crate::patterns::{self, Reach};
use crate::picture;
use crate::table::{Align, Table};

/// Layers that a list or picture has at most.
const MAX_LAYERS: usize = 40;

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The spread that PSNR and SSIM are taken with.
    pub(super) peak: f64,
    #[serde(skip)]
    pub(super) divergence: Divergence,
    #[serde(flatten)]
    pub(super) scores: Scores,
    pub(super) matrix: Matrix,
    pub(super) choice: Choice,
    /// Whether the rule picked the best; there is none with a single adapter.
    pub(super) verdict: Option<Judged>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<LayerScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups: Option<Groups>,
    /// What patterns reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) patterns: Vec<Reach>,
}

/// A verdict, and whether it is good.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) picked_the_best: bool,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { picked_the_best: verdict.is_best(), verdict }
    }
}

/// What was found of groups.
#[derive(Debug, Serialize)]
pub(super) struct Groups {
    /// Whether all partitions were looked at.
    exhaustive: bool,
    /// The quality asked for.
    quality: Option<f64>,
    /// The fewest profiles that have it.
    fewest: Option<usize>,
    by_count: Vec<GroupLine>,
}

/// The best grouping with so many profiles.
#[derive(Debug, Serialize)]
struct GroupLine {
    profiles: usize,
    /// PSNR of the adapter that is worst off.
    worst: f64,
    mean: f64,
    groups: Vec<GroupOf>,
}

#[derive(Debug, Serialize)]
struct GroupOf {
    adapters: Vec<String>,
    /// Whose encodings they share.
    profile: String,
    psnr: Vec<f64>,
}

impl Groups {
    pub(super) fn of(found: &Groupings, adapters: &[String], quality: Option<f64>) -> Self {
        let group = |grouping: &Grouping| {
            let groups = grouping.groups.iter().map(|group| GroupOf {
                adapters: group.members.iter().map(|member| adapters[*member].clone()).collect(),
                profile: group.measured.profile.clone(),
                psnr: group.measured.quality.clone(),
            });
            let (worst, mean) = (grouping.worst(), grouping.mean());
            GroupLine { profiles: grouping.groups.len(), worst, mean, groups: groups.collect() }
        };
        let fewest = quality.and_then(|bound| found.fewest(bound)).map(|grouping| grouping.groups.len());
        let by_count = found.by_count.iter().map(group).collect();
        Self { exhaustive: found.exhaustive, quality, fewest, by_count }
    }
}

impl Report {
    /// Writes the files that were asked for.
    pub(super) fn write(&self, scores: Option<&Path>, picture: Option<&Path>) -> Result<(), Failure> {
        if let Some(path) = scores {
            self.scores.check().map_err(Failure::input)?;
            let mut text = Vec::new();
            output::json(&mut text, &self.scores)?;
            picture::write(path, &text)?;
        }
        let Some(path) = picture else { return Ok(()) };
        let text = if picture::is_page(path) {
            let pictures: Result<Vec<String>, PlotError> = self.pictures().collect();
            plots::page("Sensitivity to quantization", pictures.map_err(Failure::input)?, self.rows())
        } else {
            self.pictures().last().unwrap_or_else(|| self.adapters().svg()).map_err(Failure::input)?
        };
        picture::write(path, text.as_bytes())
    }

    /// All pictures, the one last that shows most of what was asked for.
    fn pictures(&self) -> impl Iterator<Item = Result<String, PlotError>> {
        let groups = self.groups.as_ref().map(|groups| groups.curves().svg());
        let layers = (!self.layers.is_empty()).then(|| self.layer_bars().svg());
        std::iter::once(self.adapters().svg()).chain(groups).chain(layers)
    }

    fn adapters(&self) -> Bars {
        let bar = |(name, value): (&String, &f64)| Bar {
            name: name.clone(),
            value: *value,
            marked: *name == self.choice.choice,
        };
        Bars {
            title: format!("QSS per adapter, {}", self.scores.precision),
            axis: self.divergence.title().to_owned(),
            bars: self.scores.qss.iter().map(bar).collect(),
        }
    }

    fn layer_bars(&self) -> Bars {
        let shown = self.ordered_layers();
        let more = self.layers.len() - shown.len();
        let title = format!("QSS per layer, {}", self.scores.precision);
        let bar =
            |score: &&LayerScore| Bar { name: score.layer.clone(), value: score.worst(), marked: false };
        Bars {
            title: if more > 0 { format!("{title} (the first of {})", self.layers.len()) } else { title },
            axis: format!("{}, adapter that suffers most", self.divergence.title()),
            bars: shown.iter().map(bar).collect(),
        }
    }

    /// The most sensitive layers, the first of them first.
    fn ordered_layers(&self) -> Vec<&LayerScore> {
        let mut layers: Vec<&LayerScore> = self.layers.iter().collect();
        layers.sort_by(|a, b| b.worst().total_cmp(&a.worst()).then_with(|| a.layer.cmp(&b.layer)));
        layers.truncate(MAX_LAYERS);
        layers
    }

    /// The figures of the matrix as a table.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["encodings of".to_owned()]];
        rows[0].extend(self.matrix.adapters.iter().cloned());
        rows[0].push("worst".to_owned());
        for row in &self.matrix.rows {
            let mut cells = vec![row.candidate.clone()];
            cells.extend(row.fidelity.iter().map(quality));
            cells.push(format!("{:.2}", row.worst()));
            rows.push(cells);
        }
        rows
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        writeln!(
            out,
            "QSS of each adapter with encodings of its own, {}: {}",
            self.scores.precision,
            self.divergence.title()
        )?;
        let mut table = Table::new(&[Align::Left, Align::Right]);
        for (name, score) in &self.scores.qss {
            table.row([name.clone(), format!("{score:.3e}")]);
        }
        table.print("  ", out)?;
        writeln!(out, "anchor: {}, {}", self.choice.choice, self.choice.reason)?;
        let measures = if self.has_ssim() { "PSNR in dB / SSIM" } else { "PSNR in dB" };
        writeln!(out, "{measures} of each adapter against full precision, peak {:.4}:", self.peak)?;
        self.print_matrix(out)?;
        if let Some(judged) = &self.verdict {
            writeln!(out, "{}", judged.verdict)?;
        }
        if let Some(groups) = &self.groups {
            groups.print(out)?;
        }
        self.print_layers(out)?;
        patterns::print(&self.patterns, out)?;
        Ok(())
    }

    fn has_ssim(&self) -> bool {
        self.matrix.rows.iter().flat_map(|row| &row.fidelity).any(|fidelity| fidelity.ssim.is_some())
    }

    fn print_matrix(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut align = vec![Align::Left];
        align.resize(self.matrix.adapters.len() + 2, Align::Right);
        let mut table = Table::new(&align);
        for row in self.rows() {
            table.row(row);
        }
        table.print("  ", out)
    }

    fn print_layers(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.layers.is_empty() {
            return Ok(());
        }
        let shown = self.ordered_layers();
        writeln!(
            out,
            "QSS of each layer alone, everything else in full precision, the most sensitive first:"
        )?;
        let mut align = vec![Align::Left, Align::Right];
        align.resize(self.matrix.adapters.len() + 2, Align::Right);
        let mut table = Table::new(&align);
        let head =
            ["layer".to_owned(), "values".to_owned()].into_iter().chain(self.matrix.adapters.iter().cloned());
        table.row(head);
        for score in &shown {
            let figures = score.qss.iter().map(|qss| format!("{qss:.2e}"));
            table.row([score.layer.clone(), score.values.to_string()].into_iter().chain(figures));
        }
        table.print("  ", out)?;
        let more = self.layers.len() - shown.len();
        if more > 0 {
            writeln!(out, "  and {more} less sensitive ones; --json has all")?;
        }
        Ok(())
    }
}

impl Groups {
    fn curves(&self) -> Curves {
        let curve = |name: &str, marked, figure: fn(&GroupLine) -> f64| Curve {
            name: name.to_owned(),
            points: self.by_count.iter().map(|line| (line.profiles as f64, figure(line))).collect(),
            marked,
        };
        Curves {
            title: "Quality against the number of profiles".to_owned(),
            along: "profiles".to_owned(),
            axis: "PSNR (dB)".to_owned(),
            curves: vec![
                curve("adapter that is worst off", true, |line| line.worst),
                curve("mean of adapters", false, |line| line.mean),
            ],
        }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let how = if self.exhaustive { "the best of all groupings" } else { "found by merging" };
        writeln!(out, "profiles that adapters may share ({how}):")?;
        let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]);
        table.row(["profiles", "worst", "mean", "groups"]);
        for line in &self.by_count {
            let groups: Vec<String> = line
                .groups
                .iter()
                .map(|group| format!("{} ({})", group.adapters.join("+"), group.profile))
                .collect();
            table.row([
                line.profiles.to_string(),
                format!("{:.2}", line.worst),
                format!("{:.2}", line.mean),
                groups.join(", "),
            ]);
        }
        table.print("  ", out)?;
        match (self.quality, self.fewest) {
            (None, _) => Ok(()),
            (Some(bound), Some(1)) => writeln!(out, "one profile has {bound} dB for every adapter"),
            (Some(bound), Some(count)) => {
                writeln!(out, "{count} profiles have {bound} dB for every adapter, fewer have not")
            }
            (Some(bound), None) => writeln!(out, "no number of profiles has {bound} dB for every adapter"),
        }
    }
}

/// PSNR and, where there is one, SSIM.
fn quality(fidelity: &Fidelity) -> String {
    match fidelity.ssim {
        Some(ssim) => format!("{:.2} / {ssim:.4}", fidelity.psnr),
        None => format!("{:.2}", fidelity.psnr),
    }
}
