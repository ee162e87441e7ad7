//! `quad calibrate`: parts make the whole bit for bit, whatever the threads, however often it is cut off; and what it says
//! of data that do not fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use serde_json::Value;
use tempfile::TempDir;

/// A model without adapters; the logarithm of a negative number is none.
const MODEL: &str = "\
quad 1

graph @main(%x: f32[1, 8], %t: i64[1]) {
  %a = weight [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, 8.0] : f32[8]
  %product = mul(%x, %a) : f32[1, 8]
  %level = log(%x) : f32[1, 8]
  %sum = add(%product, %level) : f32[1, 8]
  return \"y\" = %sum
}
";

/// A model that leaves out the second of three scores, as text encoders do.
const MASKED: &str = "\
quad 1

graph @main(%x: f32[1, 3]) {
  %mask = weight [0.0, -inf, 0.0] : f32[3]
  %left = add(%x, %mask) : f32[1, 3]
  %y = softmax(%left) : f32[1, 3]
  return \"y\" = %y
}
";

/// A folder with the model and what a test adds to it.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(TempDir::new().expect("a temporary folder"));
        fs::write(bench.path("model.quad"), MODEL).expect("written");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes `x` of so many samples, all positive, and `t`.
    fn data(&self, name: &str, samples: usize) {
        let elements = (0..samples * 8).map(|at| 0.25 + (at * 37 % 101) as f32 / 16.0).collect();
        self.arrays(
            name,
            &[("x", Tensor::from_vec(&[samples, 8], elements).expect("as many")), ("t", step())],
        );
    }

    fn arrays(&self, name: &str, arrays: &[(&str, Tensor)]) {
        let arrays: NamedTensors =
            arrays.iter().map(|(name, array)| ((*name).to_owned(), array.clone())).collect();
        safetensors::write(&self.path(name), &arrays, &[].into()).expect("written");
    }

    /// `quad calibrate` with `arguments`, separated by spaces, in the folder.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        command.arg("calibrate").args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("runs")
    }

    /// What the command writes to `output`.
    #[track_caller]
    fn bytes(&self, arguments: &str, output: &str) -> Vec<u8> {
        let ran = self.run(&format!("{arguments} -o {output}"));
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        fs::read(self.path(output)).expect("the output")
    }

    /// What the command says when it refuses.
    #[track_caller]
    fn refused(&self, arguments: &str, parts: &[&str]) {
        let ran = self.run(arguments);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
}

fn step() -> Tensor {
    Tensor::from_vec(&[1], vec![3i64]).expect("one number")
}

fn floats(sizes: &[usize]) -> Tensor {
    Tensor::from_vec(sizes, vec![1.5f32; sizes.iter().product()]).expect("as many")
}

/// Arguments for the trained model with two of its adapters.
fn testbed(samples: usize) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed");
    let folder = folder.canonicalize().expect("the fixtures");
    let folder = folder.display();
    let adapter = |name| {
        format!("--adapter {name}={folder}/lora/{name} --data {name}={folder}/data/{name}.calib.safetensors")
    };
    let (edge, relight) = (adapter("edge"), adapter("relight"));
    format!("{folder}/models/base.legacy17.onnx {edge} {relight} --samples {samples}")
}

#[test]
fn shards_and_threads_make_the_same_bytes() {
    let bench = Bench::new();
    let arguments = testbed(5);
    let whole = bench.bytes(&format!("{arguments} --threads 1"), "whole");
    for part in 1..=4 {
        bench.bytes(&format!("{arguments} --threads 3 --shard {part}/4"), &format!("part{part}"));
    }
    let merged = bench.bytes("--merge part3 part1 part4 part2", "merged");
    assert!(whole == merged, "four shards are not the whole");
    bench.bytes("--merge part1 part3", "odd");
    bench.bytes("--merge part4 part2", "even");
    assert!(whole == bench.bytes("--merge even odd", "merged"), "the grouping makes a difference");
    bench.refused("--merge part1 odd -o merged", &["part1", "odd", "sample 0", "edge"]);
}

#[test]
fn a_part_without_samples_is_told_of_and_makes_no_profile() {
    let bench = Bench::new();
    bench.data("data.safetensors", 2);
    let taken = |shard: &str| {
        let ran = bench.run(&format!("model.quad --data data.safetensors --shard {shard} -o part"));
        assert!(ran.status.success());
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    let make = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        command.args(["profile", "make", "part", "--anchor", "unified", "-o", "profile"]);
        command.current_dir(bench.path("")).output().expect("runs")
    };
    assert!(!taken("2/3").contains("no sample"));
    assert!(make().status.success());
    let said = taken("3/3");
    assert!(said.contains("warning: `base` was run on no sample"), "{said}");
    let refused = make();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("`base` was run on no sample") && said.contains("--merge"), "{said}");
}

