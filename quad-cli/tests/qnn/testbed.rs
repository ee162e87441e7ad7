//! A diffusion model with four adapters, quantized with one profile: on the simulator, from every file that is written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use quad_build::simulator::Simulator;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::{Narrowing, Tensor};
use quad_ir::text;
use quad_qnn::native::Program;
use quad_qnn::soc::Soc;
use quad_quantize::executor::Executor as _;
use tempfile::TempDir;

use crate::SOC;
use crate::bench::{Runtime, as_qnn, named, native, onnxruntime, page, quad, run, words};

/// The adapters of the testbed.
const TASKS: [&str; 4] = ["inpaint", "edge", "deblur", "relight"];
/// The sample of the held-out ones that is run.
const SAMPLE: usize = 3;
/// The output.
const OUTPUT: &str = "out_sample";

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
    /// The folder, made when the first test asks for it.
    fn get() -> Result<&'static Self, Failed> {
        static BENCH: OnceLock<Result<Bench, String>> = OnceLock::new();
        let bench = BENCH.get_or_init(|| Self::new().map_err(|failed| format!("{failed:?}")));
        bench.as_ref().map_err(|failed| failed.clone().into())
    }

    /// The model, quantized for QNN with a profile of all adapters together, and converted.
    fn new() -> Result<Self, Failed> {
        let bench = Self(tempfile::tempdir()?);
        let model: OsString = model().into();
        let (mut adapters, mut data) = (Vec::new(), Vec::new());
        for task in TASKS {
            let samples = testbed().join(format!("data/{task}.calib.safetensors"));
            adapters.extend(["--adapter".into(), named(task, &lora(task))]);
            data.extend(["--data".into(), named(task, &samples)]);
        }
        let path = |name: &str| -> Vec<OsString> { vec![bench.path(name).into()] };
        let calibrate = [words(&["calibrate"]), vec![model.clone()], adapters.clone(), data];
        quad(&[calibrate.concat(), words(&["--samples", "2", "-o"]), path("stats")].concat())?;
        let options = words(&["--anchor", "unified", "--rules", "qnn", "-o"]);
        quad(&[words(&["profile", "make"]), path("stats"), options, path("profile")].concat())?;
        let quantize =
            [words(&["quantize"]), vec![model], adapters.clone(), words(&["--profile"]), path("profile")];
        quad(&[quantize.concat(), words(&["-o"]), path("q.quad")].concat())?;
        let target = words(&["--target", "qnn", "--soc", SOC, "-o"]);
        let keep = [words(&["--keep"]), path("kept.quad")].concat();
        quad(&[words(&["convert"]), path("q.quad"), adapters, keep, target, path("package")].concat())?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn package(&self) -> PathBuf {
        self.path("package")
    }

    fn slots(&self, task: &str) -> PathBuf {
        self.package().join(format!("{task}.safetensors"))
    }
}

/// The inputs of a sample of `task`.
fn inputs(task: &str) -> Result<NamedTensors, Failed> {
    let file = SafeTensorsFile::open(&testbed().join(format!("data/{task}.eval.safetensors")))?;
    let all: BTreeMap<String, Tensor> = file.tensors().iter().cloned().collect();
    let samples = all["sample"].cast(DType::F32, Narrowing::default())?;
    let sizes = [1, 16, 16, 16];
    let count: usize = sizes.iter().product();
    let one = samples.to_f32()?[SAMPLE * count..(SAMPLE + 1) * count].to_vec();
    let mut inputs = NamedTensors::from([("sample".to_owned(), Tensor::from_vec(&sizes, one)?)]);
    inputs.insert("timestep".to_owned(), all["timestep"].clone());
    let hidden = all["encoder_hidden_states"].cast(DType::F32, Narrowing::default())?;
    inputs.insert("encoder_hidden_states".to_owned(), hidden);
    Ok(inputs)
}

/// Peak signal to noise, in decibels.
fn psnr(found: &Tensor, exact: &Tensor) -> Result<f64, Failed> {
    let (found, exact) = (found.to_f64()?, exact.to_f64()?);
    let range =
        exact.iter().copied().fold(f64::MIN, f64::max) - exact.iter().copied().fold(f64::MAX, f64::min);
    let squares: f64 = found.iter().zip(exact.iter()).map(|(found, exact)| (found - exact).powi(2)).sum();
    Ok(10.0 * (range * range * exact.len() as f64 / squares).log10())
}

/// For every adapter the simulator is as near to the float model as the interpreter.
pub(crate) fn simulated() -> Result<(), Failed> {
    let bench = Bench::get()?;
    let quantized = bench.path("q.quad");
    for task in TASKS {
        let packed = bench.path(&format!("{task}.packed.safetensors"));
        let pack = vec![quantized.clone().into(), lora(task).into(), "-o".into(), packed.clone().into()];
        quad(&[words(&["adapter", "pack"]), pack].concat())?;
        let inputs = inputs(task)?;
        let exact = run(&model(), Some(&lora(task)), &inputs)?[OUTPUT].clone();
        let integers = psnr(&run(&quantized, Some(&packed), &inputs)?[OUTPUT], &exact)?;
        let simulated = psnr(&run(&bench.package(), Some(&bench.slots(task)), &inputs)?[OUTPUT], &exact)?;
        if simulated < integers - 1.0 || simulated < 30.0 {
            let why = format!("{task}: {simulated:.2} dB simulated, {integers:.2} dB in the interpreter");
            return Err(why.into());
        }
    }
    Ok(())
}

