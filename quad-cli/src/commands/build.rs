//! `quad build`: from a job to a bundle.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use quad_build::job::{self, Job};
use quad_build::lock::{self, Difference};
use quad_build::stages::{self, BuildError, Built, Observer, Options, StageName};
use quad_qnn::native::Launcher;
use serde_json::json;

use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::table::{Align, Table, bytes, counted};
use crate::{output, qnn};

/// Build a bundle: the model for every target of a job, the encodings that all adapters share, and each adapter packed.
///
/// The job is a file, which `quad new` writes for a start. Everything that a build makes on its way is kept beside the bundle,
/// in `.quad-cache`, under what it was made from: a second build does only what changed, and one that was cut off goes on
/// where it was. The bundle appears whole, over an older one, or not at all.
///
/// Every adapter is proven on every target: the quantized graph runs on samples of the adapter, is compared with the model in
/// full precision, and must differ from what it computes without the adapter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad new unet.onnx --adapter edge=lora/edge --data edge=samples/edge.npz
  quad build
  quad build quad.toml -o bundle --target litert --target qnn --jobs 4
  quad build --check
  quad build --update

The exit code is 1 when an adapter changes nothing or is worse than `min-psnr`, and when --check finds a difference.")]
pub(crate) struct Arguments {
    /// The job.
    #[arg(default_value = job::FILE, value_name = "JOB.toml")]
    job: PathBuf,
    /// The folder of the bundle; by default `bundle` beside the job.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Build only this target of the job. May be given several times.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Threads; as many as there are processors by default. The bundle does not depend on them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Where to keep what stages make; by default `.quad-cache` beside the bundle.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Compare graphs, profiles and digests of all files with those that --update wrote.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Write graphs, profiles and digests of all files, to be kept in version control.
    #[arg(long)]
    update: bool,
    /// The folder of --check and --update; by default `quad.lock` beside the job.
    #[arg(long, value_name = "DIR")]
    lock: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut job = job::read(&arguments.job).map_err(Failure::input)?;
    if !arguments.target.is_empty() {
        job.keep_targets(&arguments.target)
            .map_err(|error| Failure::message(format!("--target: {error}")))?;
    }
    let output = arguments.output.clone().unwrap_or_else(|| arguments.job.with_file_name("bundle"));
    let options = Options {
        cache: arguments.cache.clone(),
        threads: arguments.jobs.map_or(0, usize::from),
        qnn: Some(Launcher::this_program(&[qnn::SERVE]).map_err(Failure::input)?),
        ..Options::new(&output)
    };
    let built = match stages::build(&job, &options, &Told::default()) {
        Ok(built) => built,
        Err(error @ (BuildError::NoEffect { .. } | BuildError::Poor(_))) => {
            let out = &mut output::stdout();
            if arguments.json {
                output::json(out, &json!({"output": output, "written": false, "error": error.to_string()}))?;
            } else {
                writeln!(out, "{error}")?;
            }
            return Ok(Outcome::DoesNotHold);
        }
        Err(error) => return Err(Failure::input(error)),
    };
    let differences = arguments.lock(&built, &output)?;
    let holds = differences.is_empty();
    if arguments.json {
        print_json(&built, &output, &differences)?;
    } else {
        print(&job, &built, &output)?;
        arguments.print_lock(&differences)?;
    }
    Ok(if holds { Outcome::Done } else { Outcome::DoesNotHold })
}

