//! The table of the testbed: quantized quality of each adapter, beside what another program measured.
//!
//! `cargo run --release --workspace --bin testbed-table -- [--samples N]`, after `cargo build --release --workspace`.
//!
//! Calibrates the testbed, measures every adapter with encodings of its own, of each other adapter and of all together, in
//! three precisions, and prints PSNR and SSIM beside `ptq_results.json`, then what is lost in mixed precision, and whether
//! new adapters are judged as they are measured. Ends with exit code 1 where ours is not as good as it has to be.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use quad_tests::testbed::{self, Compared, Scored, TASKS, Table};

/// Our name for a precision, and the other program's.
const PRECISIONS: [(&str, &str); 3] = [("w8a16", "W8A16"), ("w8a8", "W8A8"), ("w8a16-slots4", "W8A16-L4")];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let samples = samples()?;
    let quad = quad()?;
    let folder = tempfile::tempdir()?;
    let stats = folder.path().join("stats.safetensors");
    let mut calibrate = quad.command(&["calibrate"], &[]);
    run(calibrate.args(testbed::data("calib")).arg("-o").arg(&stats).stdout(Stdio::null()))?;
    let theirs: Table =
        serde_json::from_str(&fs::read_to_string(testbed::folder().join("ptq_results.json"))?)?;
    let mut out = io::stdout().lock();
    let mut holds = true;
    for (ours, name) in PRECISIONS {
        let scored = quad.score(&stats, ours, &samples)?;
        writeln!(out, "\n{name}: PSNR in dB / SSIM against full precision, ours and theirs")?;
        for compared in scored.compared(&theirs[name]) {
            holds &= compared.holds();
            print(&mut out, &compared)?;
        }
        print_choice(&mut out, &scored)?;
    }
    let verdict =
        if holds { "every cell is as good as it has to be" } else { "there are cells that are worse" };
    writeln!(
        out,
        "\n{verdict}: own and union at most {} dB below, forced ones at most {} dB apart",
        testbed::TOLERANCE,
        testbed::FORCED_TOLERANCE
    )?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut dyn Write, compared: &Compared) -> io::Result<()> {
    let Compared { task, source, ours, theirs } = compared;
    let psnr = ours.psnr.unwrap_or(f64::INFINITY);
    let mark = if compared.holds() { "" } else { "  WORSE" };
    writeln!(
        out,
        "  {task:<8} from {source:<8} {psnr:>6.2} / {:.4}   {:>6.2} / {:.4}   {:>+6.2}{mark}",
        ours.ssim.unwrap_or(f64::NAN),
        theirs.psnr,
        theirs.ssim,
        compared.gain()
    )
}

fn print_choice(out: &mut dyn Write, scored: &Scored) -> io::Result<()> {
    let anchor = &scored.choice.choice;
    let Some(verdict) = &scored.verdict else { return Ok(()) };
    let said =
        if verdict.picked_the_best { "which is the best choice" } else { "which is not the best choice" };
    writeln!(
        out,
        "  anchor by QSS: {anchor}, {said}; the best anchor is {} with {:.2} dB for the worst adapter, the best of all {} with \
         {:.2} dB",
        verdict.best_anchor.0, verdict.best_anchor.1, verdict.best.0, verdict.best.1
    )
}

/// The program `quad`.
struct Quad(PathBuf);

impl Quad {
    /// Its command `words` on the testbed with all adapters.
    fn command(&self, words: &[&str], options: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(words).arg(testbed::model()).args(testbed::adapters()).args(options);
        command
    }

    /// What `quad qss` says.
    fn score(&self, stats: &Path, precision: &str, samples: &[String]) -> Result<Scored, Box<dyn Error>> {
        let mut command = self.command(&["qss"], &testbed::LOOKING);
        command.args(testbed::data("eval")).arg("--stats").arg(stats).args(samples);
        let output = run(command.args(["--json", "--precision", precision]))?;
        Ok(serde_json::from_slice(&output)?)
    }
}

/// The program `quad` that was built with this one.
fn quad() -> Result<Quad, Box<dyn Error>> {
    let path = std::env::current_exe()?.with_file_name("quad");
    if path.exists() {
        return Ok(Quad(path));
    }
    Err(format!("`{}` is not there: build the workspace with the same profile first", path.display()).into())
}

/// The options for `--samples N`; none for all samples.
fn samples() -> Result<Vec<String>, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(arguments),
        [option, count] if option == "--samples" && count.parse::<u32>().is_ok() => Ok(arguments),
        _ => Err(format!(
            "unknown arguments; adapters are {}, and --samples N takes fewer samples",
            TASKS.join(", ")
        )
        .into()),
    }
}

/// What `command` prints. Its messages go where ours do.
fn run(command: &mut Command) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{command:?} ended with {}", output.status).into())
    }
}
