//! Files that `quad convert` writes: the same bytes with any number of threads, and whole ones only, whenever it is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn testbed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed")
}

/// The conversion of a model with an adapter to the file `out`, beside which the slots are written.
fn conversion(out: &Path, threads: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    let adapter = format!("inpaint={}", testbed().join("lora/inpaint").display());
    command.arg("convert").arg(testbed().join("models/base.legacy17.onnx")).arg("--target").arg("litert");
    command.args(["--adapter", &adapter]).arg("-o").arg(out);
    command.env("RAYON_NUM_THREADS", threads.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The files of `folder` by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(&path).expect("readable"))
    };
    entries.map(read).collect()
}

fn converted(threads: usize) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = conversion(&folder.path().join("unet.tflite"), threads).status().expect("it starts");
    assert!(status.success());
    files(folder.path())
}

#[test]
fn two_builds_with_other_numbers_of_threads_are_the_same_bytes() {
    let (one, several) = (converted(1), converted(4));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["unet.tflite", "unet.tflite.inpaint.safetensors"]);
    assert!(one == several, "the bytes differ");
}

/// How long the file that `child` writes beside `out` is; `None` before it begins.
fn written(out: &Path, child: &Child) -> Option<u64> {
    let name = out.file_name().expect("a name").to_string_lossy();
    let part = out.with_file_name(format!("{name}.{}.part", child.id()));
    fs::metadata(part).ok().map(|found| found.len())
}

#[test]
fn who_is_killed_leaves_no_file_or_a_whole_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = folder.path().join("whole.tflite");
    let start = Instant::now();
    assert!(conversion(&whole, 2).status().expect("it starts").success());
    let (takes, expected) = (start.elapsed(), files(folder.path()));
    let expected = &expected["whole.tflite"];
    let mut while_writing = 0;
    for (round, share) in [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.2, 0.6].into_iter().enumerate() {
        let out = folder.path().join(format!("{round}.tflite"));
        let mut child = conversion(&out, 2).spawn().expect("it starts");
        if round < 6 {
            // Killed at a part of the file.
            let least = (expected.len() as f64 * share) as u64;
            let has_begun = |child: &Child| written(&out, child).is_some_and(|length| length >= least);
            while !has_begun(&child) && child.try_wait().expect("a process").is_none() && !out.exists() {}
        } else {
            sleep(Duration::from_secs_f64(takes.as_secs_f64() * share));
        }
        let _ = child.kill();
        child.wait().expect("it has ended");
        let is_begun = written(&out, &child).is_some();
        match fs::read(&out) {
            Ok(found) => assert!(found == *expected, "{} of {} bytes are there", found.len(), expected.len()),
            Err(_) => while_writing += usize::from(is_begun),
        }
    }
    assert!(while_writing > 0, "none was killed while it wrote");
    // What is left over is in nobody's way.
    let again = folder.path().join("0.tflite");
    assert!(conversion(&again, 2).status().expect("it starts").success());
    assert!(fs::read(&again).expect("readable") == *expected);
}