impl Arguments {
    fn lock_folder(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| self.job.with_file_name(lock::FOLDER))
    }

    /// Compares with the lock, or writes it, as was asked for.
    fn lock(&self, built: &Built, output: &Path) -> Result<Vec<Difference>, Failure> {
        let folder = self.lock_folder();
        if self.update {
            lock::update(&folder, built, output).map_err(Failure::input)?;
        }
        if self.check {
            lock::compare(&folder, built, output).map_err(Failure::input)
        } else {
            Ok(Vec::new())
        }
    }

    fn print_lock(&self, differences: &[Difference]) -> io::Result<()> {
        let out = &mut output::stdout();
        let folder = self.lock_folder();
        if self.update {
            writeln!(out, "locked in {}", folder.display())?;
        }
        for Difference { file, text } in differences {
            writeln!(out, "\n{}", folder.join(file).display())?;
            text.lines().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        match differences.len() {
            0 if self.check => writeln!(out, "nothing differs from {}", folder.display()),
            0 => Ok(()),
            count => writeln!(
                out,
                "\n{} of {} differ; `quad build --update` takes over what is built now",
                counted(count, "file"),
                folder.display()
            ),
        }
    }
}

/// What was built, with how each adapter is on each target.
fn print(job: &Job, built: &Built, path: &Path) -> io::Result<()> {
    use Align::{Left, Right};
    let out = &mut output::stdout();
    let mut table = Table::new(&[Left, Left, Right, Right, Right, Right]);
    table.row(["adapter", "target", "PSNR", "SQNR", "effect", "cut off"]);
    for (target, page) in &built.manifest.targets {
        for (name, adapter) in &page.adapters {
            let Some(figures) = &adapter.figures else { continue };
            table.row([
                name.clone(),
                target.clone(),
                format!("{:.2} dB", figures.psnr),
                format!("{:.2} dB", figures.sqnr),
                format!("{:.1e}", figures.effect),
                format!("{:.2} %", 100.0 * figures.packing.share()),
            ]);
        }
    }
    table.print("", out)?;
    for (target, page) in &built.manifest.targets {
        let slots: u64 = page.adapters.values().map(|adapter| adapter.bytes).sum();
        writeln!(
            out,
            "{target}: {} in {}, adapters {}, encodings of {}",
            page.facts.file,
            bytes(page.facts.bytes),
            bytes(slots),
            page.facts.anchor.0
        )?;
        if let Some(next) = &page.facts.next {
            writeln!(out, "{target}: next: {next}")?;
        }
    }
    let made = built.stages.iter().filter(|(_, time)| time.is_some()).count();
    let all = counted(built.stages.len(), "stage");
    writeln!(out, "{made} of {all} done, the others were there")?;
    let adapters = counted(job.adapters.len(), "adapter");
    let is = if built.written { "written to" } else { "is as it was in" };
    writeln!(out, "bundle for {adapters} {is} {}", path.display())
}

fn print_json(built: &Built, path: &Path, differences: &[Difference]) -> io::Result<()> {
    let stages: Vec<_> = built
        .stages
        .iter()
        .map(
            |(name, time)| json!({"stage": name.to_string(), "seconds": time.map(|time| time.as_secs_f64())}),
        )
        .collect();
    let differences: Vec<_> =
        differences.iter().map(|found| json!({"file": found.file, "diff": found.text})).collect();
    let value = json!({
        "output": path, "written": built.written, "stages": stages, "differences": differences,
        "manifest": built.manifest,
    });
    output::json(&mut output::stdout(), &value)
}

/// Tells of stages on standard error.
#[derive(Default)]
struct Told {
    bar: Mutex<Option<Progress>>,
}

impl Told {
    fn show(&self, bar: Option<Progress>) {
        *self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bar;
    }
}

impl Observer for Told {
    fn waits(&self) {
        output::note("another build uses the cache; this one waits for it to end");
    }

    fn begins(&self, stage: &StageName) {
        self.show(Some(Progress::new(stage.to_string())));
    }

    fn progress(&self, _stage: &StageName, done: usize, total: usize) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            bar.set(done, total);
        }
    }

    fn ended(&self, stage: &StageName, time: Option<Duration>) {
        self.show(None);
        if let Some(time) = time {
            output::line(&format!("{:<40} {:>8.2} s", stage.to_string(), time.as_secs_f64()));
        }
    }

    fn note(&self, text: &str) {
        output::note(text);
    }
}
