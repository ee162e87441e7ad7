//! The table of the testbed: quantized quality of each adapter, beside what another program measured.
//!
//! `cargo build --release --workspace && target/release/testbed-table [--samples N] [--row NAME].. [--no-admission]`
//!
//! Calibrates the testbed, measures every adapter with encodings of its own, of each other adapter and of all together, and
//! prints PSNR and SSIM beside `ptq_results.json`: one row of tables for each precision and form of slots. Then checks every
//! adapter against every profile as if it were new, and prints the loss that the check expects, from the samples to
//! calibrate with, beside the loss that was measured on others. Ends with exit code 1 where something is not as good as it
//! has to be.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use quad_tests::testbed::{self, Checked, Compared, Scored, TASKS, Table};
use tempfile::TempDir;

/// What is measured, and what it is compared with.
struct Row {
    /// What `--row` calls it.
    name: &'static str,
    precision: &'static str,
    /// Whether the model is exposed with factors that are normalized by rank. The other program has nothing of the kind, and
    /// is compared with in the same bits.
    normalized: bool,
    /// The other program's name for these bits. Its W8A16 has adapters in 8 bits.
    theirs: &'static str,
}

const fn row(name: &'static str, precision: &'static str, normalized: bool, theirs: &'static str) -> Row {
    Row { name, precision, normalized, theirs }
}

const ROWS: [Row; 6] = [
    row("w8a16", "w8a16", false, "W8A16"),
    row("w8a8", "w8a8", false, "W8A8"),
    row("slots8", "w8a16-slots8", false, "W8A16"),
    row("slots8-normalized", "w8a16-slots8", true, "W8A16"),
    row("slots4", "w8a16-slots4", false, "W8A16-L4"),
    row("slots4-normalized", "w8a16-slots4", true, "W8A16-L4"),
];

/// Prints quantized quality of the testbed beside what another program measured.
#[derive(Parser)]
struct Arguments {
    /// Measure so many samples of each adapter, spread over all.
    #[arg(long, value_name = "N")]
    samples: Option<u32>,
    /// Measure these rows alone: w8a16, w8a8, slots8, slots8-normalized, slots4 or slots4-normalized.
    #[arg(long = "row", value_name = "NAME", value_parser = ROWS.map(|row| row.name))]
    rows: Vec<String>,
    /// Leave out what `quad adapter check` expects. It is compared with row w8a16, and left out without that.
    #[arg(long)]
    no_admission: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let quad = quad()?;
    let folder = tempfile::tempdir()?;
    let theirs: Table =
        serde_json::from_str(&fs::read_to_string(testbed::folder().join("ptq_results.json"))?)?;
    let mut out = io::stdout().lock();
    let (mut holds, mut plain, mut normalized, mut measured) = (true, None, None, None);
    for row in ROWS
        .iter()
        .filter(|row| arguments.rows.is_empty() || arguments.rows.iter().any(|name| name == row.name))
    {
        let known = if row.normalized { &mut normalized } else { &mut plain };
        let model = match known {
            Some(model) => model,
            None => known.insert(Model::new(&quad, &folder, row.normalized)?),
        };
        let scored = model.score(&quad, row, arguments.samples)?;
        writeln!(
            out,
            "\n{}, beside {}: PSNR in dB / SSIM against full precision, ours and theirs",
            row.name, row.theirs
        )?;
        for compared in scored.compared(&theirs[row.theirs]) {
            // Encodings of factors that are normalized fit all adapters, so nothing is forced.
            let counts = !row.normalized || ["own", "union"].contains(&compared.source.as_str());
            holds &= compared.holds() || !counts;
            print(&mut out, &compared, counts)?;
        }
        print_choice(&mut out, &scored)?;
        if row.name == "w8a16" {
            measured = Some(scored);
        }
    }
    if let (Some(measured), Some(model), false) = (&measured, &plain, arguments.no_admission) {
        holds &= admissions(&mut out, &quad, &model.stats, measured)?;
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
        "\nadmission, W8A16: loss in dB against own encodings, expected (with the interval of its mean) and measured"
    )?;
    for candidate in TASKS.into_iter().chain(["unified"]) {
        let profile = stats.with_file_name("profile.json");
        let mut make = Command::new(&quad.0);
        make.args(["profile", "make"]).arg(stats).args(["--anchor", candidate, "--precision", "w8a16"]);
        succeed(make.arg("-o").arg(&profile))?;
        for task in TASKS {
            let checked = quad.check(&profile, task)?;
            let forecast = checked.expected.ok_or("data were given")?;
            let (expected, [low, high]) = (forecast.loss, forecast.between.ok_or("several samples")?);
            let psnr = |candidate| measured.psnr(candidate, task).ok_or("it was measured");
            let loss = psnr(task)? - psnr(candidate)?;
            let near = (expected - loss).abs() <= testbed::FORECAST_TOLERANCE;
            holds &= near;
            let (verdict, slots) = (&checked.verdict, checked.clipped_slots.len());
            let mark = if near { "" } else { "  OFF" };
            writeln!(
                out,
                "  {task:<8} into {candidate:<8} {expected:>6.2} ({low:>6.2} to {high:>6.2})   {loss:>6.2}   {:>+6.2}   {verdict}, {slots} slots \
                 clipped{mark}",
                expected - loss
            )?;
        }
    }
    Ok(holds)
}

