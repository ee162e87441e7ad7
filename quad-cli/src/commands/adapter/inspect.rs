//! `quad adapter inspect`: shows what adapters are, several side by side.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use super::facts::{Facts, Site};
use super::reading::Reading;
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::table::{Align, Table, bytes, grouped};

/// Show which layers LoRA adapters are for, with which ranks, scales and ranges.
///
/// An adapter is a safetensors file, or a folder as PEFT and diffusers write it. All of it is read and checked, so a file
/// that is shown here is one that can be used.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter inspect style.safetensors
  quad adapter inspect inpaint/ relight/ deblur.safetensors
  quad adapter inspect style.safetensors --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0][\"dialect\"])'")]
pub(super) struct Arguments {
    /// The adapters.
    #[arg(required = true)]
    adapters: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Print a JSON array with an object for each adapter.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let read = |path: &PathBuf| Ok(Facts::of(&arguments.reading.read(path)?));
    let facts: Vec<Facts> = arguments.adapters.iter().map(read).collect::<Result<_, Failure>>()?;
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &facts)?;
    } else {
        print(&facts, out)?;
    }
    Ok(Outcome::Done)
}

/// A column for each adapter.
fn print(facts: &[Facts], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&vec![Align::Left; facts.len() + 1]);
    let mut row = |name: &str, cell: &dyn Fn(&Facts) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(facts.iter().map(cell)));
    };
    row("adapter", &|facts| facts.file.clone());
    row("dialect", &|facts| facts.dialect.to_owned());
    row("component", &components);
    row("sites", &|facts| grouped(facts.sites.len() as u64));
    row("kind", &|facts| counts(facts, |site| site.kind));
    row("form", &|facts| counts(facts, |site| site.form));
    row("elements", &|facts| grouped(facts.elements));
    row("size", &|facts| bytes(facts.bytes));
    row("type", &|facts| counts(facts, |site| site.dtype));
    row("rank", &|facts| counts(facts, |site| site.rank));
    row("alpha", &|facts| {
        counts(facts, |site| site.alpha.map_or("none".to_owned(), |alpha| alpha.to_string()))
    });
    row("scale", &|facts| counts(facts, |site| site.scale));
    row("largest of lora_A", &|facts| range(facts, |site| site.lora_a_absmax));
    row("largest of lora_B", &|facts| range(facts, |site| site.lora_b_absmax));
    table.print("", out)?;
    for facts in facts.iter().filter(|facts| !facts.warnings.is_empty()) {
        writeln!(out, "\nwarnings of {}", facts.file)?;
        for warning in &facts.warnings {
            writeln!(out, "  {warning}")?;
        }
    }
    Ok(())
}

fn components(facts: &Facts) -> String {
    let shown: Vec<String> = facts
        .components
        .iter()
        .map(|(name, count)| match (*name, facts.components.len()) {
            ("", 1) => "not said".to_owned(),
            (name, 1) => name.to_owned(),
            ("", _) => format!("not said ({count})"),
            (name, _) => format!("{name} ({count})"),
        })
        .collect();
    shown.join(", ")
}

/// The different values of a property in the order in which they occur; how often, where there are several.
fn counts<T: Display>(facts: &Facts, property: impl Fn(&Site) -> T) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for site in &facts.sites {
        let value = property(site).to_string();
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    match counts.as_slice() {
        [(value, _)] => value.clone(),
        _ => counts.iter().map(|(value, count)| format!("{value} ({count})")).collect::<Vec<_>>().join(", "),
    }
}

/// The smallest and the largest value of a property.
fn range(facts: &Facts, property: impl Fn(&Site) -> f32) -> String {
    let values = || facts.sites.iter().map(&property);
    let (low, high) = (values().fold(f32::INFINITY, f32::min), values().fold(0.0, f32::max));
    format!("{low:.4} to {high:.4}")
}
