//! Quantization on the trained testbed is as good as that of another program: on the first four samples of each adapter,
//! whose quantized outputs were computed in PyTorch. `testbed-table` has all samples and precisions.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
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
fn own_and_unified_encodings_are_as_good_as_the_reference_and_forced_ones_fail_alike()
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
    Ok(())
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
