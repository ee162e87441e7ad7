//! Walks over the hostile inputs: every one ends soon, in little memory, with the exit code and the message that its
//! manifest asks for.
//!
//! The small cases are committed in `tests/fixtures/hostile`; `./test.sh` writes the large ones to the folder that
//! `QUAD_HOSTILE` names, by default `target/hostile`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

mod measured;

use libtest_mimic::{Arguments, Failed, Trial};
use measured::{MEMORY_LIMIT_KIB, Outcome, run};
use serde::Deserialize;

/// No input may keep the program busy for longer, by the clock and by the processor: other programs may be running.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The exit code for an input at fault; only then is there a message to check.
const INPUT_AT_FAULT: i32 = 2;

/// One entry of `MANIFEST.json`; `tests/python/make_hostile_models.py` says what the fields mean.
#[derive(Clone, Deserialize)]
struct Case {
    file: PathBuf,
    what: String,
    command: String,
    inputs: Option<PathBuf>,
    exit: Vec<i32>,
    message_contains: Vec<String>,
    #[serde(default)]
    message_lacks: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut trials = trials_of(&root.join("tests/fixtures/hostile"));
    let generated = std::env::var_os("QUAD_HOSTILE").map_or(root.join("target/hostile"), PathBuf::from);
    if generated.join("MANIFEST.json").exists() {
        trials.extend(trials_of(&generated));
    } else {
        let missing = Trial::test("generated cases (./test.sh writes them)", || Ok(()));
        trials.push(missing.with_ignored_flag(true));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials_of(folder: &Path) -> Vec<Trial> {
    let path = folder.join("MANIFEST.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<Case> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    cases.into_iter().map(|case| trial_of(folder.to_owned(), case)).collect()
}

fn trial_of(folder: PathBuf, case: Case) -> Trial {
    let name = case.inputs.as_ref().map_or_else(
        || case.file.display().to_string(),
        |inputs| format!("{} on {}", case.file.display(), inputs.display()),
    );
    Trial::test(name, move || check(&folder, &case))
}

/// Runs the case and says everything that is wrong with how it went.
fn check(folder: &Path, case: &Case) -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_quad"));
    command.arg(&case.command).arg(folder.join(&case.file));
    match &case.inputs {
        Some(inputs) => command
            .arg("--inputs")
            .arg(folder.join(inputs))
            .arg("--outputs")
            .arg(scratch.path().join("out.npz")),
        None => command.arg("-o").arg(scratch.path().join("out.quad")),
    };
    let outcome = run(&mut command, &scratch.path().join("stderr"))?;
    let complaints = complaints(case, &outcome);
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n{}\nstderr:\n{}", case.what, complaints.join("\n"), outcome.message).into())
}

fn complaints(case: &Case, outcome: &Outcome) -> Vec<String> {
    let mut complaints = Vec::new();
    if !outcome.code.is_some_and(|code| case.exit.contains(&code)) {
        complaints.push(format!("exit code {:?}, expected one of {:?}", outcome.code, case.exit));
    }
    if outcome.took > TIME_LIMIT {
        complaints.push(format!("took {:?}, allowed are {TIME_LIMIT:?}", outcome.took));
    }
    if outcome.peak_memory_kib > MEMORY_LIMIT_KIB {
        complaints
            .push(format!("took {} KiB of memory, allowed are {MEMORY_LIMIT_KIB}", outcome.peak_memory_kib));
    }
    if outcome.code == Some(INPUT_AT_FAULT) {
        let missing = case.message_contains.iter().filter(|text| !outcome.message.contains(*text));
        complaints.extend(missing.map(|text| format!("the message does not contain {text:?}")));
    }
    let unwanted = case.message_lacks.iter().filter(|text| outcome.message.contains(*text));
    complaints.extend(unwanted.map(|text| format!("the message contains {text:?}")));
    complaints
}
