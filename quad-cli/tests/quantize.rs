//! A quantized model with its adapters, from calibration to a run: in integers, simulated in floats, and in ONNX Runtime.
//!
//! ONNX Runtime is asked where `QUAD_PYTHON` names a Python that has it; those tests are ignored otherwise.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::NamedTensors;
use quad_ir::ops::DequantizeLinear;
use quad_ir::tensor::Tensor;
use quad_ir::text;
use serde_json::Value;
use tempfile::TempDir;

/// The adapters of the testbed.
const TASKS: [&str; 4] = ["inpaint", "edge", "deblur", "relight"];

/// Samples of each adapter that are calibrated with.
const SAMPLES: &str = "2";

/// The sample of the held-out ones that is run.
const SAMPLE: usize = 3;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let python = std::env::var_os("QUAD_PYTHON");
    let mut trials = vec![
        Trial::test("packing_says_what_it_cuts_off", packing_says_what_it_cuts_off),
        Trial::test("other_models_and_forms_are_refused", other_models_and_forms_are_refused),
    ];
    for precision in ["w8a16", "w8a8"] {
        let asked = python.clone().unwrap_or_default();
        let trial = Trial::test(format!("onnxruntime_agrees_{precision}"), move || {
            onnxruntime_agrees(precision, &asked)
        });
        trials.push(trial.with_ignored_flag(python.is_none()));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn testbed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed")
}

fn model() -> PathBuf {
    testbed().join("models/base.legacy17.onnx")
}

fn lora(task: &str) -> PathBuf {
    testbed().join("lora").join(task)
}

/// A folder with what was made of the testbed.
struct Bench(TempDir);

