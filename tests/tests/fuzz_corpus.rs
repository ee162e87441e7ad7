//! Runs the targets of fuzzing without a fuzzer: on their corpora, and on damaged copies of the small files in them.

use std::any::Any;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use quad_tests::mutate::{bit_flips, edge_bytes, truncations};
use quad_tests::paths;
use quad_tests::targets::{TARGETS, Target};

/// No input may keep a target busy for longer.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The program's resident memory must stay below, in kibibytes as the kernel counts them.
const MEMORY_LIMIT_KIB: u64 = 500 * 1024;
/// Files up to this many bytes are cut everywhere.
const SMALL: usize = 1100;
/// Files up to this many bytes are damaged in every other way too.
const TINY: usize = 300;
/// Faults of one file that are reported.
const SHOWN: usize = 3;

#[test]
fn adapter_reader_survives_its_corpus() {
    survives("adapter_reader");
}

#[test]
fn npz_reader_survives_its_corpus() {
    survives("npz_reader");
}

#[test]
fn onnx_reader_survives_its_corpus() {
    survives("onnx_reader");
}

#[test]
fn text_parser_survives_its_corpus() {
    survives("text_parser");
}

fn survives(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let corpus = paths::root().join("fuzz/corpus").join(name);
    let mut files = paths::all_files_below(&corpus).expect("the corpus");
    if let Some(seeds) = target.seeds {
        files.extend(paths::all_files_below(&paths::root().join(seeds)).expect("the seeds"));
    }
    assert!(!files.is_empty(), "no file below {}", corpus.display());
    let mut faults = Vec::new();
    for file in files {
        let bytes = fs::read(&file).expect("a file of the corpus");
        faults.extend(fault(target, &file, "as it is", &bytes));
        let cuts = truncations(&bytes).filter(|_| bytes.len() <= SMALL);
        let changes = bit_flips(&bytes).chain(edge_bytes(&bytes)).filter(|_| bytes.len() <= TINY);
        let damaged = cuts.chain(changes);
        faults.extend(damaged.filter_map(|(what, bytes)| fault(target, &file, &what, &bytes)).take(SHOWN));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is wrong with how `target` took `bytes`, which is `file` after `what` was done to it.
fn fault(target: &Target, file: &Path, what: &str, bytes: &[u8]) -> Option<String> {
    let started = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let took = started.elapsed();
    let why = match outcome {
        Err(panic) => format!("panicked: {}", message(&*panic)),
        Ok(()) if took > TIME_LIMIT => format!("took {took:?}"),
        Ok(()) if peak_memory_kib() > MEMORY_LIMIT_KIB => format!("took {} KiB of memory", peak_memory_kib()),
        Ok(()) => return None,
    };
    Some(format!("{}, {what}: {why}", file.display()))
}

/// The message of a caught panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// The largest resident memory of this program so far, or 0 where the system does not tell.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
