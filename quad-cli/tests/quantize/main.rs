//! A quantized model with its adapters, from calibration to a run: in integers, simulated in floats, and in ONNX Runtime;
//! with factors as they are and normalized by rank.
//!
//! ONNX Runtime is asked where `QUAD_PYTHON` names a Python that has it; those tests are ignored otherwise.

#[path = "../cut/mod.rs"]
mod cut;
mod normalized;
mod onnxruntime;
mod same_bits;
#[path = "../trained/mod.rs"]
mod trained;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_onnxruntime::is_this_processor;
use serde_json::Value;
use tempfile::TempDir;

use trained::{SAMPLE, TASKS, adapters, lora, model, named, samples};

/// Samples of each adapter that are calibrated with.
const SAMPLES: &str = "2";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let python = std::env::var_os("QUAD_PYTHON");
    let statistics = Arc::new(Calibrated::new(Form::Plain));
    let [first, second, third] = [statistics.clone(), statistics.clone(), statistics.clone()];
    let mut trials = vec![
        Trial::test("packing_says_what_it_cuts_off", move || packing_says_what_it_cuts_off(&first)),
        Trial::test("other_models_and_forms_are_refused", move || {
            other_models_and_forms_are_refused(&second)
        }),
        Trial::test("slots_of_4_bits_can_be_packed", move || slots_of_4_bits_can_be_packed(&third)),
        Trial::test("slots_of_8_bits_are_normalized_by_rank", normalized::slots_are_normalized_by_rank),
    ];
    for precision in ["w8a16", "w8a8"] {
        let [statistics, again] = [statistics.clone(), statistics.clone()];
        let asked = python.clone().unwrap_or_default();
        let trial = Trial::test(format!("onnxruntime_agrees_{precision}"), move || {
            onnxruntime::agrees(&statistics, precision, &asked)
        });
        trials.push(trial.with_ignored_flag(python.is_none()));
        let (asked, statistics) = (python.clone().unwrap_or_default(), again);
        let trial = Trial::test(format!("onnxruntime_computes_the_same_bits_{precision}"), move || {
            same_bits::are_computed(&statistics, precision, &asked)
        });
        trials.push(trial.with_ignored_flag(python.is_none() || !is_this_processor()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// How factors of adapters reach the slots.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    Normalized,
}

/// A form of the testbed with its statistics, made when the first test asks for them.
struct Calibrated {
    form: Form,
    taken: OnceLock<Result<TempDir, String>>,
}

impl Calibrated {
    fn new(form: Form) -> Self {
        Self { form, taken: OnceLock::new() }
    }

    /// The model, and its statistics.
    fn paths(&self) -> Result<[PathBuf; 2], Failed> {
        let taken = self.taken.get_or_init(|| self.take().map_err(|failed| format!("{failed:?}")));
        let folder = taken.as_ref()?.path();
        let model = if self.form == Form::Plain { model() } else { folder.join("normalized.quad") };
        Ok([model, folder.join("stats")])
    }

    fn take(&self) -> Result<TempDir, Failed> {
        let folder = tempfile::tempdir()?;
        let mut source = model();
        if self.form == Form::Normalized {
            let exposed = folder.path().join("normalized.quad");
            let expose = [&["lora".into(), "expose".into(), source.into()], &adapters()[..]].concat();
            let form = words(["--form", "rank-normalized", "-o"]);
            quad(&[expose, form, vec![exposed.clone().into()]].concat())?;
            source = exposed;
        }
        let mut calibrate: Vec<OsString> = vec!["calibrate".into(), source.into()];
        calibrate.extend(adapters());
        for task in TASKS {
            calibrate.extend(["--data".into(), named(task, &samples(task, "calib"))]);
        }
        let stats = folder.path().join("stats");
        quad(&[&calibrate[..], &words(["--samples", SAMPLES, "-o"]), &[stats.into()]].concat())?;
        Ok(folder)
    }
}

/// How ONNX Runtime runs a model.
#[derive(Clone, Copy, Debug)]
enum Session {
    /// With its optimizations.
    Optimized,
    /// Without.
    Plain,
    /// Without, with one thread.
    Single,
}

impl Session {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Optimized => &[],
            Self::Plain => &["--no-optimization"],
            Self::Single => &["--no-optimization", "--threads", "1"],
        }
    }
}

/// A folder with what was made of a form of the testbed.
struct Bench {
    folder: TempDir,
    model: PathBuf,
}

