//! A pass from outside is listed, runs, explains itself and is checked like those of the workspace.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const MODEL: &str = "\
quad 1

graph @main(%x: f32[batch, 3], %p: f32[]) {
  %two = weight 2.0 : f32[]
  %0 = pow(%x, %two) : f32[batch, 3]
  %y = pow(%0, %p) : f32[batch, 3]
  return \"y\" = %y
}
";

fn our_opt(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_our-opt"))
        .current_dir(folder.path())
        .args(arguments)
        .output()
        .expect("the tool starts")
}

#[track_caller]
fn done(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

fn with_model() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("model.quad"), MODEL).expect("written");
    folder
}

#[test]
fn it_is_in_the_catalogue_beside_the_others() {
    let folder = with_model();
    let catalogue: Value =
        serde_json::from_str(&done(&our_opt(&folder, &["passes", "--json"]))).expect("JSON");
    let names: Vec<&str> = catalogue["passes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|pass| pass["name"].as_str())
        .collect();
    assert!(names.contains(&"square-as-product") && names.contains(&"dce"), "{names:?}");
    let manual = done(&our_opt(&folder, &["passes", "square-as-product"]));
    assert!(manual.contains("(ours)") && manual.contains("Writes squares as products"), "{manual}");
}

#[test]
fn it_runs_and_is_checked() {
    let folder = with_model();
    let arguments =
        ["opt", "model.quad", "-p", "square-as-product,dce", "-o", "out.quad", "--check-each", "--stats"];
    let report = done(&our_opt(&folder, &arguments));
    assert!(report.contains("square-as-product") && report.contains("outputs agree"), "{report}");
    let text = std::fs::read_to_string(folder.path().join("out.quad")).expect("written");
    assert!(text.contains("= mul(%x, %x)") && !text.contains("%two"), "{text}");
}

#[test]
fn it_explains_what_it_left() {
    let folder = with_model();
    let said = done(&our_opt(&folder, &["explain", "model.quad", "-p", "square-as-product"]));
    assert!(said.contains("1 x square-as-product: the exponent is not known to be 2"), "{said}");
}
