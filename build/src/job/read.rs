//! Reading the file of a job. Everything that can be wrong without opening a model is found here, with line and column.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use quad_backends::target;
use quad_qnn::soc::Soc;
use quad_quantize::precision::Pattern;
use quad_quantize::profile::scores::UNIFIED;
use quad_quantize::rules::Rules;
use quad_quantize::statistics::BASE;
use serde::Deserialize;
use toml::Spanned;

use super::settings::{
    AnchorSettings, Calibration, Expose, IoLayout, IoTypes, PrecisionSettings, Verification,
};
use super::words::{Text, nearest};
use super::{AdapterJob, Job, TargetJob, TargetKind};
use crate::frozen::PIPELINE;
use crate::targets::TARGETS;

/// A job cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read.
    #[error("`{}` cannot be read: {error}; `quad new MODEL --adapter NAME=PATH` writes a job", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1, in characters.
        column: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct JobFile {
    model: Spanned<PathBuf>,
    #[serde(default)]
    adapters: BTreeMap<String, Spanned<AdapterFile>>,
    #[serde(default)]
    expose: Expose,
    pipeline: Option<String>,
    #[serde(default)]
    sizes: BTreeMap<String, u64>,
    #[serde(default)]
    calibration: CalibrationFile,
    #[serde(default)]
    precision: PrecisionSettings,
    #[serde(default)]
    anchor: Spanned2<AnchorSettings>,
    #[serde(default)]
    verify: Verification,
    targets: Spanned<TargetsFile>,
}