/// Prints a cell; `counts` says whether it has to hold.
fn print(out: &mut dyn Write, compared: &Compared, counts: bool) -> io::Result<()> {
    let Compared { task, source, ours, theirs } = compared;
    let psnr = ours.psnr.unwrap_or(f64::INFINITY);
    let mark = if compared.holds() || !counts { "" } else { "  WORSE" };
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

/// A form of the model with its statistics.
struct Model {
    path: PathBuf,
    stats: PathBuf,
}

impl Model {
    /// Exposes the model where its factors are to be normalized, and calibrates it.
    fn new(quad: &Quad, folder: &TempDir, normalized: bool) -> Result<Self, Box<dyn Error>> {
        let mut path = testbed::model();
        if normalized {
            let exposed = folder.path().join("normalized.quad");
            let mut expose = quad.command(&["lora", "expose"], &path);
            expose.args(["--form", "rank-normalized", "-o"]).arg(&exposed);
            succeed(expose.stdout(Stdio::null()))?;
            path = exposed;
        }
        let stats = folder.path().join(if normalized { "normalized.stats" } else { "plain.stats" });
        let mut calibrate = quad.command(&["calibrate"], &path);
        succeed(calibrate.args(testbed::data("calib")).arg("-o").arg(&stats).stdout(Stdio::null()))?;
        Ok(Self { path, stats })
    }

    /// What `quad qss` says.
    fn score(&self, quad: &Quad, row: &Row, samples: Option<u32>) -> Result<Scored, Box<dyn Error>> {
        let mut command = quad.command(&["qss"], &self.path);
        command.args(testbed::LOOKING).args(testbed::data("eval")).arg("--stats").arg(&self.stats);
        command.args(row.normalized.then_some("--rank-normalized"));
        command.args(samples.map(|samples| format!("--samples={samples}")));
        let output = succeed(command.args(["--json", "--precision", row.precision]))?;
        Ok(serde_json::from_slice(&output)?)
    }
}

/// The program `quad`.
struct Quad(PathBuf);

impl Quad {
    /// Its command `words` on a model of the testbed with all adapters.
    fn command(&self, words: &[&str], model: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.args(words).arg(model).args(testbed::adapters("--adapter"));
        command
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

/// What `command` prints, which must succeed. Its messages go where ours do.
fn succeed(command: &mut Command) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{command:?} ended with {}", output.status).into())
    }
}
