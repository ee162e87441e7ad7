//! Runs programs and measures what they take.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No input may make the program's resident memory larger, in kibibytes as the kernel counts them.
pub(crate) const MEMORY_LIMIT_KIB: u64 = 500 * 1024;
/// A program that is still there after this long, whatever it is doing, is ended.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(2);

/// How a program ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) message: String,
    pub(crate) took: Duration,
    pub(crate) peak_memory_kib: u64,
}

/// Runs a program to its end, or kills it when the time is up. Its message goes through a file, so that a full pipe
/// cannot hold it up.
pub(crate) fn run(command: &mut Command, stderr: &Path) -> std::io::Result<Outcome> {
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