/// A part that may be left out, with its place where it is there.
#[derive(Default)]
struct Spanned2<T> {
    span: Range<usize>,
    value: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned2<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AdapterFile {
    path: Spanned<PathBuf>,
    data: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct CalibrationFile {
    data: Option<Spanned<PathBuf>>,
    samples: Option<Spanned<usize>>,
    ignore: Vec<Text<Pattern>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TargetsFile {
    exynos: Option<Spanned<TargetFile>>,
    litert: Option<Spanned<TargetFile>>,
    litert_qualcomm: Option<Spanned<TargetFile>>,
    neuropilot: Option<Spanned<TargetFile>>,
    onnx: Option<Spanned<TargetFile>>,
    qnn: Option<Spanned<TargetFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TargetFile {
    rules: Option<Spanned<String>>,
    #[serde(alias = "soc")]
    arch: Option<Spanned<String>>,
    #[serde(default)]
    partial: bool,
    io_types: Option<IoTypes>,
    #[serde(default)]
    io_layout: IoLayout,
    libraries: Option<Spanned<PathBuf>>,
}

/// Reads the job in the file `path`.
pub fn read(path: &Path) -> Result<Job, JobError> {
    let text = fs::read_to_string(path).map_err(|error| JobError::Read { path: path.to_owned(), error })?;
    from_text(&text, path)
}

/// Reads the job that `text` is, the contents of `path`.
pub fn from_text(text: &str, path: &Path) -> Result<Job, JobError> {
    let reader = Reader { text, path, folder: path.parent().unwrap_or(Path::new("")) };
    let file: JobFile = toml::from_str(text)
        .map_err(|error| reader.wrong(error.span().unwrap_or_default(), &plain(error.message())))?;
    reader.job(file)
}

/// What is being read.
struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
    /// What paths are relative to.
    folder: &'t Path,
}

impl Reader<'_> {
    fn wrong(&self, span: Range<usize>, message: &str) -> JobError {
        let before = &self.text[..self.text.floor_char_boundary(span.start.min(self.text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|found| *found != '\n').count() + 1;
        JobError::Wrong { path: self.path.to_owned(), line, column, message: message.to_owned() }
    }

    fn job(&self, file: JobFile) -> Result<Job, JobError> {
        let model = self.existing(&file.model, "the model")?;
        let shared = file.calibration.data.as_ref().map(|data| self.existing(data, "data")).transpose()?;
        let mut adapters = BTreeMap::new();
        for (name, adapter) in file.adapters {
            let read = self.adapter(&name, &adapter, shared.as_deref())?;
            adapters.insert(name, read);
        }
        if let Some(samples) = &file.calibration.samples
            && *samples.get_ref() == 0
        {
            return Err(self.wrong(samples.span(), "calibration needs a sample at least"));
        }
        let samples = file.calibration.samples.map(Spanned::into_inner);
        let calibration = Calibration { samples, ignore: file.calibration.ignore };
        if adapters.is_empty() {
            let at = file.targets.span();
            return Err(self.wrong(
                at,
                "the job has no adapter: say which there are, in tables such as `[adapters.style]`; a model without \
                 adapters is what `quad convert` is for",
            ));
        }
        self.anchor(&file.anchor, &adapters)?;
        let targets = self.targets(file.targets)?;
        let pipeline = file.pipeline.unwrap_or_else(|| PIPELINE.to_owned());
        let (anchor, verify) = (file.anchor.value, file.verify);
        let (expose, sizes, precision) = (file.expose, file.sizes, file.precision);
        Ok(Job { model, adapters, expose, pipeline, sizes, calibration, precision, anchor, verify, targets })
    }

    /// The path, which must be there.
    fn existing(&self, path: &Spanned<PathBuf>, what: &str) -> Result<PathBuf, JobError> {
        let found = self.folder.join(path.get_ref());
        if found.exists() {
            return Ok(found);
        }
        let said = format!(
            "there is no `{}`, which is to be {what}; paths are relative to the folder of the job",
            found.display()
        );
        Err(self.wrong(path.span(), &said))
    }

    fn adapter(
        &self,
        name: &str,
        adapter: &Spanned<AdapterFile>,
        shared: Option<&Path>,
    ) -> Result<AdapterJob, JobError> {
        let plain = |found: char| found.is_ascii_alphanumeric() || "-_.".contains(found);
        if name == BASE || name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            let said = format!(
                "`{name}` cannot be the name of an adapter: it becomes the name of a file, of letters, digits, dashes, \
                 underscores and dots, and `{BASE}` is the model alone"
            );
            return Err(self.wrong(adapter.span(), &said));
        }
        let AdapterFile { path, data } = adapter.get_ref();
        let path = self.existing(path, "an adapter")?;
        let own = data.as_ref().map(|data| self.existing(data, "data")).transpose()?;
        let data = own.or_else(|| shared.map(Path::to_owned)).ok_or_else(|| {
            let said = format!(
                "adapter `{name}` has no data: give it some with `data`, or all that have none with `data` in \
                 `[calibration]`"
            );
            self.wrong(adapter.span(), &said)
        })?;
        Ok(AdapterJob { path, data })
    }

    fn anchor(
        &self,
        anchor: &Spanned2<AnchorSettings>,
        adapters: &BTreeMap<String, AdapterJob>,
    ) -> Result<(), JobError> {
        let (span, AnchorSettings { policy, margin, .. }) = (anchor.span.clone(), &anchor.value);
        if !(0.0..=1.0).contains(margin) {
            return Err(self.wrong(span, "`margin` is a part: a number from 0 to 1"));
        }
        let known = [UNIFIED, "qss", "auto"].into_iter().chain(adapters.keys().map(String::as_str));
        if known.clone().any(|word| word == policy) {
            return Ok(());
        }
        let near = nearest(policy, known.clone()).map(|near| format!("; did you mean `{near}`?"));
        let known: Vec<&str> = known.collect();
        let said = format!(
            "there is no policy and no adapter `{policy}`{}; known are {}",
            near.unwrap_or_default(),
            known.join(", ")
        );
        Err(self.wrong(span, &said))
    }

    fn targets(&self, file: Spanned<TargetsFile>) -> Result<Vec<TargetJob>, JobError> {
        let span = file.span();
        let TargetsFile { exynos, litert, litert_qualcomm, neuropilot, onnx, qnn } = file.into_inner();
        let all = [exynos, litert, litert_qualcomm, neuropilot, onnx, qnn];
        let given = TargetKind::ALL.into_iter().zip(all);
        let targets: Result<Vec<TargetJob>, JobError> =
            given.filter_map(|(kind, file)| Some(self.target(kind, file?))).collect();
        let targets = targets?;
        if targets.is_empty() {
            let known = TargetKind::ALL.map(TargetKind::name).join(", ");
            let said = format!(
                "the job has no target: say which, in tables such as `[targets.litert]`; known are {known}"
            );
            return Err(self.wrong(span, &said));
        }
        Ok(targets)
    }

    fn target(&self, kind: TargetKind, file: Spanned<TargetFile>) -> Result<TargetJob, JobError> {
        let span = file.span();
        let TargetFile { rules, arch, partial, io_types, io_layout, libraries } = file.into_inner();
        if let Some(rules) = &rules {
            Rules::preset(rules.get_ref()).map_err(|error| self.wrong(rules.span(), &error.to_string()))?;
        }
        let libraries =
            libraries.map(|folder| self.existing(&folder, "a folder of libraries")).transpose()?;
        let arch = match (kind, arch) {
            (TargetKind::Qnn, None) => {
                let known: Vec<&str> = Soc::all().map(Soc::part).collect();
                let said = format!("`qnn` needs `soc`, the chip: one of {}", known.join(", "));
                return Err(self.wrong(span, &said));
            }
            (TargetKind::Onnx, Some(arch)) => {
                return Err(self.wrong(arch.span(), "`onnx` is for no generation of hardware"));
            }
            (_, arch) => arch,
        };
        if let Some(arch) = &arch {
            let known = if kind == TargetKind::Qnn {
                arch.get_ref().parse::<Soc>().map(drop).map_err(|error| error.to_string())
            } else {
                target::find(TARGETS, kind.name(), Some(arch.get_ref()))
                    .map(drop)
                    .map_err(|error| error.to_string())
            };
            known.map_err(|said| self.wrong(arch.span(), &said))?;
        }
        let rules = rules.map_or_else(|| kind.rules().to_owned(), Spanned::into_inner);
        let arch = arch.map(Spanned::into_inner);
        Ok(TargetJob { kind, rules, arch, partial, io_types, io_layout, libraries })
    }
}

/// What a parser says, in our words where a name is not known: with the nearest of those that are.
fn plain(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let what = match message {
        text if text.starts_with("unknown field") => "key",
        text if text.starts_with("unknown variant") => "word",
        _ => return message.to_owned(),
    };
    let Some((found, known)) = quoted.split_first() else { return message.to_owned() };
    let near = nearest(found, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    format!("there is no {what} `{found}` here{}; known are {}", near.unwrap_or_default(), known.join(", "))
}
