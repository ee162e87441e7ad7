//! A quantized diffusion model with its adapters on the simulator of Qualcomm's tensor processors, from calibration to a
//! run, through the program.
//!
//! Where the QNN libraries are not found, what needs them is ignored.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::{Narrowing, Tensor};
use quad_qnn::emit::package::{FILE, Package};
use quad_qnn::native::{Launcher, Native, Places, Program};
use quad_qnn::soc::Soc;
use tempfile::TempDir;

/// The adapters of the testbed.
const TASKS: [&str; 4] = ["inpaint", "edge", "deblur", "relight"];
/// The chip, as QNN numbers it.
const SOC: &str = "69";
/// The sample of the held-out ones that is run.
const SAMPLE: usize = 3;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let found = Places::from_environment(None).find().is_ok();
    let native =
        |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_ignored_flag(!found);
    let trials = vec![
        Trial::test("without_libraries_the_text_form_is_written", without_libraries),
        Trial::test("usage_is_checked_before_work", usage),
        native("the_simulator_is_as_good_as_the_interpreter", simulated),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn testbed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed")
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn start(arguments: &[OsString], hidden: bool) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.args(arguments);
    if hidden {
        // No place that has the libraries.
        command.env_remove("QNN_LIB_DIR").env_remove("QNN_SDK_ROOT").env("QUAD_PYTHON", "/no/such/python");
    }
    Ok(command.output()?)
}

