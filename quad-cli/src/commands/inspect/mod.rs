//! `quad inspect`: shows what a model is without reading its weights.

mod facts;

use std::io::{self, Write};
use std::path::PathBuf;

use crate::exit::{Failure, Outcome};
use crate::table::{Align, Table, bytes, counted, grouped};
use crate::{model, output};
use facts::{Facts, Lora, Value};

/// Characters of an entry of a model's metadata that are shown.
const METADATA: usize = 80;

/// Show what a model takes and gives, what it consists of and where it comes from.
///
/// Weights are not read, so a model of several gigabytes is shown at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad inspect unet.onnx
  quad inspect unet.onnx --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"ops\"])'")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    let main = model::main_graph(&module, &arguments.model).map_err(Failure::input)?;
    let others = module.graphs.iter().filter(|graph| graph.name() != main.name());
    let mut facts = Facts::of(&arguments.model, main);
    facts.others = others.map(|graph| Facts::of(&arguments.model, graph)).collect();
    let out = &mut output::stdout();
    if arguments.json {
        output::json(out, &facts)?;
    } else {
        writeln!(out, "{}", facts.file)?;
        print(&facts, out)?;
        for other in &facts.others {
            print(other, out)?;
        }
    }
    Ok(Outcome::Done)
}

/// The beginning of the first line of `value`, which may be a whole document or a list of every layer.
fn beginning(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    match line.char_indices().nth(METADATA) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

fn print(facts: &Facts, out: &mut dyn Write) -> io::Result<()> {
    use Align::{Left, Right};
    let mut head = Table::new(&[Left, Left]);
    head.row(["graph", &format!("@{}, {}", facts.graph, counted(facts.nodes, "node"))]);
    for (key, value) in &facts.metadata {
        head.row([key.clone(), beginning(value)]);
    }
    head.print("  ", out)?;
    print_values("inputs", &facts.inputs, out)?;
    print_values("outputs", &facts.outputs, out)?;
    writeln!(out, "\noperations")?;
    let mut ops: Vec<(&str, usize)> = facts.ops.iter().map(|(name, count)| (*name, *count)).collect();
    // The most frequent first; the map has them by name already.
    ops.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut table = Table::new(&[Left, Right]);
    for (name, count) in ops {
        table.row([name.to_owned(), grouped(count as u64)]);
    }
    table.print("  ", out)?;
    writeln!(out, "\nweights")?;
    let mut table = Table::new(&[Left, Right, Right, Right]);
    table.row(["", "tensors", "elements", "size"]);
    let total = ("total", &facts.weights.total);
    let by_dtype = facts.weights.by_dtype.iter().map(|(dtype, amount)| (*dtype, amount));
    for (name, amount) in by_dtype.chain([total]) {
        let cells = [grouped(amount.tensors), grouped(amount.elements), bytes(amount.bytes)];
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }
    table.print("  ", out)?;
    print_lora(&facts.lora, out)
}

fn print_lora(lora: &Lora, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nLoRA branches")?;
    if lora.count == 0 {
        return writeln!(out, "  none");
    }
    let mut table = Table::new(&[Align::Right, Align::Left, Align::Left, Align::Left]);
    for group in &lora.groups {
        let (count, rank, scale) = (group.count.to_string(), group.rank, group.scale);
        table.row([count, group.kind.to_owned(), format!("rank {rank}"), format!("scale {scale}")]);
    }
    table.print("  ", out)
}

fn print_values(title: &str, values: &[Value], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
    for value in values {
        table.row([value.name.as_str(), &value.ty, value.binding.unwrap_or_default()]);
    }
    table.print("  ", out)
}
