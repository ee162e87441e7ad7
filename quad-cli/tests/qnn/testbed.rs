//! A diffusion model with four adapters, quantized with one profile: on the simulator, from every file that is written.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use quad_build::simulator::Simulator;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_ir::text;
use quad_qnn::native::Program;
use quad_qnn::soc::Soc;
use quad_quantize::executor::Executor as _;
use tempfile::TempDir;

use crate::SOC;
use crate::bench::{Runtime, as_qnn, native, onnxruntime, page, quad, run, words};
use crate::parts::{Part, parts};
use crate::trained::{self, SAMPLE, TASKS, adapters, lora, model, named, samples};

/// The output.
const OUTPUT: &str = "out_sample";

/// A folder with what was made of the testbed.
struct Bench(TempDir);

impl Bench {
    /// The folder, made when the first test asks for it.
    fn get() -> Result<&'static Self, Failed> {
        static BENCH: OnceLock<Result<Bench, String>> = OnceLock::new();
        let bench = BENCH.get_or_init(|| Self::new().map_err(|failed| format!("{failed:?}")));
        bench.as_ref().map_err(|failed| failed.clone().into())
    }

    /// The model, calibrated, and converted in the precision that is used unless another is asked for.
    fn new() -> Result<Self, Failed> {
        let bench = Self(tempfile::tempdir()?);
        let data = TASKS.map(|task| ["--data".into(), named(task, &samples(task, "calib"))]);
        let calibrate = [words(&["calibrate"]), vec![model().into()], adapters(), data.concat()];
        let limits = [words(&["--samples", "2", "-o"]), vec![bench.path("stats").into()]];
        quad(&[calibrate.concat(), limits.concat()].concat())?;
        let keep = [words(&["--keep"]), vec![bench.path("kept.quad").into()]].concat();
        bench.convert("w8a16", ["q.quad", "package"], keep)?;
        Ok(bench)
    }

    /// Quantizes the model in `precision` with a profile of all adapters together, and converts it with further options.
    fn convert(
        &self,
        precision: &str,
        [quantized, package]: [&str; 2],
        more: Vec<OsString>,
    ) -> Result<(), Failed> {
        let path = |name: &str| -> Vec<OsString> { vec![self.path(name).into()] };
        let profile = path(&format!("{package}.profile"));
        let options = words(&["--anchor", "unified", "--rules", "qnn", "--precision", precision, "-o"]);
        quad(&[words(&["profile", "make"]), path("stats"), options, profile.clone()].concat())?;
        let quantize = [words(&["quantize"]), vec![model().into()], adapters(), words(&["--profile"])];
        quad(&[quantize.concat(), profile, words(&["-o"]), path(quantized)].concat())?;
        let target = words(&["--target", "qnn", "--soc", SOC, "-o"]);
        quad(&[words(&["convert"]), path(quantized), adapters(), more, target, path(package)].concat())?;
        Ok(())
    }

    /// The folder of the model in another precision.
    fn other(&self, precision: &str) -> Result<PathBuf, Failed> {
        self.convert(precision, [&format!("{precision}.quad"), precision], Vec::new())?;
        Ok(self.path(precision))
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

/// The held-out sample of `task`, as inputs of the model.
fn inputs(task: &str) -> Result<NamedTensors, Failed> {
    trained::inputs(&samples(task, "eval"), SAMPLE)
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

/// The inputs of the converted model in folder `package` for `task`, and what `quad run` makes of them.
fn expected(package: &Path, task: &str) -> Result<(NamedTensors, Tensor), Failed> {
    let (mut tensors, slots) = (inputs(task)?, package.join(format!("{task}.safetensors")));
    let expected = run(package, Some(&slots), &tensors)?[OUTPUT].clone();
    tensors.extend(SafeTensorsFile::open(&slots)?.tensors().iter().cloned());
    Ok((tensors, expected))
}

/// The context binary and the DLC, read back, give what `quad run` gives.
pub(crate) fn files_compute_the_same() -> Result<(), Failed> {
    let (bench, native) = (Bench::get()?, native()?);
    let (package, soc) = (bench.package(), SOC.parse::<Soc>()?);
    let page = page(&package)?;
    let (tensors, expected) = expected(&package, "edge")?;
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
    let (tensors, whole) = expected(&bench.package(), task)?;
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
/// ONNX model, with which it is as good as the binary: with slots of 16 bits, and of 8.
pub(crate) fn provider() -> Result<(), Failed> {
    let bench = Bench::get()?;
    let task = "edge";
    let exact = run(&model(), Some(&lora(task)), &inputs(task)?)?[OUTPUT].clone();
    let mut wrong = String::new();
    for package in [bench.package(), bench.other("w8a16-slots8")?] {
        let page = page(&package)?;
        let (tensors, expected) = expected(&package, task)?;
        let given = [as_qnn(&page, &tensors)?];
        let context = onnxruntime(Runtime::Provider, &package.join("model.onnx"), &given)?.remove(0);
        if context[OUTPUT] != expected {
            return Err("the model around the context binary computes something else".into());
        }
        let binary = psnr(&expected, &exact)?;
        for runtime in [Runtime::Cpu, Runtime::Provider] {
            let output = onnxruntime(runtime, &package.join("model.qdq.onnx"), &given)?.remove(0);
            let found = psnr(&output[OUTPUT], &exact)?;
            // What is no number is farthest.
            if (found - binary).abs().total_cmp(&1.0).is_gt() {
                let what = package.display();
                writeln!(wrong, "{what}, {runtime:?}: {found:.2} dB, {binary:.2} of the binary")?;
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// Operation by operation, ONNX Runtime's provider for QNN and the CPU store the same, for four adapters: in 8 bits give or
/// take a step, and in 16 with what the processor is off by that much finer steps show.
pub(crate) fn provider_by_parts() -> Result<(), Failed> {
    let bench = Bench::get()?;
    let mut wrong = String::new();
    for (package, is_wide) in [(bench.other("w8a8")?, false), (bench.package(), true)] {
        let page = page(&package)?;
        let mut all = Vec::new();
        for task in TASKS {
            let mut tensors = trained::inputs(&samples(task, "calib"), 0)?;
            let slots = package.join(format!("{task}.safetensors"));
            tensors.extend(SafeTensorsFile::open(&slots)?.tensors().iter().cloned());
            all.push(as_qnn(&page, &tensors)?);
        }
        let parts = parts(&package.join("model.qdq.onnx"), &all, bench.0.path())?;
        let linear: Vec<&Part> = parts.iter().filter(|part| part.is_linear()).collect();
        assert!(linear.len() > 900, "{} linear operations, of {}", linear.len(), parts.len());
        for Part { name, kind, apart, slack } in linear {
            let most = if is_wide { 1.0 + slack } else { 1.0 };
            if *apart > most {
                writeln!(wrong, "{name}, {kind:?}: {apart} steps apart, at most {most:.2}")?;
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