fn quad(arguments: &[OsString]) -> Result<String, Failed> {
    let output = start(arguments, false)?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder with what was made of the testbed.
struct Bench(TempDir);

impl Bench {
    /// The model, quantized for QNN with a profile of all adapters together.
    fn new() -> Result<Self, Failed> {
        let bench = Self(tempfile::tempdir()?);
        let model: OsString = testbed().join("models/base.legacy17.onnx").into();
        let mut calibrate: Vec<OsString> = vec!["calibrate".into(), model.clone()];
        let mut adapters = Vec::new();
        for task in TASKS {
            let lora = testbed().join("lora").join(task);
            let data = testbed().join(format!("data/{task}.calib.safetensors"));
            adapters.extend(["--adapter".into(), named(task, &lora)]);
            calibrate.extend(["--data".into(), named(task, &data)]);
        }
        let (stats, profile) = (bench.path("stats"), bench.path("profile"));
        quad(
            &[&calibrate[..], &adapters, &words(&["--samples", "2", "-o"]), std::slice::from_ref(&stats)]
                .concat(),
        )?;
        let options = words(&["--anchor", "unified", "--rules", "qnn", "-o"]);
        quad(
            &[&words(&["profile", "make"])[..], &[stats], &options, std::slice::from_ref(&profile)].concat(),
        )?;
        let quantize = [&words(&["quantize"])[..], &[model], &adapters, &words(&["--profile"]), &[profile]];
        quad(&[&quantize.concat()[..], &words(&["-o"]), &[bench.path("q.quad")]].concat())?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> OsString {
        self.0.path().join(name).into()
    }

    /// The inputs of a sample of `task`, as an archive.
    fn inputs(&self, task: &str) -> Result<OsString, Failed> {
        let file = SafeTensorsFile::open(&testbed().join(format!("data/{task}.eval.safetensors")))?;
        let all: BTreeMap<String, Tensor> = file.tensors().iter().cloned().collect();
        let samples = all["sample"].cast(DType::F32, Narrowing::default())?;
        let sizes = [1, 16, 16, 16];
        let count: usize = sizes.iter().product();
        let one = samples.to_f32()?[SAMPLE * count..(SAMPLE + 1) * count].to_vec();
        let mut inputs = NamedTensors::from([("sample".to_owned(), Tensor::from_vec(&sizes, one)?)]);
        for name in ["timestep", "encoder_hidden_states"] {
            inputs.insert(name.to_owned(), all[name].clone());
        }
        let path = self.path(&format!("{task}.npz"));
        npz::write(Path::new(&path), &inputs)?;
        Ok(path)
    }

    /// What `model` makes of `inputs` with `adapter`.
    fn run(&self, model: &OsString, adapter: Option<OsString>, inputs: &OsString) -> Result<Tensor, Failed> {
        let out = self.path("out.npz");
        let mut arguments =
            [&words(&["run"])[..], &[model.clone(), "--inputs".into(), inputs.clone()]].concat();
        arguments.extend(adapter.into_iter().flat_map(|adapter| ["--adapter".into(), adapter]));
        quad(&[&arguments[..], &words(&["--outputs"]), std::slice::from_ref(&out)].concat())?;
        read(&out)
    }
}

fn named(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(format!("{name}="));
    word.push(path);
    word
}

fn read(path: &OsString) -> Result<Tensor, Failed> {
    let mut archive = npz::Archive::open(Path::new(path))?;
    Ok(archive.read("out_sample", None)?)
}

/// Peak signal to noise, in decibels.
fn psnr(found: &Tensor, exact: &Tensor) -> Result<f64, Failed> {
    let (found, exact) = (found.to_f64()?, exact.to_f64()?);
    let range =
        exact.iter().copied().fold(f64::MIN, f64::max) - exact.iter().copied().fold(f64::MAX, f64::min);
    let squares: f64 = found.iter().zip(&exact).map(|(found, exact)| (found - exact).powi(2)).sum();
    Ok(10.0 * (range * range * exact.len() as f64 / squares).log10())
}

fn simulated() -> Result<(), Failed> {
    let bench = Bench::new()?;
    let (model, quantized, package) =
        (testbed().join("models/base.legacy17.onnx").into(), bench.path("q.quad"), bench.path("package"));
    let mut convert = [&words(&["convert"])[..], std::slice::from_ref(&quantized)].concat();
    convert.extend(words(&["--target", "qnn", "--soc", SOC]));
    for task in TASKS {
        convert.extend(["--adapter".into(), named(task, &testbed().join("lora").join(task))]);
    }
    quad(&[&convert[..], &words(&["-o"]), std::slice::from_ref(&package)].concat())?;
    for task in TASKS {
        let lora: OsString = testbed().join("lora").join(task).into();
        let packed = bench.path(&format!("{task}.packed.safetensors"));
        let pack = [&words(&["adapter", "pack"])[..], &[quantized.clone(), lora.clone()], &words(&["-o"])];
        quad(&[&pack.concat()[..], std::slice::from_ref(&packed)].concat())?;
        let inputs = bench.inputs(task)?;
        let exact = bench.run(&model, Some(lora), &inputs)?;
        let integers = psnr(&bench.run(&quantized, Some(packed), &inputs)?, &exact)?;
        let slots = Path::new(&package).join(format!("{task}.safetensors"));
        let simulated = psnr(&bench.run(&package, Some(slots.into()), &inputs)?, &exact)?;
        if simulated < integers - 1.0 || simulated < 30.0 {
            return Err(
                format!("{task}: {simulated:.2} dB simulated, {integers:.2} dB in the interpreter").into()
            );
        }
    }
    files_compute_the_same(&bench, Path::new(&package))
}

/// The context binary gives what `quad run` gives, and so does the DLC where it can be read back.
fn files_compute_the_same(bench: &Bench, package: &Path) -> Result<(), Failed> {
    let inputs = bench.inputs("edge")?;
    let slots = package.join("edge.safetensors");
    let expected = bench.run(&package.into(), Some(slots.clone().into()), &inputs)?;
    let page: Package = serde_json::from_str(&std::fs::read_to_string(package.join(FILE))?)?;
    let mut tensors: NamedTensors = SafeTensorsFile::open(&slots)?.tensors().iter().cloned().collect();
    let mut archive = npz::Archive::open(Path::new(&inputs))?;
    for name in ["sample", "timestep", "encoder_hidden_states"] {
        tensors.insert(name.to_owned(), archive.read(name, None)?);
    }
    let stored = page.stored(&tensors)?;
    let launcher = Launcher { program: env!("CARGO_BIN_EXE_quad").into(), arguments: words(&["qnn-native"]) };
    let native = Native { libraries: Places::from_environment(None).find()?, launcher };
    let soc: Soc = SOC.parse()?;
    let binary = std::fs::read(package.join("model.bin"))?;
    let from_binary = native.execute(&Program::Binary(binary), soc, std::slice::from_ref(&stored))?;
    if page.tensors(&from_binary[0])?["out_sample"] != expected {
        return Err("the context binary computes something else".into());
    }
    match native.execute(&Program::Dlc(package.join("model.dlc")), soc, &[stored]) {
        Ok(found) if page.tensors(&found[0])?["out_sample"] == expected => Ok(()),
        Ok(_) => Err("the DLC computes something else".into()),
        // Reading a DLC adds a parameter to resizing to the nearest element, which the library then refuses: a DLC with
        // that operation is written but cannot be read back.
        Err(error) if error.to_string().contains("ResizeNearestNeighbor failed") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A small model in float, which needs no calibration.
const SMALL: &str =
    "quad 1\n\ngraph @main(%x: f32[1, 4]) {\n  %y = relu(%x) : f32[1, 4]\n  return \"y\" = %y\n}\n";

fn small() -> Result<(TempDir, Vec<OsString>), Failed> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("small.quad");
    std::fs::write(&model, SMALL)?;
    Ok((folder, vec!["convert".into(), model.into(), "--target".into(), "qnn".into()]))
}

fn without_libraries() -> Result<(), Failed> {
    let (folder, convert) = small()?;
    let out = folder.path().join("out");
    let arguments = [&convert[..], &words(&["--soc", SOC, "-o"]), &[out.clone().into()]].concat();
    let output = start(&arguments, true)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || !said.contains("pip install onnxruntime-qnn") {
        return Err(said.into());
    }
    let page: Package = serde_json::from_str(&std::fs::read_to_string(out.join(FILE))?)?;
    let net = std::fs::read_to_string(out.join("model_net.json"))?;
    if page.files.contains_key("context_binary") || !net.contains("\"Relu\"") || page.soc != "SM8750" {
        return Err(format!("{page:?}").into());
    }
    let run = [words(&["run"]), vec![out.into()], words(&["--inputs", "none.npz", "--outputs", "out.npz"])];
    let output = start(&run.concat(), true)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(2) && said.contains("libraries for QNN were not found") {
        return Ok(());
    }
    Err(said.into())
}

fn usage() -> Result<(), Failed> {
    let (folder, convert) = small()?;
    let out: OsString = folder.path().join("out").into();
    for (more, expected) in [
        (vec![], "--target qnn needs --soc, one of SM8350"),
        (words(&["--soc", "SM1"]), "`SM1` is no chip that QUAD knows"),
        (
            words(&["--soc", SOC, "--qnn-libs", "/no/such/folder"]),
            "--qnn-libs: /no/such/folder/libQnnHtp.so is not there",
        ),
    ] {
        let output =
            start(&[&convert[..], &more, &words(&["-o"]), std::slice::from_ref(&out)].concat(), true)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() != Some(2) || !said.contains(expected) {
            return Err(format!("{expected} is not in {said}").into());
        }
    }
    if Path::new(&out).exists() { Err("something was written".into()) } else { Ok(()) }
}
