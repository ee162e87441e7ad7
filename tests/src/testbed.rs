//! The trained testbed: a small restoring UNet with four adapters trained apart, and what another program made of it.
//!
//! `ptq_results.json` has PSNR and SSIM of quantized outputs against those in full precision over 128 samples, computed in
//! PyTorch with another implementation of the same rules: activations per tensor, asymmetric, min-max over 64 samples;
//! weights symmetric per output channel; factors of adapters symmetric per tensor. A column says where the encodings are
//! from: the adapter's own, another adapter, or the union of all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Deserialize;

use crate::paths;

/// The adapters, in the order of the tables.
pub const TASKS: [&str; 4] = ["inpaint", "edge", "deblur", "relight"];

/// How far below the other program's figure ours may be, with encodings of the adapter's own or of all together.
pub const TOLERANCE: f64 = 0.5;

/// How far forced encodings may be from the other program's figure: what clips is chaotic, and only its order counts.
pub const FORCED_TOLERANCE: f64 = 4.0;

/// What the other program measured, in full precision's terms.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Cell {
    /// Mean PSNR against full precision, in decibels.
    #[serde(rename = "psnr_fp32", default)]
    pub psnr: f64,
    /// Mean SSIM against full precision.
    #[serde(rename = "ssim_fp32", default)]
    pub ssim: f64,
}

/// Cells by precision, adapter and source of encodings.
pub type Table = BTreeMap<String, BTreeMap<String, BTreeMap<String, Cell>>>;

/// A part of `quad qss --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Scored {
    /// By candidate and adapter.
    pub matrix: Matrix,
    /// The anchor by QSS.
    pub choice: Choice,
    /// Whether that was the best; `None` with a single adapter.
    pub verdict: Option<Verdict>,
}

/// What was measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Matrix {
    /// The columns.
    pub adapters: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// What was measured with the encodings of one candidate.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// An adapter, or `unified`.
    pub candidate: String,
    /// For each adapter.
    pub fidelity: Vec<Fidelity>,
}

/// What was measured of one adapter.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Fidelity {
    /// Mean PSNR; `None` where every sample was equal.
    pub psnr: Option<f64>,
    /// Mean SSIM.
    pub ssim: Option<f64>,
    /// Mean divergence.
    pub qss: f64,
}

/// A part of `quad adapter check --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Checked {
    /// `fit`, `fit-with-loss` or `needs-distillation`.
    pub verdict: String,
    /// What is expected of outputs.
    pub expected: Option<Forecast>,
    /// Slots that are clipped.
    pub clipped_slots: Vec<ClippedSlot>,
}

/// What is expected of outputs.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Forecast {
    /// With the profile, in decibels.
    pub psnr: f64,
    /// What less that is than with encodings of the adapter's own, in decibels.
    pub loss: f64,
    /// From and to what the mean of all samples of the kind is; `None` for a single sample.
    pub between: Option<[f64; 2]>,
}

/// A slot that is clipped.
#[derive(Clone, Debug, Deserialize)]
pub struct ClippedSlot {
    /// The slot.
    pub slot: String,
}

/// How far the loss that an admission expects may be from the one that is measured, in decibels.
pub const FORECAST_TOLERANCE: f64 = 1.0;

/// What was chosen.
#[derive(Clone, Debug, Deserialize)]
pub struct Choice {
    /// An adapter, or `unified`.
    pub choice: String,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// Whether nothing was better.
    pub picked_the_best: bool,
    /// The best single adapter with its worst PSNR.
    pub best_anchor: (String, f64),
    /// The best candidate with its worst PSNR.
    pub best: (String, f64),
}

/// One comparison with the other program.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The adapter.
    pub task: String,
    /// `own`, another adapter, or `union`.
    pub source: String,
    /// What we measured.
    pub ours: Fidelity,
    /// What the other program measured.
    pub theirs: Cell,
}

impl Compared {
    /// By how many decibels ours is better.
    pub fn gain(&self) -> f64 {
        self.ours.psnr.unwrap_or(f64::INFINITY) - self.theirs.psnr
    }

    /// Whether it is as good as it has to be.
    pub fn holds(&self) -> bool {
        if ["own", "union"].contains(&self.source.as_str()) {
            self.gain() >= -TOLERANCE
        } else {
            self.gain().abs() <= FORCED_TOLERANCE
        }
    }
}

impl Scored {
    /// PSNR of an adapter with the encodings of a candidate.
    pub fn psnr(&self, candidate: &str, task: &str) -> Option<f64> {
        let row = self.matrix.rows.iter().find(|row| row.candidate == candidate)?;
        let column = self.matrix.adapters.iter().position(|name| name == task)?;
        row.fidelity.get(column)?.psnr
    }

    /// Every cell of `theirs`, by adapter and source, beside ours.
    pub fn compared(&self, theirs: &BTreeMap<String, BTreeMap<String, Cell>>) -> Vec<Compared> {
        let mut compared = Vec::new();
        for task in TASKS {
            let Some(sources) = theirs.get(task) else { continue };
            for (source, cell) in sources {
                let candidate = match source.as_str() {
                    "own" => task,
                    "union" => "unified",
                    other => other,
                };
                let row = self.matrix.rows.iter().find(|row| row.candidate == candidate);
                let column = self.matrix.adapters.iter().position(|name| name == task);
                if let (Some(row), Some(column)) = (row, column) {
                    let (task, source) = (task.to_owned(), source.clone());
                    compared.push(Compared { task, source, ours: row.fidelity[column], theirs: *cell });
                }
            }
        }
        compared
    }
}

/// The folder of the testbed.
pub fn folder() -> PathBuf {
    paths::fixtures().join("testbed")
}

/// The model.
pub fn model() -> PathBuf {
    folder().join("models/base.legacy17.onnx")
}

/// The folder of an adapter.
pub fn adapter(task: &str) -> PathBuf {
    folder().join("lora").join(task)
}

/// The options of `quad` that name all adapters, each behind `option`: `--adapter` or `--beside`.
pub fn adapters(option: &str) -> Vec<OsString> {
    TASKS.iter().flat_map(|task| named(option, task, adapter(task))).collect()
}

/// The samples of an adapter: those to calibrate with, `calib`, or those to measure with, `eval`.
pub fn samples(task: &str, part: &str) -> PathBuf {
    folder().join("data").join(format!("{task}.{part}.safetensors"))
}

/// The options of `quad` that name the samples of all adapters: those to calibrate with, `calib`, or those to measure
/// with, `eval`.
pub fn data(part: &str) -> Vec<OsString> {
    let file = |task: &&str| folder().join("data").join(format!("{task}.{part}.safetensors"));
    let mut options: Vec<OsString> =
        TASKS.iter().flat_map(|task| named("--data", task, file(task))).collect();
    options.extend(["--ignore", "target", "--ignore", "out.*"].map(OsString::from));
    options
}

/// How the outputs of the testbed are looked at: images in [-1, 1], four channels to a block of pixels.
pub const LOOKING: [&str; 4] = ["--peak", "2", "--shuffle", "2"];

fn named(option: &str, name: &str, path: PathBuf) -> [OsString; 2] {
    let mut value = OsString::from(format!("{name}="));
    value.push(path);
    [option.into(), value]
}
