//! The table of the testbed: quantized quality of each adapter, beside what another program measured.
//!
//! `cargo build --release --workspace && target/release/testbed-table [--samples N]`
//!
//! Calibrates the testbed, measures every adapter with encodings of its own, of each other adapter and of all together, in
//! three precisions, and prints PSNR and SSIM beside `ptq_results.json`. Then checks every adapter against every profile as
//! if it were new, and prints the loss that the check expects, from the samples to calibrate with, beside the loss that was
//! measured on others. Ends with exit code 1 where something is not as good as it has to be.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use quad_tests::testbed::{self, Checked, Compared, Scored, TASKS, Table};

/// Our name for a precision, and the other program's.
const PRECISIONS: [(&str, &str); 3] = [("w8a16", "W8A16"), ("w8a8", "W8A8"), ("w8a16-slots4", "W8A16-L4")];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let samples = samples()?;
    let quad = quad()?;
    let folder = tempfile::tempdir()?;
    let stats = folder.path().join("stats.safetensors");
    let mut calibrate = quad.command(&["calibrate"], &[]);
    succeed(calibrate.args(testbed::data("calib")).arg("-o").arg(&stats).stdout(Stdio::null()))?;
    let theirs: Table =
        serde_json::from_str(&fs::read_to_string(testbed::folder().join("ptq_results.json"))?)?;
    let mut out = io::stdout().lock();
    let mut holds = true;
    let mut measured = None;
    for (ours, name) in PRECISIONS {
        let scored = quad.score(&stats, ours, &samples)?;
        writeln!(out, "\n{name}: PSNR in dB / SSIM against full precision, ours and theirs")?;
        for compared in scored.compared(&theirs[name]) {
            holds &= compared.holds();
            print(&mut out, &compared)?;
        }
        print_choice(&mut out, &scored)?;
        measured.get_or_insert(scored);
    }
    if let Some(measured) = measured {
        holds &= admissions(&mut out, &quad, &stats, &measured)?;
    }
    let verdict =
        if holds { "everything is as good as it has to be" } else { "something is worse than it has to be" };
    writeln!(
        out,
        "\n{verdict}: own and union at most {} dB below, forced ones at most {} dB apart, expected losses at most {} dB off",
        testbed::TOLERANCE,
        testbed::FORCED_TOLERANCE,
        testbed::FORECAST_TOLERANCE
    )?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks every adapter against the profile of every candidate in the first precision. Whether the expected losses are
/// near the `measured` ones.
fn admissions(
    out: &mut dyn Write,
    quad: &Quad,
    stats: &Path,
    measured: &Scored,
) -> Result<bool, Box<dyn Error>> {
    let mut holds = true;
    writeln!(
        out,
        "\nadmission, {}: loss in dB against own encodings, expected and measured",
        PRECISIONS[0].1
    )?;
    for candidate in TASKS.into_iter().chain(["unified"]) {
        let profile = stats.with_file_name("profile.json");
        let mut make = Command::new(&quad.0);
        make.args(["profile", "make"]).arg(stats).args([
            "--anchor",
            candidate,
            "--precision",
            PRECISIONS[0].0,
        ]);
        succeed(make.arg("-o").arg(&profile))?;
        for task in TASKS {
            let checked = quad.check(&profile, task)?;
            let expected = checked.expected.ok_or("data were given")?.loss;
            let psnr = |candidate| measured.psnr(candidate, task).ok_or("it was measured");
            let loss = psnr(task)? - psnr(candidate)?;
            let near = (expected - loss).abs() <= testbed::FORECAST_TOLERANCE;
            holds &= near;
            let (verdict, slots) = (&checked.verdict, checked.clipped_slots.len());
            let mark = if near { "" } else { "  OFF" };
            writeln!(
                out,
                "  {task:<8} into {candidate:<8} {expected:>6.2}   {loss:>6.2}   {:>+6.2}   {verdict}, {slots} slots clipped{mark}",
                expected - loss
            )?;
        }
    }
    Ok(holds)
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
        command.args(words).arg(testbed::model()).args(testbed::adapters("--adapter")).args(options);
        command
    }

    /// What `quad qss` says.
    fn score(&self, stats: &Path, precision: &str, samples: &[String]) -> Result<Scored, Box<dyn Error>> {
        let mut command = self.command(&["qss"], &testbed::LOOKING);
        command.args(testbed::data("eval")).arg("--stats").arg(stats).args(samples);
        let output = succeed(command.args(["--json", "--precision", precision]))?;
        Ok(serde_json::from_slice(&output)?)
    }

    /// What `quad adapter check` says of an adapter, as if it were none of those that the model was calibrated with.
    fn check(&self, profile: &Path, task: &str) -> Result<Checked, Box<dyn Error>> {
        let mut command = Command::new(&self.0);
        command
            .args(["adapter", "check"])
            .arg(profile)
            .arg(testbed::adapter(task))
            .arg("--model")
            .arg(testbed::model());
        command.args(testbed::adapters("--beside")).arg("--data").arg(testbed::samples(task, "calib"));
        // An adapter that needs distillation ends with exit code 1, and has been described.
        let output = command.args(testbed::LOOKING).arg("--json").stderr(Stdio::inherit()).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
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

/// What `command` prints, which must succeed. Its messages go where ours do.
fn succeed(command: &mut Command) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{command:?} ended with {}", output.status).into())
    }
}
