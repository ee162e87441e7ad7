//! Quantization on the trained testbed is as good as that of another program: on the first four samples of each adapter,
//! whose quantized outputs were computed in PyTorch. `testbed-table` has all samples and precisions.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_passes::registry::Registry;
use quad_quantize::profile::scores::{Scores, UNIFIED};
use quad_tests::testbed::{self, Choice, Fidelity, Matrix, Row, Scored, TASKS, Table};

/// Samples of each adapter.
const SAMPLES: usize = 4;

#[test]
fn encodings_are_as_good_as_the_reference_and_adapters_are_judged_as_they_turn_out()
-> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let stats = folder.path().join("stats.safetensors");
    let mut calibrate = command("calibrate");
    calibrate.extend(testbed::data("calib"));
    quad(calibrate, "-o", &stats)?;
    let data = first_samples(folder.path())?;
    let theirs = fs::read_to_string(testbed::folder().join("ptq_first4.json"))?;
    let theirs: Table = serde_json::from_str(&theirs)?;
    for (precision, name) in [("w8a16", "W8A16"), ("w8a8", "W8A8")] {
        let scores = folder.path().join(format!("{precision}.json"));
        let mut score = command("qss");
        score.extend(data.iter().cloned());
        score.extend(testbed::LOOKING.map(OsString::from));
        score.extend(["--precision", precision, "--stats"].map(OsString::from));
        score.push(stats.clone().into_os_string());
        quad(score, "-o", &scores)?;
        let scores: Scores = serde_json::from_str(&fs::read_to_string(&scores)?)?;
        let compared = scored(&scores).compared(&theirs[name]);
        assert_eq!(compared.len(), 11, "own and union of four adapters, and three with those of inpaint");
        for cell in compared {
            assert!(cell.holds(), "{name}: {cell:?} is {:.2} dB off", cell.gain());
        }
        assert_eq!(scores.best_candidate().map(|(name, _)| name), Some(UNIFIED));
    }
    new_adapters_are_judged(folder.path(), &stats)
}

/// Checks adapters as if they were new: those of the testbed fit the profile of all together, one that is eight times as
/// strong does not, and with samples, the check sees that activations are clipped where slots are not.
fn new_adapters_are_judged(folder: &Path, stats: &Path) -> Result<(), Box<dyn Error>> {
    let mut profiles = BTreeMap::new();
    for anchor in [UNIFIED, "edge", "relight"] {
        let profile = folder.join(format!("{anchor}.profile"));
        let mut make: Vec<OsString> = ["quad", "profile", "make"].map(OsString::from).to_vec();
        make.extend([stats.as_os_str().to_owned(), "--anchor".into(), anchor.into()]);
        quad(make, "-o", &profile)?;
        profiles.insert(anchor, profile);
    }
    let check = |anchor: &str, adapter: &Path, task: Option<&str>| {
        let mut check: Vec<OsString> = ["quad", "adapter", "check"].map(OsString::from).to_vec();
        check.extend([profiles[anchor].as_os_str().to_owned(), adapter.as_os_str().to_owned()]);
        check.extend(["--model".into(), testbed::model().into_os_string()]);
        check.extend(testbed::adapters("--beside"));
        if let Some(task) = task {
            let data = folder.join(format!("{task}.safetensors"));
            check.extend(["--data".into(), data.into_os_string()]);
            check.extend(testbed::LOOKING.map(OsString::from));
        }
        quad_cli::run(&Registry::standard(), check)
    };
    for task in TASKS {
        assert_eq!(check(UNIFIED, &testbed::adapter(task), None), ExitCode::SUCCESS, "{task}");
    }
    let strong = scaled_up(folder, "edge", 8.0)?;
    assert_eq!(check(UNIFIED, &strong, None), ExitCode::FAILURE, "eight times the adapter");
    assert_eq!(check("edge", &testbed::adapter("relight"), None), ExitCode::FAILURE, "slots are clipped");
    let inpaint = testbed::adapter("inpaint");
    assert_eq!(check(UNIFIED, &inpaint, Some("inpaint")), ExitCode::SUCCESS);
    assert_eq!(
        check("relight", &inpaint, None),
        ExitCode::SUCCESS,
        "next to nothing of the slots is clipped"
    );
    assert_eq!(check("relight", &inpaint, Some("inpaint")), ExitCode::FAILURE, "activations are clipped");
    Ok(())
}

