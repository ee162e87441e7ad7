//! `quad profile diff`: what two profiles differ in.

use std::io::{self, Write};
use std::path::PathBuf;

use quad_quantize::profile::diff::{Difference, Fact, FloatChange};

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::profiles;
use crate::table::{Align, Table};

/// Say what two profiles differ in: scales in percent, zero points in steps, roles and axes, values that only one of them
/// quantizes or lets be floats.
///
/// The exit code is 1 when they differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile diff unified.profile edge.profile
  quad profile diff old.profile new.profile --all")]
pub(crate) struct Arguments {
    /// One profile.
    left: PathBuf,
    /// The other.
    right: PathBuf,
    /// List all differences, and not the largest only.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Differences of a kind that are listed unless all are asked for.
const SHOWN: usize = 20;

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let [left, right] = [&arguments.left, &arguments.right].map(|path| profiles::read(path));
    let difference = Difference::of(&left?, &right?);
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &difference)?;
    } else {
        print(&difference, if arguments.all { usize::MAX } else { SHOWN }, out)?;
    }
    Ok(if difference.is_empty() { Outcome::Done } else { Outcome::DoesNotHold })
}

fn print(difference: &Difference, shown: usize, out: &mut dyn Write) -> io::Result<()> {
    if difference.is_empty() {
        return writeln!(out, "the profiles are the same: {} encodings", difference.same);
    }
    let mut head = Table::new(&[Align::Left, Align::Left, Align::Left]);
    for change in &difference.head {
        head.row([change.key, &change.left, &change.right]);
    }
    head.print("", out)?;
    for (side, names) in [("left", &difference.only_left), ("right", &difference.only_right)] {
        if !names.is_empty() {
            writeln!(out, "{} encodings on the {side} only", names.len())?;
            names.iter().take(shown).try_for_each(|name| writeln!(out, "  {name}"))?;
            more(names.len(), shown, out)?;
        }
    }
    print_floats(&difference.floats, shown, out)?;
    writeln!(out, "{} encodings differ, {} are the same", difference.changed.len(), difference.same)?;
    if difference.other_ranges > 0 {
        writeln!(out, "{} of the same were made for another range", difference.other_ranges)?;
    }
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Left]);
    for change in difference.changed.iter().take(shown) {
        let stored = change.stored.iter().map(|(left, right)| format!("{left} -> {right}"));
        let facts = change.facts.iter().map(|Fact { key, left, right }| format!("{key} {left} -> {right}"));
        let words: Vec<String> = stored.chain(facts).collect();
        let scale = format!("scale {:+.2} %", change.scale_percent);
        let zero_point = format!("zero point {:+}", change.zero_point_steps);
        table.row([change.name.clone(), scale, zero_point, words.join(", ")]);
    }
    table.print("  ", out)?;
    more(difference.changed.len(), shown, out)
}

/// Values that stay floats on one side, or for different reasons.
fn print_floats(floats: &[FloatChange], shown: usize, out: &mut dyn Write) -> io::Result<()> {
    if floats.is_empty() {
        return Ok(());
    }
    writeln!(out, "{} values that stay floats differ", floats.len())?;
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
    for change in floats.iter().take(shown) {
        let [left, right] =
            [&change.left, &change.right].map(|reason| reason.as_deref().unwrap_or("not listed"));
        table.row([change.name.as_str(), left, right]);
    }
    table.print("  ", out)?;
    more(floats.len(), shown, out)
}

fn more(count: usize, shown: usize, out: &mut dyn Write) -> io::Result<()> {
    if count > shown { writeln!(out, "  .. and {} more: --all", count - shown) } else { Ok(()) }
}
