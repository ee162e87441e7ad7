//! `quad bundle`: what `quad build` made.

use std::io::{self, Write};
use std::path::PathBuf;

use quad_build::bundle::{self, Manifest};

use crate::exit::{Failure, Outcome};
use crate::frozen::{Named, named};
use crate::output;
use crate::table::{Align, Table, bytes, counted};

/// Show a bundle, check that it is whole, or add an adapter to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad bundle inspect bundle
  quad bundle verify bundle --json
  quad bundle add-adapter bundle night=lora/night.safetensors")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is in a bundle.
    #[command(after_help = "Examples:
  quad bundle inspect bundle")]
    Inspect(Shown),
    /// Check every file of a bundle against its page. The exit code is 1 where one differs.
    #[command(after_help = "Examples:
  quad bundle verify bundle --json")]
    Verify(Shown),
    /// Pack an adapter for every target of a bundle. The model is not needed.
    #[command(after_help = "Examples:
  quad bundle add-adapter bundle night=lora/night.safetensors")]
    AddAdapter(Add),
}

/// A bundle.
#[derive(Debug, clap::Args)]
struct Shown {
    /// The folder that `quad build` wrote.
    bundle: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// An adapter for a bundle.
#[derive(Debug, clap::Args)]
struct Add {
    /// The folder that `quad build` wrote.
    bundle: PathBuf,
    /// The adapter, a file or folder.
    #[arg(value_name = "NAME=PATH", value_parser = named)]
    adapter: Named,
    /// Put it in the place of one of the same name.
    #[arg(long)]
    replace: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Inspect(arguments) => inspect(arguments),
        Command::Verify(arguments) => verify(arguments),
        Command::AddAdapter(arguments) => add(arguments),
    }
}

fn inspect(arguments: &Shown) -> Result<Outcome, Failure> {
    let manifest = bundle::read(&arguments.bundle).map_err(Failure::input)?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &manifest)?;
    } else {
        print(&manifest, out)?;
    }
    Ok(Outcome::Done)
}

fn print(manifest: &Manifest, out: &mut dyn Write) -> io::Result<()> {
    let mut head = Table::new(&[Align::Left, Align::Left]);
    head.row(["model", &format!("{}, {}", manifest.model.name, manifest.model.digest)]);
    head.row(["graph", &manifest.graph]);
    head.row(["precision", &manifest.precision]);
    head.row(["adapters", &manifest.adapters.keys().map(String::as_str).collect::<Vec<_>>().join(", ")]);
    head.row(["written by", &format!("quad {}", manifest.quad)]);
    head.print("", out)?;
    for (name, target) in &manifest.targets {
        let (facts, arch) = (&target.facts, target.arch.as_ref().map(|arch| format!(" {arch}")));
        writeln!(
            out,
            "\n{name}{}: {} in {}, {}, encodings of {} by {}",
            arch.unwrap_or_default(),
            facts.file,
            bytes(facts.bytes),
            counted(facts.slots.len(), "slot"),
            facts.anchor.0,
            target.rules
        )?;
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right]);
        for (adapter, page) in &target.adapters {
            let psnr = page.figures.as_ref().map(|figures| format!("{:.2} dB", figures.psnr));
            table.row([
                adapter.clone(),
                bytes(page.bytes),
                psnr.unwrap_or_else(|| "not compared".to_owned()),
                format!("{:.2} % cut off", 100.0 * page.packing.share()),
            ]);
        }
        table.print("  ", out)?;
    }
    let total: u64 = manifest.files.values().map(|file| file.bytes).sum();
    writeln!(out, "\n{}, {}", counted(manifest.files.len(), "file"), bytes(total))
}

fn verify(arguments: &Shown) -> Result<Outcome, Failure> {
    let manifest = bundle::read(&arguments.bundle).map_err(Failure::input)?;
    let faults = bundle::verify(&arguments.bundle, &manifest).map_err(Failure::input)?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &serde_json::json!({"holds": faults.is_empty(), "faults": faults}))?;
    } else {
        for fault in &faults {
            writeln!(out, "{}: {}", fault.file, fault.what)?;
        }
        match faults.len() {
            0 => writeln!(out, "{} are as the page says", counted(manifest.files.len(), "file"))?,
            count => writeln!(out, "{} found", counted(count, "fault"))?,
        }
    }
    Ok(if faults.is_empty() { Outcome::Done } else { Outcome::DoesNotHold })
}

fn add(arguments: &Add) -> Result<Outcome, Failure> {
    let (mut notes, Named { name, path }) = (Vec::new(), &arguments.adapter);
    let added = bundle::add_adapter(&arguments.bundle, name, path, arguments.replace, &mut notes);
    let added = added.map_err(Failure::input)?;
    for note in &notes {
        output::note(note);
    }
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &serde_json::json!({"adapter": name, "targets": added}))?;
        return Ok(Outcome::Done);
    }
    for target in &added {
        let cut = 100.0 * target.packing.share();
        writeln!(
            out,
            "{}: {} of {cut:.2} % cut off, in {}",
            target.target,
            bytes(target.bytes),
            target.file
        )?;
    }
    Ok(Outcome::Done)
}
