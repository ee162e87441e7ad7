//! A quantized model with its adapters, from calibration to a run: in integers, simulated in floats, and in ONNX Runtime.
//!
//! ONNX Runtime is asked where `QUAD_PYTHON` names a Python that has it; those tests are ignored otherwise.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_frontends::onnx;
use quad_ir::graph::{Graph, Output as GraphOutput, Patch, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::ops::QuantizeLinear;
use quad_ir::ops::source::Binding;
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
    let statistics = Arc::new(Calibrated::default());
    let [first, second] = [statistics.clone(), statistics.clone()];
    let mut trials = vec![
        Trial::test("packing_says_what_it_cuts_off", move || packing_says_what_it_cuts_off(&first)),
        Trial::test("other_models_and_forms_are_refused", move || {
            other_models_and_forms_are_refused(&second)
        }),
    ];
    for precision in ["w8a16", "w8a8"] {
        let (asked, statistics) = (python.clone().unwrap_or_default(), statistics.clone());
        let trial = Trial::test(format!("onnxruntime_agrees_{precision}"), move || {
            onnxruntime_agrees(&statistics, precision, &asked)
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

/// Statistics of the testbed, taken when the first test asks for them.
#[derive(Default)]
struct Calibrated(OnceLock<Result<TempDir, String>>);

impl Calibrated {
    fn path(&self) -> Result<PathBuf, Failed> {
        let taken = self.0.get_or_init(|| Self::take().map_err(|failed| format!("{failed:?}")));
        Ok(taken.as_ref()?.path().join("stats"))
    }

    fn take() -> Result<TempDir, Failed> {
        let folder = tempfile::tempdir()?;
        let mut calibrate: Vec<OsString> = vec!["calibrate".into(), model().into()];
        calibrate.extend(adapters());
        for task in TASKS {
            let data = testbed().join(format!("data/{task}.calib.safetensors"));
            calibrate.extend(["--data".into(), named(task, &data)]);
        }
        let stats = folder.path().join("stats");
        quad(&[&calibrate[..], &words(["--samples", SAMPLES, "-o"]), &[stats.into()]].concat())?;
        Ok(folder)
    }
}

/// A folder with what was made of the testbed.
struct Bench(TempDir);

impl Bench {
    /// A profile of all adapters together.
    fn new(statistics: &Calibrated, precision: &str) -> Result<Self, Failed> {
        let (bench, stats) = (Self(tempfile::tempdir()?), statistics.path()?);
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

    /// What ONNX Runtime computes of each of `inputs`.
    fn onnxruntime(
        &self,
        python: &OsStr,
        model: &Path,
        inputs: &[NamedTensors],
        optimize: bool,
    ) -> Result<Vec<NamedTensors>, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/run_onnxruntime.py");
        let mut command = Command::new(python);
        command.arg(script).arg(model).args((!optimize).then_some("--no-optimization"));
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

/// What PyTorch computed of the held-out sample of `task` in floats.
fn expected(task: &str) -> Result<Vec<f64>, Failed> {
    let file = SafeTensorsFile::open(&testbed().join(format!("data/{task}.eval.safetensors")))?;
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

/// The end of the name under which a stored tensor is given.
const GIVEN: &str = ".given";

/// A model in QDQ form, cut at each `quantize_linear`: what is stored there is an output, and an input for those who read it.
fn cut(model: &Path) -> Result<Graph, Failed> {
    let mut graph = text::read_files(model)?.main().ok_or("it runs")?.clone();
    let quantizers = graph.nodes().filter(|node| node.is::<QuantizeLinear>().is_some());
    let stored: Vec<(ValueId, String)> =
        quantizers.filter_map(|node| Some((node.result().id(), node.result().name()?.to_string()))).collect();
    let mut patch = Patch::new(&graph, "cut");
    for (value, name) in &stored {
        let ty = graph.value(*value).ty().clone();
        let given = patch.add_input(&format!("{name}{GIVEN}"), ty, Binding::Run)?;
        patch.replace(*value, given)?;
    }
    let edit = patch.finish()?;
    graph.apply(edit)?;
    graph.set_outputs(
        stored.into_iter().map(|(value, name)| GraphOutput { name: name.into(), value }).collect(),
    )?;
    Ok(graph)
}

/// Everything that a model in QDQ form stores in a run, by name.
fn stored(model: &Path, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let module = text::read_files(model)?;
    let mut stored = NamedTensors::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        let is_stored = value.producer().is::<QuantizeLinear>().is_some();
        stored.extend(value.name().filter(|_| is_stored).map(|name| (name.to_string(), tensor.clone())));
    };
    Interpreter::new(module.main().ok_or("it runs")?).run_observed(inputs, &mut observe)?;
    Ok(stored)
}

/// How far stored numbers are apart.
#[derive(Default)]
struct Apart {
    elements: usize,
    differ: usize,
    /// The largest difference, and where it is.
    most: (u64, String),
}

impl Apart {
    fn add(&mut self, found: &NamedTensors, expected: &NamedTensors) -> Result<(), Failed> {
        for (name, expected) in expected {
            let found = found.get(name).ok_or_else(|| format!("there is no output {name}"))?.to_i64()?;
            for (found, expected) in found.iter().zip(expected.to_i64()?) {
                let steps = found.abs_diff(expected);
                self.elements += 1;
                self.differ += usize::from(steps > 0);
                if steps > self.most.0 {
                    self.most = (steps, name.clone());
                }
            }
        }
        Ok(())
    }
}

/// ONNX Runtime stores the same numbers as the interpreter, give or take a step, wherever it reads the same numbers; for
/// every value that is stored and every adapter, with its own optimizations and without.
///
/// In a whole run differences add up: a sum that is rounded in another order may be stored a step off, and that moves what
/// comes behind it. The outputs of two runs are then as far apart as rounding can bring them, also those of ONNX Runtime
/// with and without its optimizations. So in whole runs it is the distance to the float model that must be the same.
fn onnxruntime_agrees(statistics: &Calibrated, precision: &str, python: &OsStr) -> Result<(), Failed> {
    let bench = Bench::new(statistics, precision)?;
    let qdq = bench.quantize("qdq.quad", &["--form", "qdq"])?;
    let typed = bench.quantize("typed.quad", &[])?;
    let whole = bench.quantize("model.onnx", &[])?;
    let parts = bench.path("parts.onnx");
    onnx::write(&cut(&qdq)?, &parts)?;
    let (mut fed, mut pieces, mut expected_pieces, mut ours) = (vec![], vec![], vec![], vec![]);
    for task in TASKS {
        let mut inputs = inputs(task)?;
        let taken = bench.path("inputs.npz");
        npz::write(&taken, &inputs)?;
        let packed = bench.pack(&qdq, lora(task).as_os_str())?;
        let slots: NamedTensors = SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect();
        ours.push([bench.run(&qdq, Some(&packed), &taken)?, {
            let packed = bench.pack(&typed, lora(task).as_os_str())?;
            let same: NamedTensors = SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect();
            if same != slots {
                return Err(format!("{task}: the slots of both forms differ").into());
            }
            bench.run(&typed, Some(&packed), &taken)?
        }]);
        inputs.extend(slots);
        let stored = stored(&qdq, &inputs)?;
        let given = stored.iter().map(|(name, tensor)| (format!("{name}{GIVEN}"), tensor.clone()));
        let mut piece = inputs.clone();
        piece.extend(given);
        pieces.push(piece);
        expected_pieces.push(stored);
        fed.push(inputs);
    }
    let (mut report, mut agrees) = (String::new(), true);
    for optimize in [false, true] {
        let mut apart = Apart::default();
        for (found, expected) in
            bench.onnxruntime(python, &parts, &pieces, optimize)?.iter().zip(&expected_pieces)
        {
            apart.add(found, expected)?;
        }
        let share = apart.differ as f64 / apart.elements as f64;
        let (most, place) = &apart.most;
        let _ = writeln!(
            report,
            "optimized {optimize}: {} stored numbers, {:.4} % differ, by {most} at most ({place})",
            apart.elements,
            100.0 * share
        );
        agrees &= *most <= 1 && share < 0.05;
        let whole = bench.onnxruntime(python, &whole, &fed, optimize)?;
        for ((task, theirs), ours) in TASKS.iter().zip(&whole).zip(&ours) {
            let expected = expected(task)?;
            let [simulated, integers] = ours;
            let found = [psnr(simulated, &expected)?, psnr(integers, &expected)?, psnr(theirs, &expected)?];
            let _ = writeln!(
                report,
                "  {task}: {:.2} dB simulated, {:.2} dB in integers, {:.2} dB in ONNX Runtime",
                found[0], found[1], found[2]
            );
            // A single sample in 8 bits is up to 0.7 dB nearer or farther by rounding alone.
            agrees &= found.iter().all(|psnr| (psnr - found[0]).abs() < 1.0);
        }
    }
    if std::env::var_os("QUAD_SHOW").is_some() {
        show(&format!("{precision}\n{report}"));
    }
    if agrees { Ok(()) } else { Err(format!("{precision}:\n{report}").into()) }
}

/// For whoever wants to see the figures of a test that passes.
#[expect(clippy::print_stderr, reason = "the figures are asked for")]
fn show(report: &str) {
    eprintln!("{report}");
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
