//! Files that `quad convert` writes: the same bytes with any number of threads, and in one command as in several; whole ones
//! only, whenever it is killed.

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

/// Runs `quad` with words between spaces, in which `MODEL` is a small model and `DIR` is
/// `folder`; what it says on standard error.
fn quad(folder: &Path, words: &str) -> (Option<i32>, String) {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny");
    let model = tiny.join("models/unet2_base.legacy17.onnx").display().to_string();
    let places = [("MODEL", model), ("DIR", folder.display().to_string())];
    let word =
        |word: &str| places.iter().fold(word.to_owned(), |word, (name, path)| word.replace(name, path));
    let output = Command::new(env!("CARGO_BIN_EXE_quad")).args(words.split_whitespace().map(word)).output();
    let output = output.expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What `quad check --json` says of a small model, and the code that it ends with.
fn checked(model: &str, target: &str) -> (Option<i32>, serde_json::Value) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/models").join(model);
    let output = Command::new(env!("CARGO_BIN_EXE_quad"))
        .args(["check", "--json", "--target", target])
        .arg(model)
        .output()
        .expect("it starts");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("one JSON object"))
}

#[test]
fn a_check_tells_scripts_what_a_target_takes() {
    for target in ["litert", "neuropilot", "exynos", "litert-qualcomm"] {
        let (code, found) = checked("unet2_base.legacy17.onnx", target);
        assert_eq!((code, &found["legal"]), (Some(0), &true.into()), "{target}: {found}");
        assert_eq!(found["nodes"], found["legal_nodes"], "{target}");
        assert_eq!(found["partitions"].as_array().map(Vec::len), Some(1), "{target}");
        // A compiler without sines gets polynomials.
        let lacks_sines = found["pipeline"].as_str().is_some_and(|passes| passes.contains("sine=true"));
        assert_eq!(lacks_sines, target == "neuropilot");
        assert_eq!(found["operations"].get("sin").is_none(), target == "neuropilot");
    }
    let (code, found) = checked("clip_text.legacy17.onnx", "neuropilot");
    assert_eq!((code, &found["legal"]), (Some(1), &false.into()));
    let illegal = found["illegal"].as_array().expect("a list");
    let count = |name: &str| found[name].as_u64().expect("a number");
    assert_eq!(count("nodes") - count("legal_nodes"), illegal.len() as u64);
    let gather = illegal.iter().find(|node| node["op"] == "gather").expect("a lookup of tokens");
    assert!(gather["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("GATHER is not taken")));
}

/// Statistics of a small model, in `DIR/stats`.
fn calibrate(folder: &Path) {
    fs::write(folder.join("ranges.json"), r#"{"*": [-4.0, 4.0], "*softmax*": [0.0, 1.0]}"#).expect("written");
    let done = quad(folder, "calibrate MODEL --ranges DIR/ranges.json -o DIR/stats");
    assert_eq!(done.0, Some(0), "{}", done.1);
}

#[test]
fn one_command_writes_what_several_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    calibrate(folder);
    for (target, rules, out) in [("litert", "litert", "tflite"), ("neuropilot", "neuropilot", "tflite")] {
        let words = [
            format!("profile make DIR/stats --anchor base --precision w8a16 --rules {rules} -o DIR/profile"),
            "quantize MODEL --profile DIR/profile -o DIR/typed.quad".to_owned(),
            format!("convert DIR/typed.quad --target {target} -o DIR/several.{out}"),
            format!("convert MODEL --target {target} --profile DIR/profile -o DIR/one.{out}"),
            format!(
                "convert MODEL --target {target} --precision w8a16 --stats DIR/stats --anchor base -o DIR/made.{out}"
            ),
        ];
        for words in words {
            let (code, said) = quad(folder, &words);
            assert_eq!(code, Some(0), "quad {words}: {said}");
        }
        let file = |name: &str| fs::read(folder.join(format!("{name}.{out}"))).expect("readable");
        assert!(file("one") == file("several"), "{target}: other bytes with a profile");
        assert!(file("made") == file("several"), "{target}: other bytes with statistics");
    }
}

#[test]
fn what_is_missing_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    calibrate(folder);
    let made =
        quad(folder, "profile make DIR/stats --anchor base --precision w8a8 --rules qnn -o DIR/profile");
    assert_eq!(made.0, Some(0), "{}", made.1);
    for (words, expected) in [
        ("--precision w8a16", "quad convert"),
        ("--precision w8a16", "calibrate first"),
        ("--precision int8", "expected f32, f16, or bits such as w8a16"),
        ("--profile DIR/profile", "the profile is made by the rules `qnn`, and litert takes those of litert"),
        ("--profile DIR/profile", "--anchor base --precision w8a8 --rules litert"),
        ("--stats DIR/stats --anchor edge", "there are no statistics of adapter `edge`, only of base"),
        ("--timesteps 0", "expected 1 to"),
    ] {
        let words = format!("convert MODEL --target litert -o DIR/out.tflite {words}");
        let (code, said) = quad(folder, &words);
        assert_eq!(code, Some(2), "quad {words}: {said}");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(expected), "quad {words}: {said}");
        assert!(!folder.join("out.tflite").exists());
    }
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
