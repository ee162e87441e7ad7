//! Runs ONNX's own test cases and compares what became of them with the committed summary.
//!
//! `./test.sh` writes the cases to the folder that `QUAD_CONFORMANCE` names, by default `target/conformance`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

/// At least this many cases pass.
const PASSED: usize = 1250;

/// What `quad conformance --json` prints.
#[derive(Deserialize)]
struct Summary {
    passed: usize,
    failed: usize,
    unsupported: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    status: String,
    detail: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/conformance");
    let folder = std::env::var_os("QUAD_CONFORMANCE").map_or(default, PathBuf::from);
    let name = "ONNX's conformance cases (./test.sh writes them)";
    let is_missing = !folder.join("stamp.json").exists();
    let trial = Trial::test(name, move || check(&folder)).with_ignored_flag(is_missing);
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn check(folder: &Path) -> Result<(), Failed> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_quad")).args(["conformance", "--json"]).arg(folder).output()?;
    let summary: Summary = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let failed: Vec<String> = summary
        .cases
        .iter()
        .filter(|case| case.status == "failed")
        .map(|case| format!("{}: {}", case.name, case.detail))
        .collect();
    if !failed.is_empty() || summary.failed > 0 || !output.status.success() {
        return Err(failed.join("\n").into());
    }
    let passed_nodes =
        summary.cases.iter().filter(|case| case.status == "passed" && case.name.starts_with("node/")).count();
    if passed_nodes < PASSED {
        return Err(format!("{passed_nodes} node cases passed, at least {PASSED} must").into());
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("conformance", show(&summary)));
    Ok(())
}

/// Totals by kind, and every case that is not supported with the reason: a regression is a line more.
fn show(summary: &Summary) -> String {
    let mut text = format!("{} passed, {} unsupported\n\n", summary.passed, summary.unsupported);
    let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for case in &summary.cases {
        let kind = case.name.split('/').next().unwrap_or_default();
        kinds.entry(kind).or_default()[usize::from(case.status != "passed")] += 1;
    }
    // Writing to a string does not fail.
    for (kind, [passed, unsupported]) in kinds {
        let _ = writeln!(text, "{kind:<18} {passed:>5} passed {unsupported:>5} unsupported");
    }
    text.push('\n');
    for case in summary.cases.iter().filter(|case| case.status == "unsupported") {
        let reason = case.detail.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{}: {reason}", case.name);
    }
    text
}
