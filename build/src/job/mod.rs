//! A job: everything that goes from a model and adapters to a bundle, as `quad.toml` says it.
//!
//! ```toml
//! model = "unet.onnx"
//!
//! [adapters.edge]
//! path = "lora/edge"
//! data = "samples/edge.safetensors"
//!
//! [targets.litert]
//! ```
//!
//! Paths are relative to the file. Whatever is not said has the value that the commands have when nothing is said. A job
//! says what is to come out, and nothing of how fast: threads and places of caches are options of a run.

mod read;
mod settings;
mod template;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use read::{JobError, from_text, read};
pub use settings::{
    AnchorSettings, Calibration, Expose, IoLayout, IoTypes, Mix, PrecisionSettings, RankWord, Verification,
};
pub use template::{Draft, DraftAdapter, template};
pub use words::{Text, nearest};

use quad_quantize::profile::make;
use quad_quantize::rules::Rules;
use serde::Serialize;

use crate::targets::TARGETS;

/// The name that the file of a job has where nobody says another.
pub const FILE: &str = "quad.toml";

/// What is to be built.
#[derive(Clone, Debug)]
pub struct Job {
    /// The model, .onnx or .quad.
    pub model: PathBuf,
    /// The adapters by name, each with its samples.
    pub adapters: BTreeMap<String, AdapterJob>,
    /// How layers take adapters.
    pub expose: Expose,
    /// The passes that make the graph that is quantized, as the text of a pipeline.
    pub pipeline: String,
    /// Numbers of symbolic sizes.
    pub sizes: BTreeMap<String, u64>,
    /// What is run to learn what values are like.
    pub calibration: Calibration,
    /// Bits, and how encodings are found.
    pub precision: PrecisionSettings,
    /// Whose encodings all share.
    pub anchor: AnchorSettings,
    /// What is run to compare.
    pub verify: Verification,
    /// What the bundle is for, in the order of their names.
    pub targets: Vec<TargetJob>,
}

/// One adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterJob {
    /// File or folder.
    pub path: PathBuf,
    /// Samples: .npz, .safetensors, or a folder of them.
    pub data: PathBuf,
}

/// One target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetJob {
    /// Which one.
    pub kind: TargetKind,
    /// What it asks of encodings, by name.
    pub rules: String,
    /// The generation of hardware, or the chip; the newest where there is none.
    pub arch: Option<String>,
    /// Whether nodes may be left to another processor.
    pub partial: bool,
    /// Types of inputs and outputs.
    pub io_types: Option<IoTypes>,
    /// Where channels of images lie.
    pub io_layout: IoLayout,
    /// The folder of the target's libraries, where it has any.
    pub libraries: Option<PathBuf>,
}

/// The targets that a bundle can be for. The name is that of the folder in the bundle, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Samsung's compiler behind LiteRT.
    Exynos,
    /// LiteRT itself.
    Litert,
    /// Qualcomm's compiler behind LiteRT.
    LitertQualcomm,
    /// MediaTek's compiler behind LiteRT.
    Neuropilot,
    /// ONNX with pairs of operations that quantize and dequantize.
    Onnx,
    /// Qualcomm's QNN.
    Qnn,
}

impl TargetKind {
    /// All of them, by name.
    pub const ALL: [Self; 6] =
        [Self::Exynos, Self::Litert, Self::LitertQualcomm, Self::Neuropilot, Self::Onnx, Self::Qnn];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exynos => "exynos",
            Self::Litert => "litert",
            Self::LitertQualcomm => "litert-qualcomm",
            Self::Neuropilot => "neuropilot",
            Self::Onnx => "onnx",
            Self::Qnn => "qnn",
        }
    }

    /// The rules that its encodings follow where nothing is said.
    pub fn rules(self) -> &'static str {
        let compiled = TARGETS.iter().find(|info| info.name == self.name());
        // ONNX is for no compiler in particular.
        compiled.and_then(|info| info.rules.first().copied()).unwrap_or("reference")
    }
}

impl Job {
    /// How encodings for `rules` are made of statistics.
    pub fn encoding(&self, rules: Rules) -> make::Options {
        let precision = &self.precision;
        make::Options {
            floats: precision.float.iter().map(|pattern| pattern.value.clone()).collect(),
            method: precision.method.value,
            weights: precision.weights.value,
            slots: self.expose.form.value.0,
            site_scales: precision.site_scales,
            ..make::Options::new(rules, precision.mixed())
        }
    }

    /// Leaves only the targets with these names; an error names one that the job does not have.
    pub fn keep_targets(&mut self, names: &[String]) -> Result<(), String> {
        let known: Vec<&str> = self.targets.iter().map(|target| target.kind.name()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("the job has no target `{unknown}`; it has {}", known.join(", ")));
        }
        self.targets.retain(|target| names.iter().any(|name| name == target.kind.name()));
        Ok(())
    }
}
