//! `quad profile show`: what a profile says.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use quad_quantize::profile::diff::stored;
use quad_quantize::profile::{Entry, Profile, Role};
use serde_json::{Value, json};

use crate::exit::{Failure, Outcome};
use crate::table::{Align, Table};
use crate::{output, profiles};

/// Show what a profile says: of which anchor it is, by which rules, and the encoding of each value.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad profile show unet.profile
  quad profile show unet.profile --entries | grep conv_in
  quad profile show unet.profile --json | jq '.entries[\"sample\"]'")]
pub(crate) struct Arguments {
    /// The profile.
    profile: PathBuf,
    /// Show the encoding of each value.
    #[arg(long)]
    entries: bool,
    /// Print one JSON object: the head and all entries.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let profile = profiles::read(&arguments.profile)?;
    let out = &mut output::stdout();
    if arguments.json {
        let text = profile.to_text();
        let value: Value = serde_json::from_str(&text).map_err(Failure::input)?;
        output::json(out, &value)?;
        return Ok(Outcome::Done);
    }
    summary(&profile, out)?;
    if arguments.entries {
        entries(&profile, out)?;
    }
    Ok(Outcome::Done)
}

/// The head, and how many values are stored how.
pub(super) fn summary(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let mut head = Table::new(&[Align::Left, Align::Left]);
    head.row(["graph", &profile.graph]);
    head.row(["rules", &profile.rules]);
    head.row(["precision", &profile.precision.to_string()]);
    for (pattern, precision) in &profile.mixed {
        head.row(["", &format!("{pattern} {precision}")]);
    }
    head.row(["method", &profile.method]);
    head.row(["weights", &profile.weights]);
    head.row(["anchor", &profile.anchor.choice]);
    head.row(["because", &profile.anchor.reason]);
    head.row(["adapters", &profile.anchor.adapters.join(", ")]);
    head.print("", out)?;
    let mut counts: BTreeMap<(Role, String), usize> = BTreeMap::new();
    for entry in profile.entries.values() {
        let granularity = if entry.encoding.quant.axis.is_some() { " per channel" } else { "" };
        *counts.entry((entry.role, format!("{}{granularity}", entry.encoding.stored))).or_default() += 1;
    }
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Left]);
    for ((role, stored), count) in counts {
        table.row([count.to_string(), plural(role).to_owned(), stored]);
    }
    if !profile.floats.is_empty() {
        table.row([profile.floats.len().to_string(), "values".to_owned(), "floats".to_owned()]);
    }
    table.print("", out)
}

/// A line for each entry, and each value that stays a float on purpose.
fn entries(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    let left = Align::Left;
    let mut table = Table::new(&[left, left, left, Align::Right, Align::Right, Align::Right, Align::Right]);
    table.row(["value", "role", "stored", "scale", "zero point", "min", "max"]);
    for (name, entry) in &profile.entries {
        let Entry { role, encoding, range, limit: _ } = entry;
        let largest = encoding.parameters().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0));
        table.row([
            name.clone(),
            json!(role).as_str().unwrap_or_default().to_owned(),
            stored(entry),
            format!("{:.4e}", largest.0),
            largest.1.to_string(),
            format!("{:.4}", range.min),
            format!("{:.4}", range.max),
        ]);
    }
    for (name, reason) in &profile.floats {
        table.row([name.as_str(), "float", reason, "", "", "", ""]);
    }
    table.print("", out)
}

fn plural(role: Role) -> &'static str {
    match role {
        Role::Activation => "activations",
        Role::Weight => "weights",
        Role::Slot => "slots",
        Role::Bias => "biases",
    }
}