#[test]
fn a_packed_adapter_is_the_adapter() {
    let bench = Bench::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/testbed");
    let folder = folder.canonicalize().expect("the fixtures").display().to_string();
    let quad = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
        let ran = command.args(arguments.split_whitespace()).current_dir(bench.0.path()).output();
        let ran = ran.expect("runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    quad(&format!(
        "lora expose {folder}/models/base.legacy17.onnx --adapter {folder}/lora/edge -o exposed.quad"
    ));
    quad(&format!("adapter pack exposed.quad {folder}/lora/edge -o packed.safetensors"));
    let data =
        format!("--data {folder}/data/edge.calib.safetensors --samples 1 --ignore target --ignore out.*");
    let packed = bench.bytes(&format!("exposed.quad --adapter edge=packed.safetensors {data}"), "packed");
    let loose = bench.bytes(&format!("exposed.quad --adapter edge={folder}/lora/edge {data}"), "loose");
    assert!(packed == loose, "the statistics differ");
}

/// The samples that the file at `path` has, when there is a file.
fn samples(path: &Path) -> usize {
    let file = path.exists().then(|| SafeTensorsFile::open(path).expect("a whole file"));
    let tensors = file.as_ref().map_or(&[][..], SafeTensorsFile::tensors);
    tensors.iter().find(|(name, _)| name == "base/samples").map_or(0, |(_, tensor)| tensor.len())
}