/// The inputs of the converted model for `task`, and what `quad run` makes of them.
fn expected(bench: &Bench, task: &str) -> Result<(NamedTensors, Tensor), Failed> {
    let mut tensors = inputs(task)?;
    let expected = run(&bench.package(), Some(&bench.slots(task)), &tensors)?[OUTPUT].clone();
    tensors.extend(SafeTensorsFile::open(&bench.slots(task))?.tensors().iter().cloned());
    Ok((tensors, expected))
}

/// The context binary and the DLC, read back, give what `quad run` gives.
pub(crate) fn files_compute_the_same() -> Result<(), Failed> {
    let (bench, native) = (Bench::get()?, native()?);
    let (package, soc) = (bench.package(), SOC.parse::<Soc>()?);
    let page = page(&package)?;
    let (tensors, expected) = expected(bench, "edge")?;
    let stored = page.stored(&tensors)?;
    let binary = Program::Binary(std::fs::read(package.join("model.bin"))?);
    let mut in_dlc = stored.clone();
    for ((name, _), port) in in_dlc.iter_mut().zip(&page.inputs) {
        *name = port.dlc_name.clone().unwrap_or_else(|| name.clone());
    }
    let dlc = Program::Dlc(package.join("model.dlc"));
    for (what, program, run) in [("context binary", binary, stored), ("DLC", dlc, in_dlc)] {
        let found = native.execute(&program, soc, &[run])?;
        if page.tensors(&found[0])?[OUTPUT] != expected {
            return Err(format!("the {what} computes something else").into());
        }
    }
    Ok(())
}

/// Operations of a block.
const BLOCK: usize = 100;

/// Every block by itself is near the interpreter, given the same: within a hundredth of the range of each of its results. All
/// blocks in a row are as near to the float model as the model in one piece.
pub(crate) fn blocks() -> Result<(), Failed> {
    let (bench, task) = (Bench::get()?, "edge");
    let module = text::read_files(&bench.path("kept.quad"))?;
    let graph = module.main().ok_or("it runs")?;
    let simulator = Simulator::new(graph, native()?, SOC.parse()?, BLOCK)?;
    let (tensors, whole) = expected(bench, task)?;
    let deviations = simulator.deviations(&tensors)?;
    assert!(simulator.blocks() > 10 && deviations.len() > simulator.blocks());
    let far = deviations.iter().filter(|one| one.steps.is_nan() || one.steps > 655.0);
    let far: Vec<String> = far.map(|one| format!("{one:?}")).collect();
    if !far.is_empty() {
        return Err(far.join("\n").into());
    }
    let exact = run(&model(), Some(&lora(task)), &inputs(task)?)?[OUTPUT].clone();
    let blocks = psnr(&simulator.run(&tensors)?[OUTPUT], &exact)?;
    let whole = psnr(&whole, &exact)?;
    if (blocks - whole).abs() < 1.0 { Ok(()) } else { Err(format!("{blocks:.2} dB, not {whole:.2}").into()) }
}

/// ONNX Runtime's provider for QNN gives the same of the context binary, to the bit; and it takes every node of the quantized
/// ONNX model, whose few floats it computes in 16 bits.
pub(crate) fn provider() -> Result<(), Failed> {
    let bench = Bench::get()?;
    let (package, task) = (bench.package(), "edge");
    let page = page(&package)?;
    let (tensors, expected) = expected(bench, task)?;
    let given = [as_qnn(&page, &tensors)?];
    let context = onnxruntime(Runtime::Provider, &package.join("model.onnx"), &given)?.remove(0);
    if context[OUTPUT] != expected {
        return Err("the model around the context binary computes something else".into());
    }
    let exact = run(&model(), Some(&lora(task)), &inputs(task)?)?[OUTPUT].clone();
    let mut found = vec![("context binary", psnr(&expected, &exact)?)];
    for (what, runtime) in [("CPU", Runtime::Cpu), ("provider", Runtime::Provider)] {
        let output = onnxruntime(runtime, &package.join("model.qdq.onnx"), &given)?.remove(0);
        found.push((what, psnr(&output[OUTPUT], &exact)?));
    }
    let report = found.iter().fold(String::new(), |mut text, (what, psnr)| {
        let _ = writeln!(text, "{what}: {psnr:.2} dB");
        text
    });
    let [binary, cpu, provider] = [found[0].1, found[1].1, found[2].1];
    if (cpu - binary).abs() < 1.0 && provider > 30.0 { Ok(()) } else { Err(report.into()) }
}
