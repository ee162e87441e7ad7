//! Runs every model that real exporters wrote with `quad run` and compares with what PyTorch computed.
//!
//! `tests/fixtures/tiny/cases.json` says which inputs and outputs belong to which model.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::npz::{self, Archive};
use quad_frontends::onnx;
use quad_ir::compare::{Difference, Tolerance};
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use serde::Deserialize;

mod prefixed;

use prefixed::with_prefix;

/// Largest difference of an output from PyTorch's, relative to its largest magnitude.
const SINGLE_PRECISION: f64 = 1e-4;
/// The same for models in 16-bit floats.
const HALF_PRECISION: f64 = 5e-3;

/// A row of `cases.json`.
#[derive(Clone, Deserialize)]
struct Row {
    model: String,
    io: String,
    variant: String,
    cases: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny");
    let text = std::fs::read_to_string(tiny.join("cases.json")).expect("the list of models");
    let rows: Vec<Row> = serde_json::from_str(&text).expect("a list of rows");
    let listed: BTreeSet<String> = rows.iter().map(|row| row.model.clone()).collect();
    let models = tiny.join("models");
    let mut trials =
        vec![Trial::test("every model is listed", move || every_model_is_listed(&models, &listed))];
    trials.extend(rows.into_iter().map(|row| {
        let tiny = tiny.clone();
        Trial::test(row.model.clone(), move || check(&tiny, &row))
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_model_is_listed(folder: &Path, listed: &BTreeSet<String>) -> Result<(), Failed> {
    let mut found = BTreeSet::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    if found == *listed { Ok(()) } else { Err(format!("{found:?} is not {listed:?}").into()) }
}

fn check(tiny: &Path, row: &Row) -> Result<(), Failed> {
    let model = tiny.join("models").join(&row.model);
    let mut io = Archive::open(&tiny.join("io").join(&row.io))?;
    let is_half = row.variant.ends_with("_fp16");
    let allowed = if is_half { HALF_PRECISION } else { SINGLE_PRECISION };
    for case in &row.cases {
        let inputs = inputs(&mut io, &model, &format!("in.{case}."))?;
        let outputs = quad_run(&model, &inputs)?;
        let expected = with_prefix(&mut io, &format!("out.{}.{case}.", row.variant))?;
        if expected.is_empty() || !expected.keys().eq(outputs.keys()) {
            return Err(format!("sample {case}: outputs {:?}", outputs.keys()).into());
        }
        for (name, expected) in &expected {
            let error = relative_error(&outputs[name], expected)?;
            if error.is_nan() || error > allowed {
                return Err(
                    format!("sample {case}, `{name}`: off by {error:.2e}, at most {allowed:.0e}").into()
                );
            }
        }
    }
    Ok(())
}

/// The largest difference over the largest magnitude that is expected.
fn relative_error(found: &Tensor, expected: &Tensor) -> Result<f64, Failed> {
    let difference = Difference::between_values(found, expected, Tolerance { rtol: 0.0, atol: 0.0 })?;
    let largest = expected.to_f64()?.into_iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    Ok(difference.max_abs / largest)
}

/// The inputs of a sample. Stored in single precision, they are rounded where the model takes less.
fn inputs(io: &mut Archive, model: &Path, prefix: &str) -> Result<NamedTensors, Failed> {
    let module = onnx::import(model)?;
    let graph = module.main().ok_or("no graph")?;
    let mut inputs = with_prefix(io, prefix)?;
    for (name, tensor) in &mut inputs {
        let input = graph.find(name).ok_or_else(|| format!("no input `{name}`"))?;
        if input.ty().dtype == DType::F16 {
            *tensor = Tensor::from_f32(DType::F16, tensor.sizes(), &tensor.to_f32()?)?;
        }
    }
    Ok(inputs)
}

fn quad_run(model: &Path, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let scratch = tempfile::tempdir()?;
    let path = |name: &str| -> PathBuf { scratch.path().join(name) };
    npz::write(&path("inputs.npz"), inputs)?;
    let output = Command::new(env!("CARGO_BIN_EXE_quad"))
        .arg("run")
        .arg(model)
        .arg("--inputs")
        .arg(path("inputs.npz"))
        .arg("--outputs")
        .arg(path("outputs.npz"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(npz::read(&path("outputs.npz"))?)
}
