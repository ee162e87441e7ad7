//! What users' scripts rely on: exit codes, messages, and what is printed where.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use quad_frontends::data::npz;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use serde_json::Value;
use tempfile::TempDir;

/// A model that takes `pixels`, f32[2, 2], and answers `y`, its positive part.
const MODEL: &str = "arrays_model.onnx";

fn hostile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hostile").join(name)
}

fn quad(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quad")).args(arguments).output().expect("quad starts")
}

/// Runs `quad` with arguments that are strings or paths.
macro_rules! quad {
    ($($argument:expr),* $(,)?) => { quad([$(AsRef::<std::ffi::OsStr>::as_ref(&$argument)),*]) };
}

/// What it printed, after checking how it ended.
#[track_caller]
fn expect(code: i32, output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout:\n{out}\nstderr:\n{err}");
    out
}

/// The message on stderr of a command that must end with code 2 and print nothing else.
#[track_caller]
fn refused(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    message
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &str) -> Value {
    serde_json::from_str(output).expect("JSON")
}

fn floats(sizes: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_vec(sizes, values.to_vec()).expect("as many values")
}

/// An archive in `folder` with these arrays.
fn archive(folder: &TempDir, name: &str, tensors: &[(&str, Tensor)]) -> PathBuf {
    let path = folder.path().join(name);
    let tensors: NamedTensors =
        tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    npz::write(&path, &tensors).expect("written");
    path
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn help_names_commands_and_exit_codes() {
    let help = expect(0, &quad!("--help"));
    assert!(help.contains("calibrate") && help.contains("Exit codes:") && help.contains("70"), "{help}");
    let help = expect(0, &quad!("profile", "make", "--help"));
    assert!(help.contains("quad profile make ") && help.contains("Examples:"), "{help}");
    assert!(expect(0, &quad!("--version")).starts_with("quad "));
}

#[test]
fn wrong_usage_ends_with_code_2() {
    for arguments in [&[][..], &["frobnicate"], &["run"], &["inspect", "--frobnicate", "m.onnx"]] {
        let output = quad(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    let output = quad!("compare", "a.npz", "b.npz", "--atol", "-1");
    assert!(refused(&output).contains("not negative"));
    let output = quad!("run", "m.onnx", "--inputs", "i.npz", "--outputs", "o.npz", "--max-memory", "lots");
    assert!(refused(&output).contains("8G"));
}

#[test]
fn a_model_that_is_not_there_or_not_one_is_named() {
    let folder = scratch();
    assert!(refused(&quad!("inspect", folder.path().join("absent.onnx"))).contains("absent.onnx"));
    let other = folder.path().join("model.tflite");
    fs::write(&other, "x").expect("written");
    let message = refused(&quad!("inspect", other));
    assert!(message.contains("model.tflite") && message.contains(".onnx"), "{message}");
    let message = refused(&quad!("inspect", hostile("foreign_op.onnx")));
    assert!(message.contains("foreign_op.onnx") && message.contains("not supported"), "{message}");
}

#[test]
fn inspect_shows_inputs_outputs_operations_and_weights() {
    let shown = expect(0, &quad!("inspect", hostile(MODEL)));
    for part in ["pixels  f32[2, 2]", "y  f32[2, 2]", "relu  1", "opset", "LoRA"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colors away from a terminal: {shown:?}");
    let facts = json(&expect(0, &quad!("inspect", hostile(MODEL), "--json")));
    assert_eq!(facts["inputs"][0]["name"], "pixels");
    assert_eq!(facts["inputs"][0]["dtype"], "f32");
    assert_eq!(facts["inputs"][0]["shape"], serde_json::json!([2, 2]));
    assert_eq!(facts["ops"]["relu"], 1);
    assert_eq!(facts["weights"]["bytes"], 0);
    assert_eq!(facts["lora"]["count"], 0);
}

#[test]
fn run_writes_the_outputs_and_says_so() {
    let folder = scratch();
    let out = folder.path().join("out.npz");
    let output = quad!("run", hostile(MODEL), "--inputs", hostile("pixels.npz"), "--outputs", out, "--time");
    let said = expect(0, &output);
    assert!(said.contains("y: f32[2, 2]") && said.contains("out.npz") && said.contains(" s"), "{said}");
    let outputs = npz::read(&out).expect("an archive");
    assert_eq!(outputs["y"], floats(&[2, 2], &[1.0, 0.0, 3.0, 0.0]));
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing else is left behind");
}

#[test]
fn a_run_that_fails_leaves_old_outputs_alone() {
    let folder = scratch();
    let out = archive(&folder, "out.npz", &[("old", floats(&[1], &[1.0]))]);
    let before = fs::read(&out).expect("there");
    let wrong = archive(&folder, "in.npz", &[("pixels", floats(&[4], &[0.0; 4]))]);
    let message = refused(&quad!("run", hostile(MODEL), "--inputs", wrong, "--outputs", out));
    assert!(
        message.contains("f32[4]") && message.contains("f32[2, 2]") && message.contains("in.npz"),
        "{message}"
    );
    let inputs = hostile("pixels.npz");
    let message =
        refused(&quad!("run", hostile(MODEL), "--inputs", inputs, "--outputs", out, "--max-memory", "8"));
    assert!(message.contains("--max-memory") && message.contains("relu"), "{message}");
    assert_eq!(fs::read(&out).expect("there"), before);
    let nowhere = folder.path().join("absent/out.npz");
    assert!(
        refused(&quad!("run", hostile(MODEL), "--inputs", inputs, "--outputs", nowhere)).contains("absent")
    );
}

#[test]
fn compare_tells_how_far_tensors_are_apart() {
    let folder = scratch();
    let a = archive(&folder, "a.npz", &[("t", floats(&[3], &[1.0, 2.5, f32::NAN]))]);
    let b = archive(&folder, "b.npz", &[("t", floats(&[3], &[1.0, 2.0, f32::NAN]))]);
    expect(0, &quad!("compare", a, a));
    expect(0, &quad!("compare", a, b, "--atol", "0.5"));
    expect(0, &quad!("compare", a, b, "--rtol", "0.25"));
    let said = expect(1, &quad!("compare", a, b, "--atol", "0.4"));
    assert!(said.contains("5.000e-1") && said.contains("[1]: 2.5 against 2"), "{said}");
    let report = json(&expect(1, &quad!("compare", a, b, "--json")));
    assert_eq!(
        (&report["equal"], &report["tensors"][0]["max_abs"]),
        (&Value::from(false), &Value::from(0.5))
    );
    assert_eq!(report["tensors"][0]["max_rel"], 0.25);
    for figure in ["psnr", "sqnr", "cosine"] {
        assert!(report["tensors"][0][figure].is_f64(), "{figure} in {report}");
    }
}

#[test]
fn compare_fails_on_missing_tensors_other_sizes_and_nan() {
    let folder = scratch();
    let one = |values: &[f32]| floats(&[values.len()], values);
    let a = archive(&folder, "a.npz", &[("t", one(&[1.0])), ("u", one(&[1.0]))]);
    let b = archive(&folder, "b.npz", &[("t", one(&[1.0, 2.0])), ("v", one(&[1.0]))]);
    let said = expect(1, &quad!("compare", a, b, "--atol", "9"));
    assert!(said.contains("found f32[1], expected f32[2]"), "{said}");
    assert!(said.contains("u: missing in") && said.contains("v: missing in"), "{said}");
    let c = archive(&folder, "c.npz", &[("t", one(&[f32::NAN])), ("u", one(&[1.0]))]);
    let report = json(&expect(1, &quad!("compare", c, a, "--atol", "1e30", "--json")));
    assert_eq!(report["tensors"][0]["max_abs"], Value::Null, "a NaN is infinitely far from a number");
    let halves = Tensor::from_f32(quad_ir::dtype::DType::F16, &[1], &[1.0]).expect("one");
    let d = archive(&folder, "d.npz", &[("t", halves), ("u", one(&[1.0]))]);
    expect(0, &quad!("compare", d, a));
    assert!(refused(&quad!("compare", a, folder.path().join("absent.npz"))).contains("absent.npz"));
}

#[test]
fn convert_writes_a_model_that_means_the_same() {
    let folder = scratch();
    let copy = folder.path().join("copy.onnx");
    let said = expect(0, &quad!("convert", hostile(MODEL), "-o", copy));
    assert!(said.contains("copy.onnx"), "{said}");
    // Onto itself, which must not lose what is still being read.
    expect(0, &quad!("convert", copy, "-o", copy));
    let (inputs, out) = (hostile("pixels.npz"), folder.path().join("out.npz"));
    expect(0, &quad!("run", copy, "--inputs", inputs, "--outputs", out));
    assert_eq!(npz::read(&out).expect("an archive")["y"], floats(&[2, 2], &[1.0, 0.0, 3.0, 0.0]));
    // By way of the text.
    let (text, back) = (folder.path().join("copy.quad"), folder.path().join("back.onnx"));
    expect(0, &quad!("convert", hostile(MODEL), "-o", text));
    assert!(expect(0, &quad!("inspect", text)).contains("relu  1"));
    expect(0, &quad!("convert", text, "-o", back));
    expect(0, &quad!("run", back, "--inputs", inputs, "--outputs", out));
    assert_eq!(npz::read(&out).expect("an archive")["y"], floats(&[2, 2], &[1.0, 0.0, 3.0, 0.0]));
    let message = refused(&quad!("convert", hostile(MODEL), "-o", folder.path().join("copy.tflite")));
    assert!(message.contains("copy.tflite"), "{message}");
}

/// A tensor in ONNX's protobuf form: f32[2, 2].
#[test]
fn quantized_types_become_operations_in_onnx_and_integers_in_archives() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let module = "quad 1
        graph @main(%x: u8[1, 2] quant(scale = [0.5], zero_point = [3])) {
          %w = weight [2, -4, 1, 3] : i8[2, 2] quant(scale = [0.25, 1.0], zero_point = [0, 0], axis = 1)
          %y = matmul(%x, %w) : i16[1, 2] quant(scale = [0.125], zero_point = [-1])
          %real = dequantize(%y) : f32[1, 2]
          return \"y\" = %y, \"real\" = %real
        }";
    fs::write(path("typed.quad"), module).expect("written");
    let bytes = Tensor::from_vec(&[1, 2], vec![5u8, 0]).expect("two bytes");
    let inputs = archive(&folder, "inputs.npz", &[("x", bytes)]);
    // Steps 2 and -3: sums 2 * 2 - 3 * 1 = 1 and 2 * -4 - 3 * 3 = -17, in steps of 1/8 and 1/2.
    expect(0, &quad!("convert", path("typed.quad"), "-o", path("written.onnx")));
    expect(0, &quad!("opt", path("written.onnx"), "-p", "fold-quant", "-o", path("folded.quad")));
    for model in ["typed.quad", "written.onnx", "folded.quad"] {
        let outputs = path("outputs.npz");
        expect(0, &quad!("run", path(model), "--inputs", inputs, "--outputs", outputs));
        let found = npz::read(&outputs).expect("an archive");
        assert_eq!(found["y"].to_i64().expect("integers"), [0, -69], "{model}");
        assert_eq!(found["real"], floats(&[1, 2], &[0.125, -8.5]), "{model}");
    }
    assert!(fs::read_to_string(path("folded.quad")).expect("a text").contains("u8[1, 2] quant("));
}

fn write_pb(path: &Path, name: &str, values: [f32; 4]) {
    let mut bytes = vec![0x08, 2, 0x08, 2, 0x10, 1];
    bytes.extend([0x42, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes.extend([0x4a, 16]);
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).expect("written");
}

/// A case in `folder` that feeds `model` and expects `expected`.
fn case(folder: &Path, name: &str, model: &str, expected: [f32; 4]) {
    let set = folder.join(name).join("test_data_set_0");
    fs::create_dir_all(&set).expect("created");
    fs::copy(hostile(model), folder.join(name).join("model.onnx")).expect("copied");
    write_pb(&set.join("input_0.pb"), "pixels", [1.0, -2.0, 3.0, -4.0]);
    write_pb(&set.join("output_0.pb"), "another name", expected);
}

#[test]
fn run_takes_a_folder_of_tensors() {
    let folder = scratch();
    for name in ["pixels", "any name"] {
        write_pb(&folder.path().join("input_0.pb"), name, [-1.0, 2.0, 0.5, -0.5]);
        let out = folder.path().join("out.npz");
        expect(0, &quad!("run", hostile(MODEL), "--inputs", folder.path(), "--outputs", out));
        assert_eq!(npz::read(&out).expect("an archive")["y"], floats(&[2, 2], &[0.0, 2.0, 0.5, 0.0]));
    }
    write_pb(&folder.path().join("input_1.pb"), "stray", [0.0; 4]);
    let out = folder.path().join("out.npz");
    let message = refused(&quad!("run", hostile(MODEL), "--inputs", folder.path(), "--outputs", out));
    assert!(message.contains("2 tensors"), "{message}");
}

#[test]
fn conformance_tells_passed_failed_and_unsupported_apart() {
    let folder = scratch();
    let right = [1.0, 0.0, 3.0, 0.0];
    case(folder.path(), "b/good", MODEL, right);
    case(folder.path(), "a/good", MODEL, right);
    case(folder.path(), "foreign", "foreign_op.onnx", right);
    let report = json(&expect(0, &quad!("conformance", folder.path(), "--json")));
    let names: Vec<&str> =
        report["cases"].as_array().expect("cases").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["a/good", "b/good", "foreign"]);
    assert_eq!((&report["passed"], &report["unsupported"]), (&Value::from(2), &Value::from(1)));

    case(folder.path(), "wrong", MODEL, [1.0, 0.0, 3.5, 0.0]);
    let said = expect(1, &quad!("conformance", folder.path()));
    assert!(said.contains("wrong: output `y`: 1 of 4 elements are off") && said.contains("[1, 0]"), "{said}");
    assert!(said.ends_with("2 passed, 1 failed, 1 unsupported of 4 cases\n"), "{said}");
    expect(0, &quad!("conformance", folder.path(), "--filter", "good|foreign"));
    expect(0, &quad!("conformance", folder.path(), "--atol", "0.5", "--jobs", "1"));
    fs::write(folder.path().join("wrong/tolerance.json"), r#"{"rtol": 0.2}"#).expect("written");
    expect(0, &quad!("conformance", folder.path()));
    expect(1, &quad!("conformance", folder.path(), "--rtol", "0.01"));
    fs::write(folder.path().join("wrong/tolerance.json"), "{").expect("written");
    assert!(expect(1, &quad!("conformance", folder.path())).contains("tolerance.json"));
}

#[test]
fn conformance_without_a_case_is_an_error() {
    let folder = scratch();
    assert!(refused(&quad!("conformance", folder.path())).contains("no case"));
    assert!(refused(&quad!("conformance", folder.path().join("absent"))).contains("absent"));
    case(folder.path(), "good", MODEL, [1.0, 0.0, 3.0, 0.0]);
    assert!(refused(&quad!("conformance", folder.path(), "--filter", "nothing")).contains("nothing"));
    // An output that is not there is no reason to pass.
    fs::remove_file(folder.path().join("good/test_data_set_0/output_0.pb")).expect("there");
    expect(1, &quad!("conformance", folder.path()));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_quad"))
        .arg("inspect")
        .arg(hostile(MODEL))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("quad starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = expect(0, &quad!("completions", shell));
        assert!(script.contains("calibrate") && script.contains("--merge"), "{shell}");
    }
    let script = expect(0, &quad!("completions", "bash"));
    let parsed = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash starts");
    assert!(parsed.success());
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = TempDir::new().expect("a folder");
    let said = expect(0, &quad!("man", "-o", folder.path()));
    let pages = fs::read_dir(folder.path()).expect("the folder").count();
    assert!(said.starts_with(&format!("{pages} pages written")), "{said}");
    let page = fs::read_to_string(folder.path().join("quad-profile-make.1")).expect("the page");
    assert!(page.contains(".TH quad-profile-make 1") && page.contains("\\-\\-anchor"), "{page}");
    let main = fs::read_to_string(folder.path().join("quad.1")).expect("the page");
    assert!(main.contains("quad\\-calibrate"), "{main}");
}