/// Writes an adapter to `folder` whose change is `factor` times that of `task`.
fn scaled_up(folder: &Path, task: &str, factor: f32) -> Result<PathBuf, Box<dyn Error>> {
    let (from, to) = (testbed::adapter(task), folder.join("strong"));
    fs::create_dir(&to)?;
    fs::copy(from.join("adapter_config.json"), to.join("adapter_config.json"))?;
    let file = SafeTensorsFile::open(&from.join("adapter_model.safetensors"))?;
    let mut tensors = NamedTensors::new();
    for (name, tensor) in file.tensors() {
        let factor = if name.contains("lora_B") { factor } else { 1.0 };
        let numbers: Vec<f32> = tensor.to_f32()?.iter().map(|number| factor * number).collect();
        tensors.insert(name.clone(), Tensor::from_f32(tensor.dtype(), tensor.sizes(), &numbers)?);
    }
    safetensors::write(&to.join("adapter_model.safetensors"), &tensors, file.metadata())?;
    Ok(to)
}

/// `quad WORD` on the testbed.
fn command(word: &str) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec!["quad".into(), word.into(), testbed::model().into_os_string()];
    command.extend(testbed::adapters("--adapter"));
    command
}

/// Runs a command that writes `output`.
fn quad(mut command: Vec<OsString>, option: &str, output: &Path) -> Result<(), Box<dyn Error>> {
    command.extend([option.into(), output.as_os_str().to_owned()]);
    let shown = format!("{command:?}");
    if quad_cli::run(&Registry::standard(), command) == ExitCode::SUCCESS {
        Ok(())
    } else {
        Err(shown.into())
    }
}

/// Writes the first samples of each adapter to `folder`, and returns the options of `quad` that name them.
fn first_samples(folder: &Path) -> Result<Vec<OsString>, Box<dyn Error>> {
    let mut options = Vec::new();
    for task in TASKS {
        let file = SafeTensorsFile::open(&testbed::folder().join(format!("data/{task}.eval.safetensors")))?;
        let mut kept = NamedTensors::new();
        for (name, tensor) in
            file.tensors().iter().filter(|(name, _)| name != "target" && !name.starts_with("out."))
        {
            let tensor = if name == "sample" { first(tensor)? } else { tensor.clone() };
            kept.insert(name.clone(), tensor);
        }
        let path = folder.join(format!("{task}.safetensors"));
        safetensors::write(&path, &kept, &BTreeMap::new())?;
        let mut value = OsString::from(format!("{task}="));
        value.push(&path);
        options.extend(["--data".into(), value]);
    }
    Ok(options)
}

/// The first samples of `tensor`, a sample to an index.
fn first(tensor: &Tensor) -> Result<Tensor, Box<dyn Error>> {
    let (count, rest) = tensor.sizes().split_first().ok_or("samples have an axis")?;
    let sizes: Vec<usize> = std::iter::once(SAMPLES).chain(rest.iter().copied()).collect();
    let bytes = tensor.bytes().slice(..tensor.bytes().len() / count * SAMPLES);
    Ok(Tensor::new(tensor.dtype(), &sizes, bytes)?)
}

/// `scores` as the full report has them, without what only that has.
fn scored(scores: &Scores) -> Scored {
    let fidelity = |psnr: f64| Fidelity { psnr: Some(psnr), ssim: None, qss: f64::NAN };
    let row = |(candidate, psnr): (&String, &BTreeMap<String, f64>)| Row {
        candidate: candidate.clone(),
        fidelity: TASKS.iter().map(|task| fidelity(psnr[*task])).collect(),
    };
    let adapters = TASKS.map(str::to_owned).to_vec();
    Scored {
        matrix: Matrix { adapters, rows: scores.psnr.iter().map(row).collect() },
        choice: Choice { choice: String::new() },
        verdict: None,
    }
}
