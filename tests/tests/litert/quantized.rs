//! The trained UNet of the testbed, quantized for LiteRT: with an adapter it is as good in the runtime as in the interpreter,
//! and a compiler for an NPU takes it whole. That takes a minute, and only runs where `QUAD_COMPILERS` is set.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_passes::registry::Registry;
use quad_tests::litert::RESOLVERS;
use quad_tests::paths;

use crate::vendors;
use crate::{interpreted, litert};

/// How much worse the runtime may be than the interpreter, in decibels.
const ALLOWED: f64 = 0.5;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("quantized w8a16", || check("w8a16", 40.0)),
        Trial::test("quantized w8a8", || check("w8a8", 25.0)),
        Trial::test("quantized w8a16 compiled", compile)
            .with_ignored_flag(std::env::var_os("QUAD_COMPILERS").is_none()),
    ]
}

/// Runs a command of the program.
fn quad(arguments: &[&str]) -> Result<(), Failed> {
    let all = ["quad"].into_iter().chain(arguments.iter().copied());
    let code = quad_cli::run(&Registry::standard(), all.map(str::to_owned));
    if code == ExitCode::SUCCESS { Ok(()) } else { Err(format!("quad {} fails", arguments.join(" ")).into()) }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What a test needs of the quantized model, in a folder.
struct Files {
    folder: tempfile::TempDir,
    typed: String,
    written: String,
}

/// The model with an adapter, quantized as `precision` says and written for a compiler.
fn files(precision: &str) -> Result<Files, Failed> {
    let folder = tempfile::tempdir()?;
    let [stats, profile, typed, written] =
        ["stats", "profile.json", "unet.quad", "unet.tflite"].map(|name| text(&folder.path().join(name)));
    let testbed = paths::fixtures().join("testbed");
    let model = text(&testbed.join("models/base.legacy17.onnx"));
    let adapter = format!("inpaint={}", text(&testbed.join("lora/inpaint")));
    let data = format!("inpaint={}", text(&testbed.join("data/inpaint.calib.safetensors")));
    let on_data =
        ["--adapter", &adapter, "--data", &data, "--samples", "2", "--ignore", "target", "-o", &stats];
    quad(&[&["calibrate", &model][..], &on_data].concat())?;
    let rules = ["--anchor", "inpaint", "--precision", precision, "--rules", "litert", "-o", &profile];
    quad(&[&["profile", "make", &stats][..], &rules].concat())?;
    quad(&["quantize", &model, "--adapter", &adapter, "--profile", &profile, "-o", &typed])?;
    quad(&["convert", &typed, "--target", "litert-qualcomm", "-o", &written])?;
    Ok(Files { folder, typed, written })
}

/// A compiler for an NPU takes all of the model.
fn compile() -> Result<(), Failed> {
    let files = files("w8a16")?;
    ["SM8650", "SM8750", "SM8850"]
        .iter()
        .try_for_each(|soc| vendors::takes_whole("qualcomm", soc, Path::new(&files.written)))
}

/// Compares the model, quantized as `precision` says, with the floats; `least` is how many decibels it must reach, so that a
/// model that computes nothing of use is noticed.
fn check(precision: &str, least: f64) -> Result<(), Failed> {
    let Files { folder, typed, written } = files(precision)?;
    let testbed = paths::fixtures().join("testbed");
    let slots = text(&folder.path().join("slots.safetensors"));
    quad(&["adapter", "pack", &typed, &text(&testbed.join("lora/inpaint")), "-o", &slots])?;
    let inputs = inputs(&testbed)?;
    let model = text(&testbed.join("models/base.legacy17.onnx"));
    let reference = floats(&model, &testbed.join("lora/inpaint"), &inputs, folder.path())?;
    let stored = SafeTensorsFile::open(Path::new(&slots))?;
    let mut inputs: NamedTensors = inputs.into_iter().chain(stored.tensors().iter().cloned()).collect();
    let typed = quad_ir::text::read_files(Path::new(&typed))?;
    let simulated = decibels(&interpreted(&typed, &inputs)?, &reference)?;
    // Compilers for NPUs take 32 bits.
    let timestep = inputs.get("timestep").ok_or("a timestep")?.to_i64()?;
    inputs.insert("timestep".to_owned(), Tensor::from_i64(DType::I32, &[timestep.len()], timestep)?);
    for resolver in RESOLVERS {
        let found = litert()?.run(Path::new(&written), resolver, &[&inputs])?;
        let found = decibels(&found[0], &reference)?;
        if (found - simulated).abs() > ALLOWED || found < least {
            return Err(format!("{resolver}: {found:.2} dB, and {simulated:.2} dB in the interpreter").into());
        }
    }
    Ok(())
}

/// One sample.
fn inputs(testbed: &Path) -> Result<NamedTensors, Failed> {
    let file = SafeTensorsFile::open(&testbed.join("data/inpaint.eval.safetensors"))?;
    let all: NamedTensors = file.tensors().iter().cloned().collect();
    let tensor = |name: &str| all.get(name).ok_or_else(|| format!("there is no {name}"));
    let floats = |name: &str, sizes: &[usize]| -> Result<Tensor, Failed> {
        let count = sizes.iter().product();
        Ok(Tensor::from_f32(DType::F32, sizes, &tensor(name)?.to_f32()?[..count])?)
    };
    let sample = [&[1], &tensor("sample")?.sizes()[1..]].concat();
    let states = tensor("encoder_hidden_states")?.sizes().to_vec();
    let states = if states.len() == 2 { [&[1], &states[..]].concat() } else { states };
    Ok(NamedTensors::from([
        ("sample".to_owned(), floats("sample", &sample)?),
        ("encoder_hidden_states".to_owned(), floats("encoder_hidden_states", &states)?),
        ("timestep".to_owned(), tensor("timestep")?.clone()),
    ]))
}

/// What the model computes in floats.
fn floats(model: &str, adapter: &Path, inputs: &NamedTensors, folder: &Path) -> Result<NamedTensors, Failed> {
    let [given, computed]: [PathBuf; 2] = ["given.npz", "computed.npz"].map(|name| folder.join(name));
    npz::write(&given, inputs)?;
    quad(&[
        "run",
        model,
        "--adapter",
        &text(adapter),
        "--inputs",
        &text(&given),
        "--outputs",
        &text(&computed),
    ])?;
    Ok(npz::read(&computed)?)
}

/// The ratio of the range of the only output to its error, in decibels.
fn decibels(found: &NamedTensors, reference: &NamedTensors) -> Result<f64, Failed> {
    let (name, reference) = reference.iter().next().ok_or("an output")?;
    let found = found.get(name).ok_or("the same output")?.to_f64()?;
    let reference = reference.to_f64()?;
    let (low, high) =
        reference.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    let error: f64 =
        found.iter().zip(&reference).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / reference.len() as f64;
    Ok(10.0 * ((high - low) * (high - low) / error).log10())
}
