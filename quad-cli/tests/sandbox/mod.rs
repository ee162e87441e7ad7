//! A folder with the files that documentation and users' mistakes are about: `unet.onnx`, adapters and samples, all small.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use quad_frontends::data::npz::{self, Archive};

#[path = "../prefixed/mod.rs"]
mod prefixed;

use prefixed::with_prefix;

/// The names of each adapter, as folders in PEFT's form.
const ADAPTERS: &[(&str, &[&str])] = &[("taskA", &["a", "edit", "edge", "new"]), ("taskC", &["b"])];
/// Archives of three samples.
const SAMPLES: &[&str] = &["samples", "a", "b", "edit", "style", "calib", "new"];

/// Runs a line of a shell in `folder`, where `quad` is the one that was built.
pub(crate) fn run(folder: &Path, line: &str) -> io::Result<Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("bash")
        .args(["-o", "pipefail", "-c", line])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", folder.join(".bin").display()))
        .output()
}

/// Puts the files into `folder`.
pub(crate) fn furnish(folder: &Path) -> Result<(), Box<dyn Error>> {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny").canonicalize()?;
    fs::create_dir(folder.join(".bin"))?;
    symlink(env!("CARGO_BIN_EXE_quad"), folder.join(".bin/quad"))?;
    for model in ["unet.onnx", "model.onnx"] {
        fs::copy(tiny.join("models/unet2_base.legacy17.onnx"), folder.join(model))?;
    }
    fs::copy(tiny.join("lora/taskB/kohya/taskB.safetensors"), folder.join("style.safetensors"))?;
    for (task, names) in ADAPTERS {
        for name in *names {
            symlink(tiny.join("lora").join(task).join("peft"), folder.join(name))?;
        }
    }
    let mut io = Archive::open(&tiny.join("io/unet2.npz"))?;
    let one = with_prefix(&mut io, "in.0.")?;
    npz::write(&folder.join("in.npz"), &one)?;
    let three = with_prefix(&mut io, "in.b3_0.")?;
    for name in SAMPLES {
        npz::write(&folder.join(format!("{name}.npz")), &three)?;
    }
    fs::create_dir(folder.join("style_samples"))?;
    npz::write(&folder.join("style_samples/1.npz"), &three)?;
    Ok(())
}
