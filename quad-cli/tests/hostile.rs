//! Walks over the hostile inputs: every one ends soon, in little memory, with the exit code and the message that its
//! manifest asks for.
//!
//! The small cases are committed in `tests/fixtures/hostile`; `./test.sh` writes the large ones to the folder that
//! `QUAD_HOSTILE` names, by default `target/hostile`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

/// No input may keep the program busy for longer, by the clock and by the processor: other programs may be running.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// A program that is still there after this long, whatever it is doing, is ended.
const PATIENCE: Duration = Duration::from_secs(30);
/// No input may make the program's resident memory larger, in kibibytes as the kernel counts them.
const MEMORY_LIMIT_KIB: u64 = 500 * 1024;
/// The exit code for an input at fault; only then is there a message to check.
const INPUT_AT_FAULT: i32 = 2;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(2);

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

/// How a program ended.
struct Outcome {
    code: Option<i32>,
    message: String,
    took: Duration,
    peak_memory_kib: u64,
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

/// Runs a program to its end, or kills it when the time is up. Its message goes through a file, so that a full pipe
/// cannot hold it up.
fn run(command: &mut Command, stderr: &Path) -> std::io::Result<Outcome> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(stderr)?).spawn()?;
    let mut peak_memory_kib = 0;
    let mut busy = None;
    let status = loop {
        busy = processor_time(&child).or(busy);
        peak_memory_kib = peak_memory_kib.max(memory_kib(&child));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PATIENCE || peak_memory_kib > 2 * MEMORY_LIMIT_KIB {
            child.kill()?;
            break child.wait()?;
        }
        thread::sleep(POLL);
    };
    let message = String::from_utf8_lossy(&fs::read(stderr)?).into_owned();
    let took = started.elapsed();
    let took = if took > PATIENCE { took } else { busy.map_or(took, |busy| busy.min(took)) };
    Ok(Outcome { code: status.code(), message, took, peak_memory_kib })
}

/// How long a running program has kept processors busy so far, or `None` where the system does not tell.
fn processor_time(child: &Child) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The second field is the program's name in parentheses; user and system time are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    // Linux counts in hundredths of a second for programs.
    Some(Duration::from_millis(10 * ticks))
}

/// The largest resident memory of a running program so far, or 0 where the system does not tell.
fn memory_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