impl Bench {
    /// Statistics of the testbed, and a profile of all adapters together.
    fn new(precision: &str) -> Result<Self, Failed> {
        let bench = Self(tempfile::tempdir()?);
        let mut calibrate: Vec<OsString> = vec!["calibrate".into(), model().into()];
        calibrate.extend(adapters());
        for task in TASKS {
            let data = testbed().join(format!("data/{task}.calib.safetensors"));
            calibrate.extend(["--data".into(), named(task, &data)]);
        }
        let stats = bench.path("stats");
        quad(&[&calibrate[..], &words(["--samples", SAMPLES, "-o"]), &[stats.clone().into()]].concat())?;
        let options = ["--anchor", "unified", "--precision", precision, "-o"];
        let made = [&words(["profile", "make"])[..], &[stats.into()], &words(options)].concat();
        quad(&[&made[..], &[bench.path("profile").into()]].concat())?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The quantized model in a file called `name`.
    fn quantize(&self, name: &str, options: &[&str]) -> Result<PathBuf, Failed> {
        let written = self.path(name);
        let mut command: Vec<OsString> = vec!["quantize".into(), model().into()];
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
        let outputs = self.path("outputs.npz");
        let mut command: Vec<OsString> = vec!["run".into(), model.into()];
        command.extend(adapter.into_iter().flat_map(|adapter| ["--adapter".into(), adapter.into()]));
        command.extend(["--inputs".into(), inputs.into(), "--outputs".into(), outputs.clone().into()]);
        quad(&command)?;
        Ok(npz::read(&outputs)?)
    }

    /// What ONNX Runtime computes.
    fn onnxruntime(
        &self,
        python: &OsStr,
        model: &Path,
        inputs: &Path,
        options: &[&str],
    ) -> Result<NamedTensors, Failed> {
        let outputs = self.path("onnxruntime.npz");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/run_onnxruntime.py");
        let mut command = Command::new(python);
        let output = command.arg(script).args([model, inputs, &outputs]).args(options).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(npz::read(&outputs)?)
    }
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<OsString> {
    words.into_iter().map(Into::into).collect()
}

/// `--adapter NAME=PATH` for all adapters.
fn adapters() -> Vec<OsString> {
    TASKS.iter().flat_map(|task| ["--adapter".into(), named(task, &lora(task))]).collect()
}

fn named(name: &str, path: &Path) -> OsString {
    let mut named = OsString::from(format!("{name}="));
    named.push(path);
    named
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
    let file = SafeTensorsFile::open(&testbed().join(format!("data/{task}.eval.safetensors")))?;
    let mut inputs = NamedTensors::new();
    for (name, tensor) in file.tensors() {
        let tensor = match name.as_str() {
            "sample" => {
                let one: usize = tensor.sizes()[1..].iter().product();
                let elements = tensor.to_f32()?[SAMPLE * one..(SAMPLE + 1) * one].to_vec();
                Tensor::from_vec(&[&[1], &tensor.sizes()[1..]].concat(), elements)?
            }
            "encoder_hidden_states" => Tensor::from_vec(tensor.sizes(), tensor.to_f32()?.to_vec())?,
            "timestep" => tensor.clone(),
            _ => continue,
        };
        inputs.insert(name.clone(), tensor);
    }
    Ok(inputs)
}

/// The step of the only output of a model in QDQ form.
fn output_step(model: &Path) -> Result<f64, Failed> {
    let module = text::read_files(model)?;
    let graph = module.main().ok_or("it runs")?;
    let last = graph.value(graph.outputs()[0].value).producer();
    if last.is::<DequantizeLinear>().is_none() {
        return Err("the output is not quantized".into());
    }
    let scale = last.operand("x_scale").and_then(|scale| scale.constant()).ok_or("a constant scale")?;
    Ok(scale.to_f64()?[0])
}

/// The largest difference of any element, and the share of elements that differ by more than a quarter of `step`.
fn apart(found: &NamedTensors, expected: &NamedTensors, step: f64) -> Result<(f64, f64), Failed> {
    let (mut worst, mut off, mut all) = (0f64, 0, 0);
    for (name, expected) in expected {
        let found = found.get(name).ok_or_else(|| format!("there is no output {name}"))?.to_f64()?;
        for (found, expected) in found.iter().zip(expected.to_f64()?) {
            let steps = (found - expected).abs() / step;
            // Written so that what is no number is far off.
            worst = if steps <= worst { worst } else { steps };
            off += usize::from(steps > 0.25);
            all += 1;
        }
    }
    Ok((worst, off as f64 / f64::from(all.max(1))))
}

/// The QDQ model computes the same in ONNX Runtime as here, within one step of the output, for every adapter; with
/// ONNX Runtime's own optimizations and without.
fn onnxruntime_agrees(precision: &str, python: &OsStr) -> Result<(), Failed> {
    let bench = Bench::new(precision)?;
    let typed = bench.quantize("typed.quad", &[])?;
    let qdq = bench.quantize("qdq.quad", &["--form", "qdq"])?;
    let onnx = bench.quantize("model.onnx", &[])?;
    let step = output_step(&qdq)?;
    let (mut report, mut agrees) = (String::new(), true);
    for task in TASKS {
        let packed = bench.pack(&qdq, lora(task).as_os_str())?;
        let slots: NamedTensors = SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect();
        let (taken, fed) = (bench.path("inputs.npz"), bench.path("fed.npz"));
        let mut given = inputs(task)?;
        npz::write(&taken, &given)?;
        given.extend(slots.clone());
        npz::write(&fed, &given)?;
        let simulated = bench.run(&qdq, Some(&packed), &taken)?;
        let packed = bench.pack(&typed, lora(task).as_os_str())?;
        let same: NamedTensors = SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect();
        if same != slots {
            return Err(format!("{task}: the slots of both forms differ").into());
        }
        let integers = bench.run(&typed, Some(&packed), &taken)?;
        let plain = bench.onnxruntime(python, &onnx, &fed, &["--no-optimization"])?;
        let optimized = bench.onnxruntime(python, &onnx, &fed, &[])?;
        for (what, found) in
            [("integers", &integers), ("onnxruntime", &plain), ("onnxruntime optimized", &optimized)]
        {
            let (worst, off) = apart(found, &simulated, step)?;
            agrees &= worst <= 1.0 + 1e-3;
            let _ = writeln!(report, "{task}, {what}: {worst:.3} steps at most, {:.3} % off", 100.0 * off);
        }
    }
    if std::env::var_os("QUAD_SHOW").is_some() {
        eprintln_report(&report);
    }
    if agrees { Ok(()) } else { Err(format!("{precision}:\n{report}").into()) }
}

/// For whoever wants to see the figures of a test that passes.
#[expect(clippy::print_stderr, reason = "the figures are asked for")]
fn eprintln_report(report: &str) {
    eprintln!("{report}");
}

/// Slots that are too small for an adapter are named, noted and refused on demand; no adapter at all is the base.
fn packing_says_what_it_cuts_off() -> Result<(), Failed> {
    let bench = Bench::new("w8a16")?;
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
fn other_models_and_forms_are_refused() -> Result<(), Failed> {
    let bench = Bench::new("w8a16")?;
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