#[test]
fn a_killed_calibration_goes_on_and_ends_with_the_same_bytes() {
    let bench = Bench::new();
    bench.data("data.safetensors", 3000);
    let arguments = "model.quad --data data.safetensors --threads 2 --checkpoint-every 0";
    let whole = bench.bytes("model.quad --data data.safetensors", "whole");
    let mut child =
        bench.command(&format!("{arguments} -o out")).stdout(Stdio::null()).spawn().expect("runs");
    let (checkpoint, started) = (bench.path("out.checkpoint"), Instant::now());
    while samples(&checkpoint) < 5 {
        assert!(started.elapsed() < Duration::from_mins(1), "no checkpoint comes");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it was running");
    child.wait().expect("it ended");
    assert!(!bench.path("out").exists(), "it ended before it was killed");
    let done = samples(&checkpoint);
    assert!((5..3000).contains(&done), "{done} samples are done");

    let resumed = bench.run("model.quad --data data.safetensors --threads 3 -o out");
    let said = String::from_utf8_lossy(&resumed.stderr);
    assert!(resumed.status.success() && said.contains(&format!("{done} samples are done")), "{said}");
    assert!(fs::read(bench.path("out")).expect("the output") == whole, "the bytes differ");
    assert!(!checkpoint.exists(), "the checkpoint stays");
}

#[test]
fn what_is_no_checkpoint_of_the_calibration_is_left_alone() {
    let bench = Bench::new();
    bench.data("data.safetensors", 4);
    bench.data("other.safetensors", 10);
    fs::write(bench.path("ranges.json"), r#"{"*": [-8, 8]}"#).expect("written");
    let other = bench.bytes("model.quad --data other.safetensors", "other");
    for foreign in [&other[..], b"notes of somebody"] {
        fs::write(bench.path("out.checkpoint"), foreign).expect("written");
        let ran = bench.run("model.quad --data data.safetensors --checkpoint-every 0 -o out");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
        for part in ["out.checkpoint` is not gone on from", "left alone", "writes no checkpoint"] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        bench.bytes("model.quad --ranges ranges.json", "out");
        assert!(fs::read(bench.path("out.checkpoint")).expect("it stays") == foreign, "it was changed");
    }
}

#[test]
fn checkpoints_may_be_further_apart_than_clocks_count() {
    let bench = Bench::new();
    bench.data("data.safetensors", 4);
    bench.bytes("model.quad --data data.safetensors --checkpoint-every 18446744073709551615", "out");
}

#[test]
fn samples_come_in_every_form() {
    let bench = Bench::new();
    bench.data("data.safetensors", 6);
    let x = |from: usize, count: usize, sizes: &[usize]| {
        let elements =
            (from * 8..(from + count) * 8).map(|at| 0.25 + (at * 37 % 101) as f32 / 16.0).collect();
        ("x", Tensor::from_vec(sizes, elements).expect("as many"))
    };
    fs::create_dir(bench.path("folder")).expect("made");
    bench.arrays("folder/a.safetensors", &[x(0, 3, &[3, 1, 8]), ("t", step())]);
    bench.arrays("folder/b.safetensors", &[x(3, 1, &[1, 8]), ("t", step()), ("target", step())]);
    bench.arrays(
        "folder/c.safetensors",
        &[x(4, 2, &[2, 8]), ("t", Tensor::from_vec(&[2, 1], vec![3i32; 2]).expect("two"))],
    );
    bench.bytes("model.quad --data data.safetensors", "one");
    bench.bytes("model.quad --data folder --ignore target", "three");
    let show = |name: &str| -> Value {
        let shown = bench.run(&format!("--show {name} --json"));
        serde_json::from_slice(&shown.stdout).expect("JSON")
    };
    let (one, three) = (show("one"), show("three"));
    assert_eq!(one["adapters"]["base"]["values"], three["adapters"]["base"]["values"]);
    assert_eq!(three["adapters"]["base"]["available"], 6);
    let range = serde_json::json!({"min": -6.0, "max": 8.0});
    let weights = one["weights"].as_object().expect("an object");
    assert!(weights.values().any(|weight| *weight == range), "{weights:?}");
    assert!(one["adapters"]["base"]["values"].get("t").is_none(), "integers have no statistics");
    assert_ne!(one["adapters"]["base"]["data"], three["adapters"]["base"]["data"]);
    bench.refused("--merge one three -o both", &["base", "different data", "folder"]);
}

#[test]
fn what_a_mask_leaves_out_stays_a_float() {
    let bench = Bench::new();
    fs::write(bench.path("masked.quad"), MASKED).expect("written");
    bench.arrays("x.safetensors", &[("x", floats(&[2, 3]))]);
    bench.bytes("masked.quad --data x.safetensors", "stats");
    let profile = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_quad"))
            .args(["profile", "make", "stats", "--anchor", "unified", "-o", "profile"])
            .args(arguments)
            .current_dir(bench.0.path())
            .output()
            .expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let profile: Value =
            serde_json::from_slice(&fs::read(bench.path("profile")).expect("written")).expect("JSON");
        profile
    };
    for rules in ["reference", "qnn"] {
        let profile = profile(&["--rules", rules]);
        let why = profile["floats"]["left"].as_str().expect("a float, with a reason");
        assert!(why.contains("mask"), "{why}");
        assert!(profile["entries"]["x"].is_object(), "what is masked later has an encoding");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let bench = Bench::new();
    bench.data("good.safetensors", 2);
    let refused = |file: &str, arrays: &[(&str, Tensor)], parts: &[&str]| {
        bench.arrays(file, arrays);
        bench.refused(&format!("model.quad --data {file} -o out"), &[&[file], parts].concat());
    };
    refused(
        "sizes.safetensors",
        &[("x", floats(&[4, 9])), ("t", step())],
        &["`x`", "f32[4, 9]", "f32[1, 8]"],
    );
    refused("missing.safetensors", &[("x", floats(&[4, 8]))], &["`t`", "i64[1]", "`x`"]);
    let extra = [("x", floats(&[4, 8])), ("t", step()), ("target", step())];
    refused("extra.safetensors", &extra, &["`target`", "--ignore target"]);
    refused("empty.safetensors", &[("x", floats(&[0, 8])), ("t", step())], &["no sample"]);
    let uneven = [("x", floats(&[4, 8])), ("t", Tensor::from_vec(&[3, 1], vec![1i64; 3]).expect("three"))];
    refused("uneven.safetensors", &uneven, &["`x`", "4 samples", "`t`", "3"]);
    refused("words.safetensors", &[("x", floats(&[4, 8])), ("t", floats(&[1]))], &["`t`", "f32", "i64"]);
    refused("empty.npz", &[("x", floats(&[4, 8]))], &["no archive"]);
    let negative = Tensor::from_vec(&[2, 8], [[1.0f32; 8], [-1.0; 8]].concat()).expect("two");
    bench.arrays("nan.safetensors", &[("x", negative), ("t", step())]);
    bench.refused("model.quad --data nan.safetensors -o out", &["`base`", "sample 1", "`level`", "NaN"]);
    bench.refused(
        "model.quad --data style=good.safetensors -o out",
        &["there is no adapter `style`", "`base` is the model alone"],
    );
    bench.refused("model.quad -o out", &["no data for `base`"]);
    bench.refused("model.quad --adapter base=b --data good.safetensors -o out", &["`base`"]);
    bench.refused("model.quad --data good.safetensors --data good.safetensors -o out", &["twice"]);
    bench.refused("--show good.safetensors", &["good.safetensors", "no statistics"]);
    fs::write(bench.path("other.quad"), MODEL.replace("log", "sqrt")).expect("written");
    bench.bytes("model.quad --data good.safetensors", "one");
    bench.bytes("other.quad --data good.safetensors", "two");
    bench.refused("--merge one two -o out", &["one", "two", "different models"]);
    assert!(!bench.path("out").exists());
}
