//! What the commands say when something is missing.

use std::ffi::OsString;
use std::path::Path;

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::SOC;
use crate::bench::{page, start, words};

/// A small model in float, which needs no calibration.
const SMALL: &str =
    "quad 1\n\ngraph @main(%x: f32[1, 4]) {\n  %y = relu(%x) : f32[1, 4]\n  return \"y\" = %y\n}\n";

fn small() -> Result<(TempDir, Vec<OsString>), Failed> {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("small.quad");
    std::fs::write(&model, SMALL)?;
    Ok((folder, vec!["convert".into(), model.into(), "--target".into(), "qnn".into()]))
}

pub(crate) fn without_libraries() -> Result<(), Failed> {
    let (folder, convert) = small()?;
    let out = folder.path().join("out");
    let arguments = [&convert[..], &words(&["--soc", SOC, "-o"]), &[out.clone().into()]].concat();
    let output = start(&arguments, true)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected =
        ["no context binary and no DLC are written", "pip install onnxruntime-qnn", "QNN_SDK_ROOT"];
    if !output.status.success() || expected.iter().any(|part| !said.contains(part)) {
        return Err(said.into());
    }
    let (page, net) = (page(&out)?, std::fs::read_to_string(out.join("model_net.json"))?);
    if page.files.contains_key("context_binary") || !net.contains("\"Relu\"") || page.soc != "SM8750" {
        return Err(format!("{page:?}").into());
    }
    for name in
        ["model.qdq.onnx", "sdk/model.onnx", "sdk/encodings-1.0.0.json", "sdk/quantization_overrides.json"]
    {
        if !out.join(name).is_file() {
            return Err(format!("there is no {name}").into());
        }
    }
    let run = [words(&["run"]), vec![out.into()], words(&["--inputs", "none.npz", "--outputs", "out.npz"])];
    let output = start(&run.concat(), true)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(2) && said.contains("libraries for QNN were not found") {
        return Ok(());
    }
    Err(said.into())
}

pub(crate) fn usage() -> Result<(), Failed> {
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