impl Bench {
    /// A profile of all adapters together.
    fn new(statistics: &Calibrated, precision: &str) -> Result<Self, Failed> {
        let [model, stats] = statistics.paths()?;
        let bench = Self { folder: tempfile::tempdir()?, model };
        let made = [&words(["profile", "make"])[..], &[stats.into()]].concat();
        let mut options = words(["--anchor", "unified", "--precision", precision, "-o"]);
        options.push(bench.path("profile").into());
        options.extend((statistics.form == Form::Normalized).then(|| "--rank-normalized".into()));
        quad(&[made, options].concat())?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The quantized model in a file called `name`.
    fn quantize(&self, name: &str, options: &[&str]) -> Result<PathBuf, Failed> {
        let written = self.path(name);
        let mut command: Vec<OsString> = vec!["quantize".into(), self.model.clone().into()];
        command.extend(adapters());
        command.extend(words(options.iter().copied()));
        command.extend(["--profile".into(), self.path("profile").into()]);
        command.extend(["-o".into(), written.clone().into()]);
        quad(&command)?;
        Ok(written)
    }

    /// What `model` takes for `adapter`.
    fn pack(&self, model: &Path, adapter: &OsStr) -> Result<PathBuf, Failed> {
        let packed = self.path("packed.safetensors");
        quad(&[
            "adapter".into(),
            "pack".into(),
            model.into(),
            adapter.into(),
            "-o".into(),
            packed.clone().into(),
        ])?;
        Ok(packed)
    }

    /// What `quad run` computes with an adapter, which may be packed.
    fn run(&self, model: &Path, adapter: Option<&Path>, inputs: &Path) -> Result<NamedTensors, Failed> {
        let given: Vec<&OsStr> =
            adapter.into_iter().flat_map(|adapter| [OsStr::new("--adapter"), adapter.as_os_str()]).collect();
        self.run_with(model, &given, inputs)
    }

    /// What `quad run` computes with `options`.
    fn run_with(
        &self,
        model: &Path,
        options: &[impl AsRef<OsStr>],
        inputs: &Path,
    ) -> Result<NamedTensors, Failed> {
        let outputs = self.path("outputs.npz");
        let mut command: Vec<OsString> = vec!["run".into(), model.into()];
        command.extend(options.iter().map(|option| option.as_ref().to_owned()));
        command.extend(["--inputs".into(), inputs.into(), "--outputs".into(), outputs.clone().into()]);
        quad(&command)?;
        Ok(npz::read(&outputs)?)
    }

    /// What ONNX Runtime computes of each of `inputs`.
    fn onnxruntime(
        &self,
        python: &OsStr,
        model: &Path,
        inputs: &[NamedTensors],
        session: Session,
    ) -> Result<Vec<NamedTensors>, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/run_onnxruntime.py");
        let mut command = Command::new(python);
        command.arg(script).arg(model).args(session.options());
        let mut written = Vec::new();
        for (index, inputs) in inputs.iter().enumerate() {
            let (fed, outputs) = (self.path("fed.npz"), self.path("onnxruntime.npz"));
            let [fed, outputs] = [fed, outputs].map(|path| path.with_extension(format!("{index}.npz")));
            npz::write(&fed, inputs)?;
            command.args([&fed, &outputs]);
            written.push(outputs);
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        written.iter().map(|outputs| Ok(npz::read(outputs)?)).collect()
    }
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<OsString> {
    words.into_iter().map(Into::into).collect()
}

fn output(arguments: &[OsString]) -> Result<Output, Failed> {
    Ok(Command::new(env!("CARGO_BIN_EXE_quad")).args(arguments).output()?)
}

/// Runs `quad`, which must do its work, and returns what it says on standard error.
fn quad(arguments: &[OsString]) -> Result<String, Failed> {
    let output = output(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{arguments:?}: {said}").into()) }
}

/// The held-out sample of `task`, as inputs of the model.
fn inputs(task: &str) -> Result<NamedTensors, Failed> {
    trained::inputs(&samples(task, "eval"), SAMPLE)
}

/// What PyTorch computed of the held-out sample of `task` in floats.
fn expected(task: &str) -> Result<Vec<f64>, Failed> {
    let file = SafeTensorsFile::open(&samples(task, "eval"))?;
    let named = file.tensors().iter().find(|(name, _)| name == "out.fp32.first16");
    let (_, outputs) = named.ok_or("PyTorch's outputs")?;
    let one: usize = outputs.sizes()[1..].iter().product();
    Ok(outputs.to_f64()?[SAMPLE * one..(SAMPLE + 1) * one].to_vec())
}

/// The signal-to-noise ratio of `found` in decibels, by the spread of `expected`.
fn psnr(found: &NamedTensors, expected: &[f64]) -> Result<f64, Failed> {
    let found = found.values().next().ok_or("an output")?.to_f64()?;
    let squares: f64 = found.iter().zip(expected).map(|(found, expected)| (found - expected).powi(2)).sum();
    let (low, high) =
        expected.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    Ok(10.0 * ((high - low).powi(2) * expected.len() as f64 / squares).log10())
}

/// For whoever wants to see the figures of a test that passes.
#[expect(clippy::print_stderr, reason = "the figures are asked for")]
fn show(report: &str) {
    eprintln!("{report}");
}

/// The file format has no elements of 4 bits: they are written as bytes, and a packed adapter computes what the adapter does.
fn slots_of_4_bits_can_be_packed(statistics: &Calibrated) -> Result<(), Failed> {
    let bench = Bench::new(statistics, "w4a16-slots4")?;
    let model = bench.quantize("typed.quad", &[])?;
    let adapter = lora(TASKS[0]);
    let taken = bench.path("inputs.npz");
    npz::write(&taken, &inputs(TASKS[0])?)?;
    let packed = bench.pack(&model, adapter.as_os_str())?;
    let slots = SafeTensorsFile::open(&packed)?;
    assert!(slots.tensors().iter().all(|(_, slot)| slot.dtype() == DType::I4), "read as what they are");
    let found = bench.run(&model, Some(&packed), &taken)?;
    assert_eq!(found, bench.run(&model, Some(&adapter), &taken)?);
    Ok(())
}

/// Slots that are too small for an adapter are named, noted and refused on demand; no adapter at all is the base.
fn packing_says_what_it_cuts_off(statistics: &Calibrated) -> Result<(), Failed> {
    let bench = Bench::new(statistics, "w8a16")?;
    let typed = bench.quantize("typed.quad", &[])?;
    let packed = bench.path("packed.safetensors");
    let pack = |adapter: OsString, options: &[&str]| {
        let start: [OsString; 4] = ["adapter".into(), "pack".into(), typed.clone().into(), adapter];
        let end: [OsString; 2] = ["-o".into(), packed.clone().into()];
        output(&[&start[..], &words(options.iter().copied()), &end].concat())
    };
    let mut strong = lora("relight").into_os_string();
    let fits = pack(strong.clone(), &["--strict", "--json"])?;
    let told: Value = serde_json::from_slice(&fits.stdout)?;
    assert_eq!(
        (fits.status.code(), told["clipped"].as_object().map(serde_json::Map::len)),
        (Some(0), Some(0))
    );
    strong.push("=8");
    std::fs::remove_file(&packed)?;
    let refused = pack(strong.clone(), &["--strict"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("warning: the adapter is beyond what the model can store") && said.contains("lora_B")
    );
    assert!(!packed.exists(), "a file was written");
    let written = pack(strong, &["--json"])?;
    let told: Value = serde_json::from_slice(&written.stdout)?;
    let shares = told["clipped"].as_object().ok_or("an object")?;
    assert!(shares.values().any(|share| share.as_f64() > Some(0.001)), "{shares:?}");
    let file = SafeTensorsFile::open(&packed)?;
    let noted: Value = serde_json::from_str(&file.metadata()["quad.clipped"])?;
    assert_eq!(noted, told["clipped"]);
    // No adapter is the same as one of zeros.
    let taken = bench.path("inputs.npz");
    npz::write(&taken, &inputs("edge")?)?;
    let base = bench.run(&typed, None, &taken)?;
    quad(&["adapter".into(), "pack".into(), typed.clone().into(), "-o".into(), packed.clone().into()])?;
    let zeros = SafeTensorsFile::open(&packed)?;
    let is_zero = |tensor: &Tensor| tensor.to_i64().is_ok_and(|codes| codes.iter().all(|code| *code == 0));
    assert!(zeros.tensors().iter().all(|(_, tensor)| is_zero(tensor)), "a slot is not zero");
    assert_eq!(bench.run(&typed, Some(&packed), &taken)?, base);
    Ok(())
}

/// A profile is for one model, and forms are for formats.
fn other_models_and_forms_are_refused(statistics: &Calibrated) -> Result<(), Failed> {
    let bench = Bench::new(statistics, "w8a16")?;
    let quantize = |options: &[OsString]| {
        let mut command: Vec<OsString> = vec!["quantize".into(), model().into()];
        command.extend(["--profile".into(), bench.path("profile").into()]);
        command.extend(options.iter().cloned());
        let output = output(&command)?;
        Ok::<_, Failed>((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (code, said) = quantize(&["-o".into(), bench.path("out.quad").into()])?;
    assert!(code == Some(2) && said.contains("the profile is of another graph"), "{said}");
    let onnx = ["--form".into(), "typed".into(), "-o".into(), bench.path("out.onnx").into()];
    let (code, said) = quantize(&onnx)?;
    assert!(code == Some(2) && said.contains("ONNX has no quantized types"), "{said}");
    Ok(())
}
